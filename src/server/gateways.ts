import net, { type Server, type Socket } from 'node:net';
import type { AuditLog } from '../audit/events.ts';
import type { Clock } from '../core/clock.ts';
import type { Logger } from '../core/logger.ts';
import { FastPathSearch } from '../gateways/common/fast-path-search.ts';
import { nativeRecords } from '../gateways/common/tls/native-records.ts';
import type { DesktopCredentials } from '../gateways/desktop/credentials.ts';
import { createDesktopGateway, type DesktopGateway } from '../gateways/desktop/gateway.ts';
import { createKubeGateway } from '../gateways/kube/gateway.ts';
import { createMysqlGateway } from '../gateways/mysql/gateway.ts';
import { createPostgresGateway } from '../gateways/postgres/gateway.ts';
import { createRedisGateway } from '../gateways/redis/gateway.ts';
import { createEmbeddedNode } from '../gateways/ssh/embedded-node.ts';
import { createSshGateway, type SshGateway } from '../gateways/ssh/gateway.ts';
import { nativeCiphersAvailable } from '../gateways/ssh/native-ciphers.ts';
import type { RefusedLogin, RefusedLogins } from '../identity/refused-logins.ts';
import type { CertAuthority } from '../identity/types.ts';
import type { LivePolicy } from '../policy/snapshot.ts';
import type { Config } from '../resources/index.ts';
import type { SessionManager } from '../session/types.ts';
import { ALPN_DATABASE, ALPN_SSH } from '../wire/api/messages.ts';
import { createKubePort, type HttpHandler, remoteAddr, type Tunnel } from './public-port.ts';
import type { ServerCertificate } from './server-certificate.ts';

/** A native listener that the configuration switches on. */
export interface NativeListener {
  readonly server: Server;
  readonly addr: string;
  /** As `ports` of the API calls it. */
  readonly name: string;
  readonly purpose: string;
}

/** Every gateway, and how connections reach it. */
export interface Gateways {
  readonly listeners: readonly NativeListener[];
  /** By ALPN protocol of the public port. */
  readonly tunnels: ReadonlyMap<string, Tunnel>;
  readonly kube: HttpHandler;
  /** For the web application's terminals and desktops. */
  readonly ssh: SshGateway;
  readonly desktops: DesktopGateway;
  close(): Promise<void>;
}

export interface GatewaysDeps {
  readonly config: Config;
  readonly clock: Clock;
  readonly log: Logger;
  readonly sessions: SessionManager;
  readonly policy: LivePolicy;
  readonly ca: CertAuthority;
  readonly clusterName: string;
  readonly certificate: ServerCertificate;
  readonly desktopPasswords: DesktopCredentials;
  readonly audit: AuditLog;
  readonly refusedLogins: RefusedLogins;
  /** Names under which the gateway is reached. */
  readonly names: readonly string[];
}

/** More connections on one native listener than this are closed at once. */
const MAX_CONNECTIONS = 20_000;

function nativeListener(accept: (socket: Socket, info: { clientAddr: string }) => void): Server {
  const server = net.createServer({ noDelay: true, keepAlive: true, keepAliveInitialDelay: 60_000 }, (socket) =>
    accept(socket, { clientAddr: remoteAddr(socket) }),
  );
  server.maxConnections = MAX_CONNECTIONS;
  return server;
}

/** Splits a tunnel's target, `NODE:PORT` or `NODE`. */
function splitTarget(target: string): { host: string; port?: number } {
  const match = /^(.*):(\d{1,5})$/.exec(target);
  return match === null ? { host: target } : { host: match[1]!, port: Number(match[2]) };
}

/** Makes the gateways. Their listeners are not bound yet. */
export async function startGateways(deps: GatewaysDeps): Promise<Gateways> {
  const { config, clock, log, audit, sessions, policy, ca, clusterName, certificate, names } = deps;
  const proxy = config.proxy_service;
  const listeners: NativeListener[] = [];
  const tunnels = new Map<string, Tunnel>();

  if (!nativeCiphersAvailable) {
    log.warn(
      "ssh2's native addon is not built for this Node: SSH takes about twice the CPU. Build it with: npm rebuild (python3, make and g++ are needed)",
    );
  }
  if (nativeRecords === undefined) {
    log.warn(
      'the addon for TLS records is not built for this Node: TLS takes about twice the memory and CPU. Build it with: npm rebuild (python3, make and g++ are needed)',
    );
  }
  const ssh = createSshGateway({
    clock,
    log,
    refusedLogins: deps.refusedLogins,
    sessions,
    policy,
    ca,
    clusterName,
    proxyNames: names,
    ...(config.ssh_service.enabled ? { embeddedNode: createEmbeddedNode({ clock, log }) } : {}),
  });
  tunnels.set(ALPN_SSH, {
    readsTarget: true,
    needsNodeTls: true,
    open: (stream, { clientAddr, target }) => ssh.acceptNode(stream, { clientAddr, ...splitTarget(target) }),
  });
  if (proxy.ssh_listen_addr !== undefined) {
    const server = nativeListener((socket, info) => ssh.acceptJump(socket, info));
    listeners.push({ server, addr: proxy.ssh_listen_addr, name: 'ssh', purpose: 'SSH (ssh -J)' });
  }

  const refused = (refusal: RefusedLogin) => deps.refusedLogins.record(refusal);
  const fastPath = new FastPathSearch({ clock, log });
  const databases = { clock, log, sessions, policy, ca, tls: certificate, refused, fastPath };
  const postgres = createPostgresGateway(databases);
  tunnels.set(ALPN_DATABASE.postgres, {
    readsTarget: false,
    open: (stream, info) => postgres.acceptTunnel(stream, info),
  });
  if (proxy.postgres_listen_addr !== undefined) {
    const server = nativeListener((socket, info) => postgres.accept(socket, info));
    listeners.push({ server, addr: proxy.postgres_listen_addr, name: 'postgres', purpose: 'PostgreSQL' });
  }

  const mysql = createMysqlGateway(databases);
  tunnels.set(ALPN_DATABASE.mysql, { readsTarget: false, open: (stream, info) => mysql.acceptTunnel(stream, info) });
  if (proxy.mysql_listen_addr !== undefined) {
    const server = nativeListener((socket, info) => mysql.accept(socket, info));
    listeners.push({ server, addr: proxy.mysql_listen_addr, name: 'mysql', purpose: 'MySQL and MariaDB' });
  }

  const redis = createRedisGateway(databases);
  tunnels.set(ALPN_DATABASE.redis, { readsTarget: false, open: (stream, info) => redis.acceptTunnel(stream, info) });
  if (proxy.redis_listen_addr !== undefined) {
    const server = nativeListener((socket, info) => redis.accept(socket, info));
    listeners.push({ server, addr: proxy.redis_listen_addr, name: 'redis', purpose: 'Redis' });
  }

  const kube = createKubeGateway({ clock, log, audit, policy, sessions, ca, refused, fastPath });
  if (proxy.kube_listen_addr !== undefined) {
    const { current: credential } = certificate;
    const { forKubeName: credentialFor } = certificate;
    const listener = createKubePort(kube, { clock, log, credential, credentialFor, clientCa: ca.tlsUserCa });
    certificate.onChange((renewed) => listener.setSecureContext(renewed));
    listeners.push({ server: listener.server, addr: proxy.kube_listen_addr, name: 'kube', purpose: 'Kubernetes' });
  }

  const desktops = createDesktopGateway({ clock, log, policy, sessions, credentials: deps.desktopPasswords.password });

  return {
    listeners,
    tunnels,
    kube,
    ssh,
    desktops,
    async close() {
      fastPath.close();
      desktops.close();
      kube.close();
      postgres.close();
      mysql.close();
      redis.close();
      await ssh.close();
    },
  };
}
