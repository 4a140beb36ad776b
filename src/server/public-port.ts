import { constants } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import http2 from 'node:http2';
import net from 'node:net';
import type { Duplex } from 'node:stream';
import tls from 'node:tls';
import type { Clock } from '../core/clock.ts';
import { errorMessage } from '../core/errors.ts';
import type { Logger } from '../core/logger.ts';
import { TlsAcceptor } from '../gateways/common/tls/accept.ts';
import { type SecureStream, TlsStream } from '../gateways/common/tls/tls-stream.ts';
import type { RefusedLogin } from '../identity/refused-logins.ts';
import type { Identity, TlsCredential, Verified } from '../identity/types.ts';
import type { ClientHello } from '../wire/tls/client-hello.ts';
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
  /** Node's TLS carries the tunnel's connections, for a gateway that reads sockets in a way of its own. */
  readonly needsNodeTls?: boolean;
  open(stream: SecureStream, info: TunnelInfo): void;
}

/** An HTTP server's two entrances. */
export interface HttpHandler {
  onRequest(request: IncomingMessage, response: ServerResponse): void;
  onUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void;
}

export interface PublicPortDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly credential: TlsCredential;
  /** What is presented to who asks for a server name. */
  credentialFor(serverName: string): TlsCredential;
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
export function remoteAddr(socket: Pick<net.Socket, 'remoteAddress' | 'remotePort'>): string {
  const { remoteAddress, remotePort } = socket;
  if (remoteAddress === undefined) return 'local';
  const ip = remoteAddress.replace(/^::ffff:(?=\d+\.)/, '');
  return net.isIPv6(ip) ? `[${ip}]:${remotePort}` : `${ip}:${remotePort}`;
}

/** The TLS options of a listener that asks for client certificates. */
function clientCertificateOptions(credential: TlsCredential, clientCa: string): tls.TlsOptions {
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

/** Gives the TLS context of the certificate that is presented for a server name; each is made once. */
function contextsFor(
  credentialFor: (serverName: string) => TlsCredential,
  clientCa: string,
): (serverName: string) => tls.SecureContext {
  const contexts = new WeakMap<TlsCredential, tls.SecureContext>();
  return (serverName) => {
    const credential = credentialFor(serverName);
    const known = contexts.get(credential);
    if (known !== undefined) return known;
    const context = tls.createSecureContext(clientCertificateOptions(credential, clientCa));
    contexts.set(credential, context);
    return context;
  };
}

/** Whether a TLS server name asks for Kubernetes. */
export function isKubeName(serverName: string): boolean {
  return serverName.startsWith('kube.');
}

/** A listener for TLS that a server of Node's makes the handshakes for. */
export interface TlsListener {
  /** What listens. */
  readonly server: net.Server;
  /** New connections get another certificate. */
  setSecureContext(credential: TlsCredential): void;
}

/** The one public port: TLS, told apart by ALPN and server name. Not listening yet. */
export function createPublicPort(deps: PublicPortDeps): TlsListener {
  const { tunnels } = deps;
  const options = clientCertificateOptions(deps.credential, deps.clientCa);
  const web = createHttpServer(deps.web, options);
  const kube = createHttpServer(deps.kube, options);
  const contextFor = contextsFor(deps.credentialFor, deps.clientCa);
  const server = tls.createServer({
    ...options,
    ALPNProtocols: [...tunnels.keys(), 'h2', 'http/1.1'],
    SNICallback: (serverName, done) => done(null, contextFor(serverName)),
  });
  const mayTakeOver = (hello: ClientHello): boolean => {
    const offered = hello.alpn.map((name) => tunnels.get(name)).filter((tunnel) => tunnel !== undefined);
    if (offered.length > 0) return offered.every((tunnel) => tunnel.needsNodeTls !== true);
    return isKubeName(hello.serverName ?? '') && speaksHttp1Only(hello);
  };
  return createTlsListener(server, deps, mayTakeOver, (stream) => {
    stream.setNoDelay(true);
    const tunnel = typeof stream.alpnProtocol === 'string' ? tunnels.get(stream.alpnProtocol) : undefined;
    // Behind a HelloRetryRequest a client may ask for another protocol than at first.
    if (tunnel?.needsNodeTls === true && stream instanceof TlsStream) stream.destroy();
    else if (tunnel !== undefined) openTunnel(stream, tunnel, deps);
    else (isKubeName(String(stream.servername)) ? kube : web).emit('secureConnection', stream);
  });
}

/** Kubernetes on a port of its own. Not listening yet. */
export function createKubePort(
  kube: HttpHandler,
  deps: Pick<PublicPortDeps, 'clock' | 'log' | 'credential' | 'credentialFor' | 'clientCa'>,
): TlsListener {
  const options = clientCertificateOptions(deps.credential, deps.clientCa);
  const http = createHttpServer(kube, options);
  const contextFor = contextsFor(deps.credentialFor, deps.clientCa);
  const server = tls.createServer({
    ...options,
    ALPNProtocols: ['h2', 'http/1.1'],
    SNICallback: (serverName, done) => done(null, contextFor(serverName)),
  });
  return createTlsListener(server, deps, speaksHttp1Only, (stream) => http.emit('secureConnection', stream));
}

/** What opens exec and port-forward: with HTTP/2, Node's own TLS is below it. */
function speaksHttp1Only({ alpn }: ClientHello): boolean {
  return !alpn.includes('h2');
}

function createTlsListener(
  handshakes: tls.Server,
  { clock, log }: Pick<PublicPortDeps, 'clock' | 'log'>,
  mayTakeOver: (hello: ClientHello) => boolean,
  secured: (stream: SecureStream) => void,
): TlsListener {
  const acceptor = new TlsAcceptor(handshakes, {
    clock,
    handshakeTimeoutMs: HANDSHAKE_LIMIT_MS,
    mayTakeOver,
    failed: (error, socket) =>
      log.debug('a TLS handshake failed', { addr: remoteAddr(socket), error: errorMessage(error) }),
  });
  const server = net.createServer((socket) => acceptor.accept(socket, secured));
  server.maxConnections = MAX_CONNECTIONS;
  return {
    server,
    setSecureContext: ({ keyPem, certPem }) => handshakes.setSecureContext({ key: keyPem, cert: certPem }),
  };
}

/** An HTTP/2 and HTTP/1.1 server over TLS, for its own listener or for connections that it is handed. */
function createHttpServer(handler: HttpHandler, options: tls.TlsOptions): http2.Http2SecureServer {
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

function openTunnel(socket: SecureStream, tunnel: Tunnel, deps: PublicPortDeps): void {
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
