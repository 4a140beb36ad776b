import type { Duplex } from 'node:stream';
import { NightlatchError } from '../core/errors.ts';

/** Longest first line of a tunnel, in bytes. */
const MAX_PREAMBLE = 512;
const NEWLINE = 0x0a;

/**
 * Reads the first line of a tunnel, which says what it is to reach (`web-1:22`). What follows the line stays in the stream.
 *
 * @throws {NightlatchError} `protocol` for a line that is too long or not printable ASCII, `timeout` when it does not come.
 */
export function readPreamble(stream: Duplex, limitMs: number): Promise<string> {
  return new Promise((resolve, reject) => {
    let seen = Buffer.alloc(0);
    const timer = setTimeout(
      () => finish(new NightlatchError('timeout', 'the first line of the tunnel did not come')),
      limitMs,
    );
    const onClose = (): void => finish(new NightlatchError('protocol', 'the tunnel was closed before its first line'));
    const finish = (result: string | Error): void => {
      clearTimeout(timer);
      stream.off('readable', onReadable);
      stream.off('close', onClose);
      stream.off('end', onClose);
      if (typeof result === 'string') resolve(result);
      else reject(result);
    };
    const onReadable = (): void => {
      for (let chunk = stream.read() as Buffer | null; chunk !== null; chunk = stream.read() as Buffer | null) {
        seen = Buffer.concat([seen, chunk]);
        const end = seen.indexOf(NEWLINE);
        if (end < 0 && seen.length <= MAX_PREAMBLE) continue;
        const line = seen.subarray(0, end < 0 ? MAX_PREAMBLE + 1 : end).toString('latin1');
        if (end < 0 || end > MAX_PREAMBLE || !/^[\x20-\x7e]+$/.test(line)) {
          finish(new NightlatchError('protocol', 'the first line of the tunnel is not a target'));
          return;
        }
        const rest = seen.subarray(end + 1);
        finish(line);
        if (rest.length > 0) stream.unshift(rest);
        return;
      }
    };
    stream.on('readable', onReadable);
    stream.once('close', onClose);
    stream.once('end', onClose);
    onReadable();
  });
}
