import type { TLSSocket } from 'node:tls';
import type { Clock } from '../../core/clock.ts';
import type { WindowsDesktop } from '../../resources/index.ts';
import type { RdpLogon } from '../../wire/rdp/client-info.ts';
import {
  decodeX224ConnectionConfirm,
  encodeX224ConnectionRequest,
  NEGOTIATION_FAILURES,
  PROTOCOL_HYBRID,
  PROTOCOL_SSL,
  x224ResponseFlags,
} from '../../wire/rdp/x224.ts';
import { DbReader } from '../common/db-reader.ts';
import { DesktopError } from './desktop-error.ts';
import { connectTcp, desktopAddress, desktopTls, startTls } from './upstream.ts';

const MAX_CONFIRM_BYTES = 1024;

/** A desktop that waits for the MCS Connect-Initial inside TLS. */
export interface RdpUpstream {
  readonly socket: TLSSocket;
  readonly selectedProtocol: number;
  /** Flags of the server's RDP_NEG_RSP. */
  readonly responseFlags: number;
  readonly certChain: readonly Buffer[];
  readonly serverAddr: string;
}

/** Connects to a desktop: X.224 negotiation, TLS, network level authentication where it wants that. @throws {DesktopError} */
export async function connectRdp(
  desktop: WindowsDesktop,
  logon: RdpLogon,
  _clock: Clock,
  signal: AbortSignal,
): Promise<RdpUpstream> {
  if (desktopTls(desktop).mode === 'disable') {
    throw new DesktopError('unsupported', 'RDP without TLS is not supported');
  }
  const address = desktopAddress(desktop);
  const socket = await connectTcp(address, signal);
  try {
    const offered = PROTOCOL_SSL;
    const reader = new DbReader(socket, MAX_CONFIRM_BYTES);
    socket.write(encodeX224ConnectionRequest(logon.username, offered));
    const head = await abortable(reader.read(4), signal);
    if (head[0] !== 3) throw new DesktopError('unsupported', 'the desktop does not speak RDP');
    const confirm = Buffer.concat([head, await abortable(reader.read(Math.max(7, head.readUInt16BE(2)) - 4), signal)]);
    reader.detach();
    const answer = decodeX224ConnectionConfirm(confirm);
    if (answer.kind === 'failure') {
      throw new DesktopError(
        'unsupported',
        NEGOTIATION_FAILURES[answer.code] ?? `RDP negotiation failed (${answer.code})`,
      );
    }
    if (answer.protocol !== PROTOCOL_SSL && answer.protocol !== PROTOCOL_HYBRID) {
      throw new DesktopError('unsupported', 'the desktop offers no TLS');
    }
    const secure = await startTls(socket, desktop, address.host, signal);
    return {
      socket: secure.socket,
      selectedProtocol: answer.protocol,
      responseFlags: x224ResponseFlags(confirm),
      certChain: secure.chain.map((certificate) => certificate.raw),
      serverAddr: desktop.spec.addr,
    };
  } catch (error) {
    socket.destroy();
    throw error;
  }
}

/** The promise, or the signal's reason if that comes first. */
export function abortable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason);
    if (signal.aborted) {
      promise.catch(() => undefined);
      onAbort();
      return;
    }
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
