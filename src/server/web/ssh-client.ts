import { generateKeyPairSync } from 'node:crypto';
import { duplexPair } from 'node:stream';
import { NightlatchError } from '../../core/errors.ts';
import { authenticateAtServer } from '../../gateways/ssh/client-auth.ts';
import type { SshGateway } from '../../gateways/ssh/gateway.ts';
import { ChannelHost, type LocalChannel } from '../../gateways/ssh/local-channel.ts';
import type { SessionNotices } from '../../gateways/ssh/node-connection.ts';
import { SshTransport } from '../../gateways/ssh/transport.ts';
import { SshReader, SshWriter } from '../../wire/ssh/buffer.ts';
import { CERTIFICATE_SUFFIX } from '../../wire/ssh/certificate.ts';
import {
  decodeAuthorizedKey,
  encodeAuthorizedKey,
  encodePublicKey,
  SIGNATURE_ALGORITHMS,
} from '../../wire/ssh/keys.ts';
import { DISCONNECT, MSG, OPEN_FAILURE } from '../../wire/ssh/messages.ts';
import { issueCertificates } from '../certificates.ts';
import type { ServerContext } from '../context.ts';

/** The target may take as long as the gateway gives it, and a little more. */
const LOGIN_TIMEOUT_MS = 30_000;

export interface SshClientRequest {
  readonly user: string;
  readonly login: string;
  /** Name of the node, as registered. */
  readonly node: string;
  /** `ip:port` of the browser. */
  readonly clientAddr: string;
  /** End of the web session, milliseconds since the epoch: the certificate ends no later. */
  readonly notAfterMs: number;
  readonly notices: SessionNotices;
}

/** An SSH connection to a node, made by the daemon on behalf of somebody's browser. */
export interface SshClient {
  /** A channel for a program. @throws {NightlatchError} `access_denied` where the gateway or the node refuses it. */
  openSession(): Promise<LocalChannel>;
  /** Resolves when the connection is gone, with what the other side said. */
  readonly closed: Promise<string>;
  end(): void;
}

/**
 * Connects to a node through the SSH gateway, in memory: policy, audit and idle rules apply there, as to every other client. The key is made
 * for this connection and known to nobody else.
 * @throws {NightlatchError} with the gateway's own words where it refuses.
 */
export async function connectSsh(
  ctx: ServerContext,
  gateway: SshGateway,
  request: SshClientRequest,
): Promise<SshClient> {
  const { user, login, node, clientAddr, notAfterMs, notices } = request;
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const issued = await issueCertificates(ctx, {
    user,
    by: user,
    sshPublicKey: encodeAuthorizedKey(encodePublicKey(publicKey)),
    notAfterMs,
  });
  if (issued.ssh === undefined) throw new NightlatchError('access_denied', 'your roles allow no logins on nodes');
  const certificate = decodeAuthorizedKey(issued.ssh).blob;
  const [near, far] = duplexPair();
  gateway.acceptNode(far, { clientAddr, host: node, notices });
  const banner: { text?: string } = {};
  const transport = new SshTransport({
    stream: near,
    clock: ctx.clock,
    role: 'client',
    hostKeyAlgorithms: SIGNATURE_ALGORITHMS.map((name) => name + CERTIFICATE_SUFFIX),
    verifyHostKey: (blob) => ctx.ca.verifySshHost(blob, [node]),
  });
  try {
    const authenticated = authenticateAtServer({
      transport,
      login,
      credential: () => ({ privateKey, certificate }),
      clock: ctx.clock,
      timeoutMs: LOGIN_TIMEOUT_MS,
    });
    noteBanner(transport, banner);
    await authenticated;
  } catch (error) {
    transport.abort();
    if (banner.text !== undefined) throw new NightlatchError('access_denied', banner.text, { cause: error });
    // The gateway says no more than that; the certificate was good, so it is the login.
    if (error instanceof NightlatchError && error.code === 'access_denied') {
      throw new NightlatchError('access_denied', `your roles do not allow the login "${login}"`, { cause: error });
    }
    throw error;
  }
  return overTransport(transport);
}

/** The gateway says why it refuses in a banner (RFC 4252 section 5.4). */
function noteBanner(transport: SshTransport, banner: { text?: string }): void {
  const next = transport.onAuthPacket;
  transport.onAuthPacket = (packet) => {
    if (packet[0] === MSG.USERAUTH_BANNER) banner.text = new SshReader(packet, 1).utf8(4096).trim();
    next(packet);
  };
}

function overTransport(transport: SshTransport): SshClient {
  const closed = Promise.withResolvers<string>();
  const host = new ChannelHost((packet) => transport.send(packet), {
    open: () => ({ refuse: OPEN_FAILURE.ADMINISTRATIVELY_PROHIBITED, text: 'the web terminal takes no channels' }),
    global: () => false,
  });
  transport.onPacket = (packet) => host.packet(packet);
  transport.onWritable = (writable) => host.setWritable(writable);
  transport.onClose = ({ detail }) => {
    host.close();
    closed.resolve(detail.replace(/^disconnected by the peer: /, ''));
  };
  return {
    closed: closed.promise,
    async openSession() {
      const channel = await host.open('session', new Uint8Array(0));
      if (channel === undefined) throw new NightlatchError('access_denied', 'the node opens no further session');
      return channel;
    },
    end: () => void transport.disconnect(DISCONNECT.BY_APPLICATION, 'the browser has left'),
  };
}

/** `pty-req` (RFC 4254 section 6.2): the terminal type is the one that xterm.js is. */
export function encodePtyRequest(columns: number, rows: number): Buffer {
  return new SshWriter(64)
    .string('xterm-256color')
    .uint32(columns)
    .uint32(rows)
    .uint32(0)
    .uint32(0)
    .string(Buffer.from([0]))
    .finish();
}

/** `window-change` (RFC 4254 section 6.7). */
export function encodeWindowChange(columns: number, rows: number): Buffer {
  return new SshWriter(16).uint32(columns).uint32(rows).uint32(0).uint32(0).finish();
}
