import type { Duplex } from 'node:stream';
import type { Clock, Timer } from '../../core/clock.ts';
import type { Logger } from '../../core/logger.ts';
import { networkOf } from '../../identity/attempt-limits.ts';
import type { RefusedLogins } from '../../identity/refused-logins.ts';
import { ipOf } from '../../identity/source-address.ts';
import type { CertAuthority } from '../../identity/types.ts';
import type { LivePolicy } from '../../policy/snapshot.ts';
import type { SessionManager } from '../../session/types.ts';
import { DISCONNECT } from '../../wire/ssh/messages.ts';
import { hostKeysOf } from './host-keys.ts';
import { serveJump } from './jump.ts';
import { NodeConnection, type SessionNotices } from './node-connection.ts';
import { findNode } from './node-lookup.ts';
import type { PacketPeer } from './packet-peer.ts';
import { PreAuthLimit } from './pre-auth.ts';
import { RefusedConnection } from './refused-connection.ts';
import { authenticateClient } from './server-auth.ts';
import { connectTcp } from './target.ts';
import { SshTransport } from './transport.ts';

/** From the first byte of a connection to its authentication, in milliseconds (OpenSSH's LoginGraceTime is 120 s). */
const LOGIN_GRACE_MS = 30_000;

/** Starts the embedded node for one connection: shells as the daemon's own user. */
export interface EmbeddedNode {
  /** A peer for the login. @throws {NightlatchError} with a text for the user where there is none. */
  open(request: { readonly login: string; readonly user: string; readonly clientAddr: string }): Promise<PacketPeer>;
}

export interface SshGatewayDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly refusedLogins: RefusedLogins;
  readonly sessions: SessionManager;
  readonly policy: LivePolicy;
  readonly ca: CertAuthority;
  readonly clusterName: string;
  /** Names under which clients reach the jump host, for its host certificate; the cluster's name is always one. */
  readonly proxyNames?: readonly string[];
  /** Where nodes of the sub-kind `teleport` are: inside of this daemon. */
  readonly embeddedNode?: EmbeddedNode;
  /** Opens the connection to a node's `addr`; TCP by default. */
  readonly connect?: (addr: string) => Duplex;
  /** Milliseconds that a client has for its authentication (30 s by default). */
  readonly loginGraceMs?: number;
}

export interface ClientInfo {
  /** `ip:port` of the client. */
  readonly clientAddr: string;
}

/** Which node a connection is meant for. */
export interface NodeClientInfo extends ClientInfo {
  readonly host: string;
  readonly port?: number;
  /** Who shows warnings and the end instead of the terminal itself (the web terminal's overlay). */
  readonly notices?: SessionNotices;
}

export interface SshGateway {
  /** A connection to the native listener: `ssh -J`. */
  acceptJump(stream: Duplex, info: ClientInfo): void;
  /** A connection meant for one node (`tsh proxy ssh`, or a channel of a jump): the gateway answers as the node. */
  acceptNode(stream: Duplex, info: NodeClientInfo): void;
  /** Refuses new connections, closes those that have no session, and resolves when every connection is gone. */
  close(): Promise<void>;
}

/** The SSH gateway: from accepted streams to relayed packets. */
export function createSshGateway(deps: SshGatewayDeps): SshGateway {
  return new Gateway(deps);
}

class Gateway implements SshGateway {
  readonly #deps: SshGatewayDeps;
  readonly #preAuth = new PreAuthLimit();
  readonly #transports = new Set<SshTransport>();
  #closing = false;
  #empty: (() => void) | undefined;

  constructor(deps: SshGatewayDeps) {
    this.#deps = deps;
  }

  acceptJump(stream: Duplex, info: ClientInfo): void {
    const { ca, clock, clusterName, policy, proxyNames = [] } = this.#deps;
    const transport = this.#transport(stream, info, [...new Set([clusterName, ...proxyNames])]);
    if (transport === undefined) return;
    const clientIp = ipOf(info.clientAddr);
    const guard = this.#beforeAuth(transport, clientIp);
    const refusals = this.#refusals(transport, info);
    authenticateClient(
      {
        transport,
        ca,
        clientIp,
        checkLogin: false,
        admit: async () => {
          refusals.proved();
          return this.#closing ? { ok: false, text: 'the gateway is shutting down' } : { ok: true };
        },
        onRefused: (refusal) => refusals.refused(refusal),
      },
      () => {
        guard.release();
        // `NODE.CLUSTER`, the name that `known_hosts` trusts, is the node too.
        const suffix = `.${clusterName}`;
        const nameOf = (host: string, port: number): string =>
          host.endsWith(suffix) && findNode(policy.current, host, port) === undefined
            ? host.slice(0, -suffix.length)
            : host;
        serveJump({
          transport,
          clock,
          knows: (host, port) => findNode(policy.current, nameOf(host, port), port) !== undefined,
          accept: (channel, host, port) => this.acceptNode(channel, { ...info, host: nameOf(host, port), port }),
        });
      },
    );
  }

  acceptNode(stream: Duplex, info: NodeClientInfo): void {
    if (!isHostName(info.host)) {
      stream.destroy();
      return;
    }
    const { ca, clusterName, policy } = this.#deps;
    const client = { clientAddr: info.clientAddr };
    const node = findNode(policy.current, info.host, info.port);
    const names = node === undefined ? [info.host] : [info.host, node.spec.hostname, node.metadata.name];
    // `known_hosts` trusts `*.CLUSTER`: clients know a node by that name too.
    const qualified = names.map((name) => `${name}.${clusterName}`);
    const transport = this.#transport(stream, client, [...new Set([...names, ...qualified])]);
    if (transport === undefined) return;
    const clientIp = ipOf(info.clientAddr);
    const guard = this.#beforeAuth(transport, clientIp);
    const refusals = this.#refusals(transport, { ...client, host: info.host });
    const connection = new NodeConnection(transport, info, {
      ...this.#deps,
      connect: this.#deps.connect ?? connectTcp,
      closing: () => this.#closing,
    });
    authenticateClient(
      {
        transport,
        ca,
        clientIp,
        checkLogin: true,
        admit: (authenticated) => {
          refusals.proved();
          // The target may take longer than the client is given for its own part.
          guard.release();
          return connection.admit(authenticated);
        },
        onRefused: (refusal) => refusals.refused(refusal),
      },
      () => {
        connection.start();
      },
    );
  }

  async close(): Promise<void> {
    this.#closing = true;
    for (const transport of this.#transports) {
      void transport.disconnect(DISCONNECT.BY_APPLICATION, 'the gateway is shutting down');
    }
    if (this.#transports.size === 0) return;
    await new Promise<void>((resolve) => {
      this.#empty = resolve;
    });
  }

  #transport(stream: Duplex, info: ClientInfo, names: readonly string[]): SshTransport | undefined {
    if (this.#closing) {
      stream.destroy();
      return undefined;
    }
    tuneSocket(stream);
    const { ca, clock, log } = this.#deps;
    const transport = new SshTransport({ stream, clock, role: 'server', hostKeys: hostKeysOf(ca.mintSshHost(names)) });
    this.#transports.add(transport);
    transport.onClose = (closed) => log.debug('SSH client gone before its session', { ...info, detail: closed.detail });
    void transport.whenClosed.then(() => {
      this.#transports.delete(transport);
      if (this.#transports.size === 0) this.#empty?.();
    });
    return transport;
  }

  /** Counts the connection among those that are not authenticated, and cuts it if that lasts too long. */
  #beforeAuth(transport: SshTransport, clientIp: string): { release(): void } {
    const { clock, loginGraceMs = LOGIN_GRACE_MS } = this.#deps;
    const leave = this.#preAuth.enter(networkOf(clientIp), () => transport.abort());
    const timer: Timer = clock.at(clock.now() + loginGraceMs, () => {
      void transport.disconnect(DISCONNECT.BY_APPLICATION, 'authentication took too long');
    });
    const release = () => {
      timer.cancel();
      leave();
    };
    void transport.whenClosed.then(release);
    return { release };
  }

  #refusals(transport: SshTransport, from: ClientInfo & { readonly host?: string }): RefusedConnection {
    const refusals = new RefusedConnection(this.#deps.refusedLogins, from);
    void transport.whenClosed.then(() => refusals.closed());
    return refusals;
  }
}

/** Key presses go out at once, and a client that is gone without a word is noticed in time. */
function tuneSocket(stream: Duplex): void {
  const socket = stream as { setNoDelay?(on: boolean): void; setKeepAlive?(on: boolean, ms: number): void };
  socket.setNoDelay?.(true);
  socket.setKeepAlive?.(true, 30_000);
}

/** A name or an address as a client may ask for it: nothing that would end up in a certificate, a log or a terminal by accident. */
function isHostName(host: string): boolean {
  return host.length > 0 && host.length <= 253 && /^[A-Za-z0-9_.:-]+$/.test(host);
}
