import type { Duplex } from 'node:stream';
import { NightlatchError } from '../../core/errors.ts';
import { decodeCommandHead, MAX_INLINE_BYTES } from '../../wire/redis/resp.ts';

/** What a client's first command says of it. */
export interface FirstCommand {
  /** The user it signs in as, where it does. */
  readonly user: string | undefined;
  /** All that was read; nothing of it has been dealt with. */
  readonly bytes: Buffer;
}

/** The user that the command at the beginning of `bytes` names (AUTH, HELLO … AUTH); null while it is not whole. */
function userIn(bytes: Buffer): string | undefined | null {
  let at = 0;
  let head = decodeCommandHead(bytes, at, 1, 64);
  // Redis ignores empty lines.
  while (head?.count === 0 && head.next > at) {
    at = head.next;
    head = decodeCommandHead(bytes, at, 1, 64);
  }
  if (head === undefined) return null;
  const name = head.args[0]?.toString('latin1').toUpperCase();
  if (name !== 'AUTH' && name !== 'HELLO') return undefined;
  const whole = decodeCommandHead(bytes, at, head.count, MAX_INLINE_BYTES);
  if (whole === undefined) return null;
  const { args } = whole;
  if (name === 'AUTH') return args.length === 3 ? args[1]!.toString('utf8') : undefined;
  const clause = args.findIndex((arg, index) => index >= 2 && arg.toString('latin1').toUpperCase() === 'AUTH');
  return clause < 0 ? undefined : args[clause + 1]?.toString('utf8');
}

/**
 * Reads until the client's first command is known, and pauses the stream. A client that has said nothing by the time that `patience` is aborted
 * names nobody: pools open connections ahead of their use.
 * @throws {DecodeError} for what is no command; {NightlatchError} `unavailable` when the client goes, `limit_exceeded` when it floods.
 */
export function readFirstCommand(stream: Duplex, patience: AbortSignal): Promise<FirstCommand> {
  return new Promise((resolve, reject) => {
    let bytes: Buffer = Buffer.alloc(0);
    const settle = (act: () => void): void => {
      stream.pause();
      stream.off('data', onData);
      stream.off('end', onGone);
      stream.off('close', onGone);
      patience.removeEventListener('abort', onSilence);
      act();
    };
    const onData = (chunk: Buffer): void => {
      bytes = Buffer.concat([bytes, chunk]);
      try {
        const user = userIn(bytes);
        if (user !== null) settle(() => resolve({ user, bytes }));
        else if (bytes.length > 2 * MAX_INLINE_BYTES)
          throw new NightlatchError('limit_exceeded', 'too much was sent before the login was done');
      } catch (error) {
        settle(() => reject(error as Error));
      }
    };
    const onGone = (): void =>
      settle(() => reject(new NightlatchError('unavailable', 'the connection was closed during the login')));
    const onSilence = (): void => {
      if (bytes.length === 0) settle(() => resolve({ user: undefined, bytes }));
    };
    patience.addEventListener('abort', onSilence);
    stream.on('data', onData);
    stream.on('end', onGone);
    stream.on('close', onGone);
  });
}
