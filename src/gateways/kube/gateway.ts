import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Http2ServerRequest } from 'node:http2';
import type { Duplex } from 'node:stream';
import type { AuditLog } from '../../audit/events.ts';
import type { Clock } from '../../core/clock.ts';
import { errorMessage } from '../../core/errors.ts';
import type { Logger } from '../../core/logger.ts';
import type { RefusedLogin } from '../../identity/refused-logins.ts';
import type { CertAuthority, Identity } from '../../identity/types.ts';
import type { LivePolicy } from '../../policy/snapshot.ts';
import type { SessionManager } from '../../session/types.ts';
import type { FastPathSearch } from '../common/fast-path-search.ts';
import type { SecureStream } from '../common/tls/tls-stream.ts';
import { routeRequest } from './admission.ts';
import type { KubeCall, KubeContext } from './context.ts';
import { Denials } from './denials.ts';
import { InFlightRequests } from './in-flight.ts';
import { readRequestInfo } from './request-info.ts';
import { handleRequest } from './requests.ts';
import { type KubeFailure, refuseUpgrade, sendFailure } from './status.ts';
import { handleUpgrade } from './upgrade.ts';
import { KubeUpstreams } from './upstream.ts';

export interface KubeGatewayDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly audit: AuditLog;
  readonly policy: LivePolicy;
  readonly sessions: SessionManager;
  readonly ca: Pick<CertAuthority, 'verifyTlsUser'>;
  /** Somebody was refused for the certificate; never rejects. */
  refused(refusal: RefusedLogin): Promise<void>;
  /** Sessions go below the streams where it has found a way; without it they never do. */
  readonly fastPath?: FastPathSearch;
}

/** The Kubernetes gateway as an HTTP server's two entrances (HTTP/2 and HTTP/1.1, with client certificates asked for). */
export interface KubeGateway {
  onRequest(request: IncomingMessage, response: ServerResponse): void;
  onUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void;
  /** Closes the connections to the API servers. Sessions are ended by the session manager before. */
  close(): void;
}

/** Client certificates in, impersonation out: everything of the Kubernetes API, and sessions for what lasts. */
export function createKubeGateway(deps: KubeGatewayDeps): KubeGateway {
  const { clock, log, policy, ca } = deps;
  const upstreams = new KubeUpstreams(clock);
  const denials = new Denials(clock);
  const inFlight = new InFlightRequests(clock, policy);
  const context: KubeContext = { ...deps, upstreams, inFlight };
  const identities = new WeakMap<SecureStream, Identity>();

  function identify(socket: SecureStream): Identity | string {
    const known = identities.get(socket);
    if (known !== undefined) {
      // A connection outlives a certificate; a request on it must not.
      return known.expiresAtMs > clock.wallMs()
        ? known
        : 'the client certificate has expired: sign in again with tsh login';
    }
    const certificate = socket.getPeerX509Certificate();
    if (certificate === undefined) {
      void deps.refused({ protocol: 'kube', clientAddr: addressOf(socket), reason: 'no client certificate' });
      return 'a client certificate is needed: use tsh kube login';
    }
    const verified = ca.verifyTlsUser(certificate.raw);
    if (!verified.ok) {
      const { reason, user } = verified;
      void deps.refused({
        protocol: 'kube',
        clientAddr: addressOf(socket),
        reason,
        ...(user === undefined ? {} : { user }),
      });
      return 'the client certificate is not accepted: sign in again with tsh login';
    }
    identities.set(socket, verified.identity);
    return verified.identity;
  }

  function understand(request: IncomingMessage): KubeCall | KubeFailure {
    const socket = tlsSocketOf(request);
    // A head and a body are two writes: waiting for an acknowledgement between them costs 40 ms (Nagle's algorithm). HTTP/2 sees to it itself.
    if (request.httpVersionMajor === 1) socket.setNoDelay(true);
    const identity = identify(socket);
    if (typeof identity === 'string') return { reason: 'Unauthorized', message: identity };
    const route = routeRequest(identity, request.url ?? '/', policy.current);
    if (!route.ok) return route.failure;
    const method = request.method ?? 'GET';
    const info = readRequestInfo(method, route.url);
    if (info === undefined) return { reason: 'BadRequest', message: 'the path of the request is ambiguous' };
    return {
      identity,
      cluster: route.cluster,
      info,
      method,
      url: route.url,
      headers: request.rawHeaders,
      clientAddr: addressOf(socket),
    };
  }

  return {
    onRequest(request, response) {
      response.on('error', () => undefined);
      const call = understand(request);
      if ('reason' in call) {
        sendFailure(response, call);
        return;
      }
      handleRequest(context, call, { request, response }).catch((error: unknown) => {
        log.error('a Kubernetes request failed', { error: errorMessage(error) });
        if (response.headersSent) response.destroy();
        else sendFailure(response, { reason: 'InternalError', message: errorMessage(error) });
      });
    },
    onUpgrade(request, socket, head) {
      socket.on('error', () => undefined);
      const call = understand(request);
      if ('reason' in call) {
        refuseUpgrade(socket, call);
        return;
      }
      handleUpgrade(context, denials, call, socket, head).catch((error: unknown) => {
        log.error('a Kubernetes session failed', { error: errorMessage(error) });
        socket.destroy();
      });
    },
    close() {
      inFlight.close();
      upstreams.close();
    },
  };
}

/** The TLS connection of a request; an HTTP/2 request only has a stand-in for it. */
function tlsSocketOf(request: IncomingMessage): SecureStream {
  if (request.httpVersionMajor !== 2) return request.socket as Duplex as SecureStream;
  return (request as unknown as Http2ServerRequest).stream.session!.socket as Duplex as SecureStream;
}

function addressOf(socket: SecureStream): string {
  const { remoteAddress = '', remotePort = 0 } = socket;
  return `${remoteAddress.includes(':') ? `[${remoteAddress}]` : remoteAddress}:${remotePort}`;
}
