import { randomBytes } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import type { Clock } from '../../core/clock.ts';
import { NightlatchError } from '../../core/errors.ts';
import type { WindowsDesktop } from '../../resources/index.ts';
import type { RdpLogon } from '../../wire/rdp/client-info.ts';
import { CredSspRefusal, credSspClient, decodeTsRequest, type TsRequest } from '../../wire/rdp/credssp.ts';
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
import { connectTcp, desktopAddress, desktopTls, type SecureDesktop, startTls } from './upstream.ts';

const MAX_CONFIRM_BYTES = 1024;
const MAX_TS_REQUEST_BYTES = 64 * 1024;

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
  clock: Clock,
  signal: AbortSignal,
): Promise<RdpUpstream> {
  if (desktopTls(desktop).mode === 'disable') {
    throw new DesktopError('unsupported', 'RDP without TLS is not supported');
  }
  const address = desktopAddress(desktop);
  const socket = await connectTcp(address, signal);
  try {
    // Network level authentication needs the password beforehand.
    const offered = logon.password === undefined ? PROTOCOL_SSL : PROTOCOL_SSL | PROTOCOL_HYBRID;
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
    if (answer.protocol === PROTOCOL_HYBRID) await authenticate(secure, address.host, logon, clock, signal);
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

/** Network level authentication: the desktop knows who comes before it shows anything. */
async function authenticate(
  { socket, chain }: SecureDesktop,
  host: string,
  { username, domain, password }: RdpLogon,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  if (password === undefined || chain[0] === undefined) throw new DesktopError('failed', 'nothing to sign in with');
  const walk = credSspClient({
    credentials: { username, domain, password },
    service: `TERMSRV/${host}`,
    publicKeyInfo: chain[0].publicKey.export({ type: 'spki', format: 'der' }),
    entropy: {
      clientChallenge: randomBytes(8),
      sessionKey: randomBytes(16),
      nonce: randomBytes(32),
      nowMs: clock.wallMs(),
    },
  });
  const reader = new DbReader(socket, MAX_TS_REQUEST_BYTES);
  try {
    let step = walk.next();
    while (step.done !== true) {
      socket.write(step.value);
      step = walk.next(await abortable(readTsRequest(reader), signal));
    }
    socket.write(step.value);
  } catch (error) {
    if (error instanceof CredSspRefusal) throw new DesktopError('password_wrong', error.message, { cause: error });
    // Windows before 2012 and FreeRDP say no by hanging up.
    if (error instanceof NightlatchError && error.code === 'unavailable') {
      throw new DesktopError('password_wrong', 'the desktop refuses the user name or password', { cause: error });
    }
    throw error;
  } finally {
    reader.detach();
  }
}

/** Reads one TSRequest: a DER header of two to six bytes says how long it is. */
async function readTsRequest(reader: DbReader): Promise<TsRequest> {
  let bytes = await reader.read(2);
  const lengthBytes = bytes[1]! < 0x80 ? 0 : bytes[1]! & 0x7f;
  if (lengthBytes > 3) throw new DesktopError('failed', 'the desktop sent a TSRequest that is too long');
  bytes = Buffer.concat([bytes, await reader.read(lengthBytes)]);
  const length = lengthBytes === 0 ? bytes[1]! : bytes.readUIntBE(2, lengthBytes);
  if (length > MAX_TS_REQUEST_BYTES / 2) {
    throw new DesktopError('failed', 'the desktop sent a TSRequest that is too long');
  }
  const found = decodeTsRequest(Buffer.concat([bytes, await reader.read(length)]));
  if (found === undefined) throw new DesktopError('failed', 'the desktop sent half a TSRequest');
  return found.request;
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
