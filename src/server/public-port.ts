import { constants } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import http2 from 'node:http2';
import net from 'node:net';
import type { Duplex } from 'node:stream';
import tls from 'node:tls';
import { errorMessage } from '../core/errors.ts';
import type { Logger } from '../core/logger.ts';
import type { RefusedLogin } from '../identity/refused-logins.ts';
import type { Identity, TlsCredential, Verified } from '../identity/types.ts';
import { HTTP2_SETTINGS, limitRequests } from './http-limits.ts';
import { readPreamble } from './preamble.ts';

/** A TLS handshake and the first line of a tunnel may take so long. */
const HANDSHAKE_LIMIT_MS = 10_000;
/** Connections on the public port at once; those beyond are closed. */
const MAX_CONNECTIONS = 20_000;

/** Who opened a tunnel: the client's certificate has been checked. */
export interface TunnelInfo {
  readonly clientAddr: string;
  readonly identity: Identity;
  /** What the tunnel's first line asked for; '' where the protocol has none (the certificate says where it goes). */
  readonly target: string;
}

/** A tunnel of `tsh`, told by its ALPN protocol. */
export interface Tunnel {
  /** Whether a first line names the target. */
  readonly readsTarget: boolean;
  open(stream: tls.TLSSocket, info: TunnelInfo): void;
}

/** An HTTP server's two entrances. */
export interface HttpHandler {
  onRequest(request: IncomingMessage, response: ServerResponse): void;
  onUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void;
}

export interface PublicPortDeps {
  readonly log: Logger;
  readonly credential: TlsCredential;
  /** What is presented instead for a server name that begins with `kube.`. */
  kubeCredential(serverName: string): TlsCredential;
  /** PEM of the authorities whose client certificates are asked for. */
  readonly clientCa: string;
  verifyTlsUser(certificateDer: Buffer): Verified;
  /** A tunnel was refused for its certificate; resolves when that is written down. */
  refused(login: RefusedLogin): Promise<void>;
  /** Web application and API. */
  readonly web: HttpHandler;
  /** Kubernetes, for server names that begin with `kube.`. */
  readonly kube: HttpHandler;
  /** Tunnels by ALPN protocol name. */
  readonly tunnels: ReadonlyMap<string, Tunnel>;
}

/** `ip:port` of the other end; a unix socket has none. */
export function remoteAddr(socket: net.Socket): string {
  const { remoteAddress, remotePort } = socket;
  if (remoteAddress === undefined) return 'local';
  const ip = remoteAddress.replace(/^::ffff:(?=\d+\.)/, '');
  return net.isIPv6(ip) ? `[${ip}]:${remotePort}` : `${ip}:${remotePort}`;
}

/** The TLS options of every listener that asks for client certificates. */
export function clientCertificateOptions(credential: TlsCredential, clientCa: string): tls.TlsOptions {
  return {
    key: credential.keyPem,
    cert: credential.certPem,
    ca: clientCa,
    requestCert: true,
    // The certificate is checked by `verifyTlsUser`, with a reason for the log; a missing one is the web application's user.
    rejectUnauthorized: false,
    minVersion: 'TLSv1.2',
    handshakeTimeout: HANDSHAKE_LIMIT_MS,
    // A resumed session would let an expired certificate in: every connection makes a full handshake.
    secureOptions: constants.SSL_OP_NO_TICKET,
  };
}

/** Whether a TLS server name asks for Kubernetes. */
function isKubeName(serverName: string): boolean {
  return serverName.startsWith('kube.');
}

/** The one public port: TLS, told apart by ALPN and server name. Not listening yet. */
export function createPublicPort(deps: PublicPortDeps): tls.Server {
  const { log, tunnels } = deps;
  const options = clientCertificateOptions(deps.credential, deps.clientCa);
  const web = createHttpServer(deps.web, options);
  const kube = createHttpServer(deps.kube, options);
  const contexts = new WeakMap<TlsCredential, tls.SecureContext>();
  const server = tls.createServer({
    ...options,
    ALPNProtocols: [...tunnels.keys(), 'h2', 'http/1.1'],
    SNICallback(serverName, done) {
      // Without a context of its own, the name gets the one that `setSecureContext` changes.
      if (!isKubeName(serverName)) {
        done(null);
        return;
      }
      const credential = deps.kubeCredential(serverName);
      const known = contexts.get(credential);
      const context = known ?? tls.createSecureContext(clientCertificateOptions(credential, deps.clientCa));
      if (known === undefined) contexts.set(credential, context);
      done(null, context);
    },
  });
  server.maxConnections = MAX_CONNECTIONS;
  server.on('secureConnection', (socket) => {
    socket.setNoDelay(true);
    const tunnel = typeof socket.alpnProtocol === 'string' ? tunnels.get(socket.alpnProtocol) : undefined;
    if (tunnel !== undefined) {
      openTunnel(socket, tunnel, deps);
      return;
    }
    const servername = typeof socket.servername === 'string' ? socket.servername : '';
    const handler = isKubeName(servername) ? kube : web;
    handler.emit('secureConnection', socket);
  });
  server.on('tlsClientError', (error, socket) => {
    log.debug('a TLS handshake failed', { addr: remoteAddr(socket), error: errorMessage(error) });
    // Node tells of a handshake that took too long, and leaves the connection open.
    socket.destroy();
  });
  return server;
}

/** An HTTP/2 and HTTP/1.1 server over TLS, for its own listener or for connections that it is handed. */
export function createHttpServer(handler: HttpHandler, options: tls.TlsOptions): http2.Http2SecureServer {
  const server = http2.createSecureServer({ ...options, allowHTTP1: true, settings: HTTP2_SETTINGS });
  limitRequests(server);
  // The compatibility objects of HTTP/2 stand in for those of HTTP/1.1, which is what the handlers are written for.
  server.on('request', (request, response) =>
    handler.onRequest(request as unknown as IncomingMessage, response as unknown as ServerResponse),
  );
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) =>
    handler.onUpgrade(request, socket, head),
  );
  server.on('sessionError', () => undefined);
  server.on('clientError', (_error: Error, socket: Duplex) => socket.destroy());
  server.on('tlsClientError', (_error: Error, socket: Duplex) => socket.destroy());
  return server;
}

function openTunnel(socket: tls.TLSSocket, tunnel: Tunnel, deps: PublicPortDeps): void {
  const { log } = deps;
  const clientAddr = remoteAddr(socket);
  const onError = (): void => {
    socket.destroy();
  };
  socket.on('error', onError);
  const certificate = socket.getPeerX509Certificate();
  const verified: Verified =
    certificate === undefined ? { ok: false, reason: 'no client certificate' } : deps.verifyTlsUser(certificate.raw);
  if (!verified.ok) {
    const { reason, user } = verified;
    const login = {
      protocol: String(socket.alpnProtocol),
      clientAddr,
      reason,
      ...(user === undefined ? {} : { user }),
    };
    void deps.refused(login).then(() => socket.destroy());
    return;
  }
  const open = (target: string): void => {
    tunnel.open(socket, { clientAddr, identity: verified.identity, target });
  };
  if (tunnel.readsTarget) {
    readPreamble(socket, HANDSHAKE_LIMIT_MS).then(open, (error: unknown) => {
      log.info('a tunnel was refused', { addr: clientAddr, reason: errorMessage(error) });
      socket.destroy();
    });
  } else {
    open('');
  }
}
