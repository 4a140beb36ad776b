import { createHash, type X509Certificate } from 'node:crypto';
import net from 'node:net';
import tls from 'node:tls';
import type { WindowsDesktop } from '../../resources/index.ts';
import { DesktopError } from './desktop-error.ts';

export interface DesktopAddress {
  readonly host: string;
  readonly port: number;
}

type TlsSettings = NonNullable<WindowsDesktop['spec']['tls']>;

/** How a desktop's connection is protected: what the resource says, or the protocol's default. */
export function desktopTls(desktop: WindowsDesktop): TlsSettings {
  return desktop.spec.tls ?? { mode: desktop.spec.protocol === 'vnc' ? 'disable' : 'verify-full' };
}

/** `HOST:PORT` of a desktop; an IPv6 address stands in brackets, and the port may be left to the protocol. */
export function desktopAddress(desktop: WindowsDesktop): DesktopAddress {
  const match = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d+))?$/.exec(desktop.spec.addr);
  if (match === null) throw new DesktopError('unreachable', `the address "${desktop.spec.addr}" is not HOST:PORT`);
  const port = match[3] === undefined ? (desktop.spec.protocol === 'vnc' ? 5900 : 3389) : Number(match[3]);
  return { host: (match[1] ?? match[2])!, port };
}

/** Opens a TCP connection. @throws {DesktopError} `unreachable`; the signal's reason. */
export function connectTcp(address: DesktopAddress, signal: AbortSignal): Promise<net.Socket> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const socket = net.connect({ ...address, noDelay: true, keepAlive: true, keepAliveInitialDelay: 60_000 });
    // INVARIANT: a socket is never without a listener for errors, whoever reads from it at the moment.
    socket.on('error', () => undefined);
    const settle = (error?: Error): void => {
      signal.removeEventListener('abort', onAbort);
      socket.off('connect', onConnect);
      socket.off('error', onError);
      if (error === undefined) {
        resolve(socket);
        return;
      }
      socket.destroy();
      reject(error);
    };
    const onConnect = (): void => settle();
    const onError = (error: Error): void =>
      settle(new DesktopError('unreachable', `the desktop cannot be reached: ${error.message}`, { cause: error }));
    const onAbort = (): void => settle(signal.reason as Error);
    socket.once('connect', onConnect);
    socket.once('error', onError);
    signal.addEventListener('abort', onAbort, { once: true });
  });
}

/** A connection inside TLS. */
export interface SecureDesktop {
  readonly socket: tls.TLSSocket;
  /** The certificates that the desktop presented, leaf first. */
  readonly chain: readonly X509Certificate[];
}

/**
 * Wraps a connection in TLS and checks the desktop's certificate as the resource says.
 * @throws {DesktopError} `untrusted` for a certificate that is not the one expected; the signal's reason.
 */
export function startTls(
  socket: net.Socket,
  desktop: WindowsDesktop,
  host: string,
  signal: AbortSignal,
): Promise<SecureDesktop> {
  const settings = desktopTls(desktop);
  const name = settings.server_name ?? host;
  const byCa = settings.mode === 'verify-full' || settings.mode === 'verify-ca';
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const secure = tls.connect({
      socket,
      minVersion: 'TLSv1.2',
      ...(net.isIP(name) === 0 ? { servername: name } : {}),
      ...(settings.ca_cert === undefined ? {} : { ca: settings.ca_cert }),
      rejectUnauthorized: byCa,
      checkServerIdentity: (_name, certificate) =>
        settings.mode === 'verify-full' ? tls.checkServerIdentity(name, certificate) : undefined,
    });
    secure.on('error', () => undefined);
    let chain: X509Certificate[] = [];
    const settle = (error?: Error): void => {
      signal.removeEventListener('abort', onAbort);
      secure.off('secureConnect', onSecure);
      secure.off('error', onError);
      secure.off('close', onClose);
      if (error === undefined) {
        resolve({ socket: secure, chain });
        return;
      }
      secure.destroy();
      socket.destroy();
      reject(error);
    };
    const onSecure = (): void => {
      chain = peerChain(secure);
      settle(settings.mode === 'pinned' ? pinMismatch(chain[0], settings.fingerprint) : undefined);
    };
    const onError = (error: Error): void =>
      settle(new DesktopError('untrusted', `TLS to the desktop failed: ${error.message}`, { cause: error }));
    const onClose = (): void =>
      settle(new DesktopError('untrusted', 'TLS to the desktop failed: it closed the connection'));
    const onAbort = (): void => settle(signal.reason as Error);
    secure.once('secureConnect', onSecure);
    secure.once('error', onError);
    secure.once('close', onClose);
    signal.addEventListener('abort', onAbort, { once: true });
  });
}

function pinMismatch(leaf: X509Certificate | undefined, fingerprint: string | undefined): DesktopError | undefined {
  const expected = (fingerprint ?? '')
    .replace(/^sha256:/, '')
    .replaceAll(':', '')
    .toLowerCase();
  const actual = leaf === undefined ? '' : createHash('sha256').update(leaf.raw).digest('hex');
  if (expected !== '' && actual === expected) return undefined;
  return new DesktopError('untrusted', `the desktop's certificate is sha256:${actual}, which is not the one pinned`);
}

function peerChain(secure: tls.TLSSocket): X509Certificate[] {
  const chain: X509Certificate[] = [];
  // Asked once only: in Node 24 a second call finds no certificate any more.
  let certificate = secure.getPeerX509Certificate();
  while (certificate !== undefined && chain.length < 8) {
    chain.push(certificate);
    certificate = certificate.issuerCertificate;
  }
  return chain;
}
