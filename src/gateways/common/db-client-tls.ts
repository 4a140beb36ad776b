import { constants } from 'node:crypto';
import type net from 'node:net';
import tls from 'node:tls';
import type { Clock } from '../../core/clock.ts';
import { NightlatchError } from '../../core/errors.ts';
import type { Logger } from '../../core/logger.ts';
import type { RefusedLogin } from '../../identity/refused-logins.ts';
import type { CertAuthority, Identity, TlsCredential } from '../../identity/types.ts';
import { TlsAcceptor } from './tls/accept.ts';
import type { SecureStream } from './tls/tls-stream.ts';

/** The gateway's server certificate, as it stands and as it is renewed. */
export interface TlsProvider {
  readonly current: TlsCredential;
  onChange(fn: (credential: TlsCredential) => void): () => void;
}

/**
 * TLS with client certificates on sockets that another server has accepted, at any point of their protocol. It refuses nobody by itself: a bad or
 * missing certificate gets an answer that its user can read, after the handshake.
 */
export class DbClientTls {
  readonly #ca: CertAuthority;
  readonly #clock: Clock;
  readonly #protocol: string;
  readonly #refused: (refusal: RefusedLogin) => Promise<void>;
  readonly #acceptor: TlsAcceptor;
  readonly #stopRenewal: () => void;

  constructor(options: {
    ca: CertAuthority;
    clock: Clock;
    log: Logger;
    provider: TlsProvider;
    protocol: string;
    /** Somebody was refused for the certificate, or for want of one; resolves when that is written down. */
    refused(refusal: RefusedLogin): Promise<void>;
    handshakeTimeoutMs: number;
    /** ALPN protocol that is offered to clients which ask for one. */
    alpn?: string;
  }) {
    const { ca, clock, log, provider, protocol, handshakeTimeoutMs, alpn } = options;
    this.#ca = ca;
    this.#clock = clock;
    this.#protocol = protocol;
    this.#refused = options.refused;
    const server = tls.createServer({
      ...this.#secureContext(provider.current),
      requestCert: true,
      rejectUnauthorized: false,
      handshakeTimeout: handshakeTimeoutMs,
      ...(alpn === undefined ? {} : { ALPNProtocols: [alpn] }),
    });
    this.#acceptor = new TlsAcceptor(server, {
      clock,
      handshakeTimeoutMs,
      mayTakeOver: () => true,
      failed: (error, socket) =>
        log.debug(`${protocol}: TLS handshake failed`, { client: socket.remoteAddress, error: error.message }),
    });
    this.#stopRenewal = provider.onChange((credential) => server.setSecureContext(this.#secureContext(credential)));
  }

  /**
   * INVARIANT: no session is resumed. With tickets a certificate that expired since would be accepted again (`authorized` stays
   * true); `verifyTlsUser` checks the validity besides.
   */
  #secureContext(credential: TlsCredential): tls.SecureContextOptions {
    return {
      key: credential.keyPem,
      cert: credential.certPem,
      ca: this.#ca.tlsUserCa,
      minVersion: 'TLSv1.2',
      secureOptions: constants.SSL_OP_NO_TICKET,
    };
  }

  /** The next byte of `socket` is the client's ClientHello. `secured` is called when the handshake is done; a failed one closes the socket. */
  start(socket: net.Socket, secured: (stream: SecureStream) => void): void {
    this.#acceptor.accept(socket, secured);
  }

  /**
   * Whom the client's certificate names.
   * @throws {NightlatchError} `unauthenticated`, with a text for the user; then the refusal is in the audit log.
   */
  async identityOf(stream: SecureStream, clientAddr: string): Promise<Identity> {
    const certificate = stream.getPeerX509Certificate();
    if (certificate === undefined) {
      await this.#refused({ protocol: this.#protocol, clientAddr, reason: 'no client certificate' });
      throw new NightlatchError(
        'unauthenticated',
        'a client certificate is required: sign in with "tsh db login", and use the certificate and key that it names',
      );
    }
    const verified = this.#ca.verifyTlsUser(certificate.raw);
    if (stream.authorized && verified.ok) return verified.identity;
    const user = verified.ok ? verified.identity.user : verified.user;
    await this.#refused({
      protocol: this.#protocol,
      clientAddr,
      reason: verified.ok ? String(stream.authorizationError) : verified.reason,
      ...(user === undefined ? {} : { user }),
    });
    const expired = Date.parse(certificate.validTo) <= this.#clock.wallMs();
    throw new NightlatchError(
      'unauthenticated',
      expired
        ? 'the client certificate has expired: sign in again with "tsh login" and "tsh db login"'
        : 'the client certificate is not valid here: sign in with "tsh db login"',
    );
  }

  close(): void {
    this.#stopRenewal();
  }
}
