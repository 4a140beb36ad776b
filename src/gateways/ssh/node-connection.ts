import type { Duplex } from 'node:stream';
import { errorMessage, NightlatchError } from '../../core/errors.ts';
import { checkNodeAccess } from '../../policy/access.ts';
import type { EffectiveIdlePolicy } from '../../policy/idle-policy.ts';
import { sshOptions } from '../../policy/options.ts';
import type { Node } from '../../resources/index.ts';
import type { IdleWarning, Session, SessionControl, SessionEnd, SessionSpec } from '../../session/types.ts';
import { DISCONNECT } from '../../wire/ssh/messages.ts';
import type { SshGatewayDeps } from './gateway.ts';
import { findNode } from './node-lookup.ts';
import type { PacketPeer } from './packet-peer.ts';
import { SshRelay } from './relay.ts';
import type { SshRules } from './rules.ts';
import type { Admission, AuthenticatedClient } from './server-auth.ts';
import { connectTarget } from './target.ts';
import type { SshTransport } from './transport.ts';

export interface NodeConnectionDeps extends SshGatewayDeps {
  readonly connect: (addr: string) => Duplex;
  closing(): boolean;
}

/** Told about a session beside the SSH connection itself, by a client that shows notices in a way of its own. */
export interface SessionNotices {
  /** The session is usable. */
  ready(session: Session): void;
  warning(warning: IdleWarning): void;
  /** The warning is over. */
  kept(text: string): void;
  policyChanged(policy: EffectiveIdlePolicy): void;
  end(end: SessionEnd): void;
}

interface Request {
  readonly clientAddr: string;
  readonly host: string;
  readonly port?: number;
  readonly notices?: SessionNotices;
}

/** One client's connection to one node: from its admission to the relay. */
export class NodeConnection {
  readonly #transport: SshTransport;
  readonly #request: Request;
  readonly #deps: NodeConnectionDeps;
  #session: Session | undefined;
  #client: AuthenticatedClient | undefined;
  #target: PacketPeer | undefined;
  #relay: SshRelay | undefined;
  /** Aborted when the session ends before the relay stands. */
  #cancelled: AbortController | undefined = new AbortController();
  #end: SessionEnd | undefined;

  constructor(transport: SshTransport, request: Request, deps: NodeConnectionDeps) {
    this.#transport = transport;
    this.#request = request;
    this.#deps = deps;
  }

  /** Opens the session and the way to the target for a client that has proved who it is. */
  async admit(client: AuthenticatedClient): Promise<Admission> {
    const { policy, sessions, closing, log } = this.#deps;
    const { host, port } = this.#request;
    if (closing()) return { ok: false, text: 'the gateway is shutting down' };
    const node = findNode(policy.current, host, port);
    if (node === undefined) return { ok: false, text: `there is no node "${host}"` };
    this.#client = client;
    const opened = await sessions.open(this.#spec(client, node), this.#control());
    if (!opened.ok) {
      return { ok: false, text: opened.cause === 'locked' ? `you are locked out: ${opened.text}` : opened.text };
    }
    this.#session = opened.session;
    const onClose = this.#transport.onClose;
    this.#transport.onClose = (closed) => {
      onClose(closed);
      this.#cancelled?.abort();
      void opened.session.end('client_closed', closed.detail);
    };
    if (this.#transport.closed) {
      void opened.session.end('client_closed', 'the client is gone');
      return { ok: false, text: '' };
    }
    try {
      this.#target = await this.#openTarget(client, node);
    } catch (error) {
      const text = this.#end?.text ?? `node "${node.spec.hostname}" cannot be reached: ${errorMessage(error)}`;
      log.info('SSH target not reached', { node: node.spec.hostname, login: client.login, error: errorMessage(error) });
      void opened.session.end('target_closed', text);
      return { ok: false, text };
    }
    if (this.#end !== undefined) {
      this.#target.abort();
      return { ok: false, text: this.#end.text };
    }
    return { ok: true };
  }

  /** The client has been let in: packets pass from now on. */
  start(): void {
    const session = this.#session!;
    this.#relay = new SshRelay({
      client: this.#transport,
      target: this.#target!,
      session,
      clock: this.#deps.clock,
      rules: () => this.#rules(),
    });
    session.ready();
    this.#request.notices?.ready(session);
  }

  async #openTarget(client: AuthenticatedClient, node: Node): Promise<PacketPeer> {
    const { embeddedNode, clock, ca, connect } = this.#deps;
    const { user } = client.identity;
    if (node.sub_kind === 'teleport') {
      if (embeddedNode === undefined) throw new NightlatchError('unavailable', 'it is not part of this gateway');
      const { clientAddr } = this.#request;
      return embeddedNode.open({ login: client.login, user, clientAddr });
    }
    return connectTarget(
      { node, user, login: client.login, extensions: extensionsFor(this.#rules()), signal: this.#cancelled!.signal },
      { clock, ca, connect },
    );
  }

  #spec({ identity, login }: AuthenticatedClient, node: Node): SessionSpec {
    const { policy } = this.#deps;
    return {
      kind: 'ssh',
      protocol: 'ssh',
      user: identity.user,
      login,
      target: {
        kind: 'node',
        name: node.metadata.name,
        displayName: node.spec.hostname,
        addr: node.spec.addr ?? '',
        labels: node.metadata.labels ?? {},
      },
      clientAddr: this.#request.clientAddr,
      certExpiresAtMs: identity.expiresAtMs,
      maxConnections: sshOptions(policy.current, identity.user).maxConnections,
      authorize(snapshot) {
        const current = snapshot.nodes.get(node.metadata.name);
        if (current === undefined) return { allowed: false, reason: `node "${node.spec.hostname}" has been removed` };
        return checkNodeAccess(snapshot, { user: identity.user, login, node: current });
      },
    };
  }

  #control(): SessionControl {
    const { notices } = this.#request;
    return {
      warn: (warning) =>
        notices === undefined ? this.#relay?.notice('warning', warning.text) : notices.warning(warning),
      warningCancelled: (text) => (notices === undefined ? this.#relay?.notice('cancelled', text) : notices.kept(text)),
      ...(notices === undefined ? {} : { policyChanged: (policy) => notices.policyChanged(policy) }),
      close: async (end) => {
        this.#end = end;
        notices?.end(end);
        if (this.#relay !== undefined) return this.#relay.close(end);
        this.#cancelled?.abort();
        this.#target?.abort();
        await this.#transport.disconnect(DISCONNECT.BY_APPLICATION, end.text);
      },
      abort: () => {
        this.#cancelled?.abort();
        this.#target?.abort();
        this.#transport.abort();
      },
    };
  }

  /** Roles as they are now, and what the certificate allows. */
  #rules(): SshRules {
    const { identity } = this.#client!;
    const options = sshOptions(this.#deps.policy.current, identity.user);
    const permits = (name: string) => identity.extensions.includes(name);
    return {
      terminal: permits('permit-pty'),
      forwardAgent: options.forwardAgent && permits('permit-agent-forwarding'),
      localForwarding: options.localForwarding && permits('permit-port-forwarding'),
      remoteForwarding: options.remoteForwarding && permits('permit-port-forwarding'),
      maxSessions: options.maxSessions,
    };
  }
}

/** Extensions of the certificate for the target: no more than the client may do here. */
function extensionsFor(rules: SshRules): string[] {
  const extensions = ['permit-user-rc'];
  if (rules.terminal) extensions.push('permit-pty');
  if (rules.forwardAgent) extensions.push('permit-agent-forwarding');
  if (rules.localForwarding || rules.remoteForwarding) extensions.push('permit-port-forwarding');
  return extensions;
}
