import { EVENTS } from '../../audit/catalog.ts';
import type { Session } from '../../session/types.ts';
import { SshReader } from '../../wire/ssh/buffer.ts';
import {
  type ChannelOpen,
  type ChannelRequest,
  decodeForwardAddress,
  type GlobalRequest,
  MSG,
  OPEN_FAILURE,
} from '../../wire/ssh/messages.ts';
import type { RelayChannel } from './relay-channel.ts';

/** What a user's roles and certificate allow on a connection. */
export interface SshRules {
  readonly terminal: boolean;
  readonly forwardAgent: boolean;
  /** `-L`, `-D`. */
  readonly localForwarding: boolean;
  /** `-R`. */
  readonly remoteForwarding: boolean;
  /** Session channels at a time; 0 for no limit. */
  readonly maxSessions: number;
}

/** What the target may open channels for, because the client asked for it. */
export interface RelayGrants {
  agent: boolean;
  remoteForwards: number;
}

export type OpenVerdict =
  | { readonly allowed: true }
  | { readonly allowed: false; readonly reason: number; readonly text: string };

const ALLOWED: OpenVerdict = { allowed: true };

function prohibited(text: string): OpenVerdict {
  return { allowed: false, reason: OPEN_FAILURE.ADMINISTRATIVELY_PROHIBITED, text };
}

/** A channel that the client asks for. */
export function judgeChannelOpen(open: ChannelOpen, rules: SshRules, openSessions: number): OpenVerdict {
  switch (open.type) {
    case 'session':
      if (rules.maxSessions === 0 || openSessions < rules.maxSessions) return ALLOWED;
      return {
        allowed: false,
        reason: OPEN_FAILURE.RESOURCE_SHORTAGE,
        text: `too many sessions on this connection: your roles allow ${rules.maxSessions} (max_sessions)`,
      };
    case 'direct-tcpip':
    case 'direct-streamlocal@openssh.com':
      return rules.localForwarding ? ALLOWED : prohibited('port forwarding is not allowed by your roles');
    default:
      return {
        allowed: false,
        reason: OPEN_FAILURE.UNKNOWN_CHANNEL_TYPE,
        text: open.type === 'tun@openssh.com' ? 'tunnel devices are not supported' : 'unknown channel type',
      };
  }
}

/** A channel that the target asks for: only what the client has asked it to do. */
export function judgeTargetOpen(open: ChannelOpen, rules: SshRules, grants: RelayGrants): OpenVerdict {
  switch (open.type) {
    case 'forwarded-tcpip':
    case 'forwarded-streamlocal@openssh.com':
      return rules.remoteForwarding && grants.remoteForwards > 0 ? ALLOWED : prohibited('no such forwarding');
    case 'auth-agent@openssh.com':
      return rules.forwardAgent && grants.agent ? ALLOWED : prohibited('agent forwarding is not allowed');
    default:
      return { allowed: false, reason: OPEN_FAILURE.UNKNOWN_CHANNEL_TYPE, text: 'unknown channel type' };
  }
}

export type RequestVerdict =
  | 'refuse'
  | {
      /** A person's doing (SPEC 2.3). */
      readonly activity: boolean;
      /** Notes what the request starts, before it is passed on … */
      readonly accepted?: () => void;
      /** … and takes it back when the target refuses. */
      readonly failed?: () => void;
    };

/** A request on a channel, by the client. */
export function judgeChannelRequest(request: ChannelRequest, channel: RelayChannel, rules: SshRules): RequestVerdict {
  if (request.name === 'eow@openssh.com') return { activity: false };
  if (channel.type !== 'session' || channel.openedBy !== 'client') return 'refuse';
  switch (request.name) {
    case 'pty-req':
      if (!rules.terminal || channel.terminal !== undefined || channel.program !== undefined) return 'refuse';
      return {
        activity: true,
        accepted: () => channel.startTerminal(),
        failed: () => {
          channel.terminal = undefined;
        },
      };
    case 'shell':
    case 'exec':
    case 'subsystem': {
      if (channel.program !== undefined) return 'refuse';
      const command = request.name === 'shell' ? '' : new SshReader(request.data).string().toString('utf8');
      const kind = request.name;
      return {
        activity: true,
        accepted: () => {
          channel.program = { kind, command };
        },
        failed: () => {
          channel.exit = { status: -1 };
        },
      };
    }
    case 'auth-agent-req@openssh.com':
      return rules.forwardAgent ? { activity: false } : 'refuse';
    case 'signal':
    case 'break':
      return { activity: true };
    case 'env':
    case 'window-change':
    case 'xon-xoff':
      return { activity: false };
    default:
      // x11-req, keepalive@openssh.com and whatever else.
      return 'refuse';
  }
}

export type GlobalVerdict =
  | { readonly allowed: false }
  | {
      readonly allowed: true;
      /** Called with the target's answer. */
      readonly answered?: (session: Session, grants: RelayGrants, reply: Buffer) => void;
    };

/** A request on the connection, by the client. */
export function judgeGlobalRequest(request: GlobalRequest, rules: SshRules): GlobalVerdict {
  switch (request.name) {
    case 'tcpip-forward':
    case 'streamlocal-forward@openssh.com': {
      if (!rules.remoteForwarding) return { allowed: false };
      const address = forwardedAddress(request);
      return {
        allowed: true,
        answered: (session, grants, reply) => {
          const ok = reply[0] === MSG.REQUEST_SUCCESS;
          if (ok) grants.remoteForwards++;
          const { event, code } = ok ? EVENTS.port : EVENTS.portFailed;
          // RFC 4254 section 7.1: with port 0 the answer names the one that was chosen.
          const addr =
            address.endsWith(':0') && reply.length >= 5
              ? address.replace(/0$/, String(reply.readUInt32BE(1)))
              : address;
          session.audit(event, code, { addr, direction: 'remote', success: ok });
        },
      };
    }
    case 'cancel-tcpip-forward':
    case 'cancel-streamlocal-forward@openssh.com':
    case 'no-more-sessions@openssh.com':
      return { allowed: true };
    default:
      // keepalive@openssh.com and hostkeys-prove-00@openssh.com are answered here, the rest is unknown.
      return { allowed: false };
  }
}

function forwardedAddress(request: GlobalRequest): string {
  if (request.name === 'streamlocal-forward@openssh.com') return new SshReader(request.data).utf8(1024);
  const { host, port } = decodeForwardAddress(request.data);
  return `${host}:${port}`;
}
