import net from 'node:net';
import type { Duplex } from 'node:stream';
import type { Clock } from '../../core/clock.ts';
import { NightlatchError } from '../../core/errors.ts';
import type { CertAuthority } from '../../identity/types.ts';
import type { Node } from '../../resources/index.ts';
import { SshReader } from '../../wire/ssh/buffer.ts';
import { CERTIFICATE_SUFFIX, isCertificateType } from '../../wire/ssh/certificate.ts';
import {
  type AuthorizedKey,
  decodeAuthorizedKey,
  fingerprint,
  isKeyType,
  SIGNATURE_ALGORITHMS,
  signatureAlgorithmsOf,
} from '../../wire/ssh/keys.ts';
import { authenticateAtServer } from './client-auth.ts';
import type { VerifyHostKey } from './key-exchange.ts';
import { SshTransport } from './transport.ts';

/** From the first byte to the login, in milliseconds. */
const CONNECT_TIMEOUT_MS = 20_000;
/** Life of the certificate for one login, in milliseconds: long enough for clocks that differ a little. */
const LOGIN_TTL_MS = 120_000;

export interface TargetRequest {
  readonly node: Node;
  readonly user: string;
  readonly login: string;
  /** Certificate extensions for the login: `permit-pty` … */
  readonly extensions: readonly string[];
  /** Aborted when the session ends before the target is reached. */
  readonly signal: AbortSignal;
}

export interface TargetDeps {
  readonly clock: Clock;
  readonly ca: CertAuthority;
  connect(addr: string): Duplex;
}

/** `HOST:PORT`, `[V6]:PORT` or `HOST` taken apart; the port is 22 where there is none. */
export function splitAddr(addr: string): { host: string; port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d+))?$/.exec(addr);
  if (match === null) return { host: addr, port: 22 };
  return { host: match[1] ?? match[2]!, port: match[3] === undefined ? 22 : Number(match[3]) };
}

/** Opens a TCP connection without delay and with keepalive, so that a target that is gone is noticed. */
export function connectTcp(addr: string): Duplex {
  return net.connect({ ...splitAddr(addr), noDelay: true, keepAlive: true, keepAliveInitialDelay: 30_000 });
}

/**
 * Logs in at an OpenSSH server with a certificate made for this login, after its host key has been checked.
 * @throws {NightlatchError} with a text for the user.
 */
export async function connectTarget(request: TargetRequest, deps: TargetDeps): Promise<SshTransport> {
  const { node, login, user, extensions, signal } = request;
  const addr = node.spec.addr;
  if (addr === undefined) throw new NightlatchError('bad_parameter', `node "${node.spec.hostname}" has no address`);
  const check = hostKeyCheck(node, deps.ca);
  signal.throwIfAborted();
  const transport = new SshTransport({
    stream: deps.connect(addr),
    clock: deps.clock,
    role: 'client',
    hostKeyAlgorithms: check.algorithms,
    verifyHostKey: check.verify,
  });
  const abort = () => transport.abort();
  signal.addEventListener('abort', abort, { once: true });
  try {
    await authenticateAtServer({
      transport,
      login,
      credential: () => deps.ca.mintSshUser({ user, login, ttlMs: LOGIN_TTL_MS, extensions }),
      clock: deps.clock,
      timeoutMs: CONNECT_TIMEOUT_MS,
    });
    signal.throwIfAborted();
    return transport;
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

/** Keys of the nodes that sessions are open to, decoded once: a slice of Node's buffer pool for each session would keep 64 KB alive. */
const pinnedByNode = new WeakMap<Node, readonly AuthorizedKey[]>();

function pinnedKeys(node: Node): readonly AuthorizedKey[] {
  let keys = pinnedByNode.get(node);
  if (keys === undefined) {
    keys = (node.spec.host_keys ?? []).map((line) => decodeAuthorizedKey(line));
    pinnedByNode.set(node, keys);
  }
  return keys;
}

/** How a node proves itself: by one of the keys pinned in its resource, else by a host certificate of the host CA. */
function hostKeyCheck(node: Node, ca: CertAuthority): { algorithms: string[]; verify: VerifyHostKey } {
  const pinned = pinnedKeys(node);
  if (pinned.length > 0) {
    const algorithms = pinned.flatMap(({ type }) => (isKeyType(type) ? signatureAlgorithmsOf(type) : []));
    return {
      algorithms: [...new Set<string>(algorithms)],
      verify: (blob) =>
        pinned.some((key) => key.blob.equals(blob))
          ? { ok: true }
          : { ok: false, reason: `${fingerprint(blob)} is none of the keys pinned for node "${node.spec.hostname}"` },
    };
  }
  const names = [node.spec.hostname, node.metadata.name];
  if (node.spec.addr !== undefined) names.push(splitAddr(node.spec.addr).host);
  return {
    algorithms: [...SIGNATURE_ALGORITHMS.map((name) => name + CERTIFICATE_SUFFIX), ...SIGNATURE_ALGORITHMS],
    verify: (blob) => {
      if (!isCertificateType(new SshReader(blob).name())) {
        const reason = `it shows the plain key ${fingerprint(blob)} and no host certificate; pin it with spec.host_keys, or give it one`;
        return { ok: false, reason };
      }
      return ca.verifySshHost(blob, names);
    },
  };
}
