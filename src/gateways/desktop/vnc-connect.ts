import type { Duplex } from 'node:stream';
import type { WindowsDesktop } from '../../resources/index.ts';
import {
  type RfbClientOptions,
  RfbHandshakeError,
  rfbClientHandshake,
  rfbServerHandshake,
  type ServerInit,
} from '../../wire/rfb/handshake.ts';
import { DbReader } from '../common/db-reader.ts';
import type { BrowserSocket } from './browser-socket.ts';
import { DesktopError } from './desktop-error.ts';
import { abortable } from './rdp-connect.ts';
import { connectTcp, desktopAddress, desktopTls, startTls } from './upstream.ts';

const MAX_HANDSHAKE_BYTES = 256 * 1024;

/** A desktop behind its handshake. */
export interface VncUpstream {
  readonly socket: Duplex;
  readonly init: ServerInit;
  /** What the desktop sent behind its ServerInit. */
  readonly rest: Buffer;
}

/** Connects to a VNC server and authenticates there. @throws {DesktopError} */
export async function connectVnc(
  desktop: WindowsDesktop,
  logon: Pick<RfbClientOptions, 'username' | 'password'>,
  signal: AbortSignal,
): Promise<VncUpstream> {
  const address = desktopAddress(desktop);
  const socket = await connectTcp(address, signal);
  let stream: Duplex = socket;
  try {
    let reader = new DbReader(socket, MAX_HANDSHAKE_BYTES);
    const walk = rfbClientHandshake({ ...logon, tls: desktopTls(desktop).mode !== 'disable' });
    let given: Buffer = Buffer.alloc(0);
    for (;;) {
      const step = walk.next(given);
      if (step.done === true) return { socket: stream, init: step.value, rest: reader.detach() };
      switch (step.value.kind) {
        case 'read':
          given = await abortable(reader.read(step.value.bytes), signal);
          break;
        case 'write':
          stream.write(step.value.data);
          break;
        case 'tls':
          reader.detach();
          ({ socket: stream } = await startTls(socket, desktop, address.host, signal));
          reader = new DbReader(stream, MAX_HANDSHAKE_BYTES);
      }
    }
  } catch (error) {
    socket.destroy();
    if (error instanceof RfbHandshakeError) throw asDesktopError(error, logon);
    throw error;
  }
}

function asDesktopError(error: RfbHandshakeError, logon: Pick<RfbClientOptions, 'password'>): DesktopError {
  if (error.reason === 'unsupported') return new DesktopError('unsupported', error.message);
  if (error.reason === 'refused') return new DesktopError('failed', `the desktop refuses: ${error.message}`);
  const problem = logon.password === undefined ? 'password_required' : 'password_wrong';
  return new DesktopError(problem, error.message);
}

/** Greets the browser's RFB client, which has been authenticated before, and shows it the desktop. */
export async function greetBrowser(browser: BrowserSocket, init: ServerInit): Promise<void> {
  const walk = rfbServerHandshake();
  let given: Buffer = Buffer.alloc(0);
  for (;;) {
    const step = walk.next(given);
    if (step.done === true) break;
    const { value } = step;
    if (value.kind === 'write') browser.send(value.data);
    if (value.kind === 'read') {
      given = await browser.read((bytes) =>
        bytes.length < value.bytes ? undefined : { length: value.bytes, value: bytes.subarray(0, value.bytes) },
      );
    }
  }
  browser.send(init.data);
}
