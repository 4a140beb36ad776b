import { chmodSync, mkdirSync, rmSync } from 'node:fs';
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import type { Http2ServerRequest } from 'node:http2';
import type { Server, Socket } from 'node:net';
import os from 'node:os';
import { join } from 'node:path';
import { getRequestListener } from '@hono/node-server';
import { openAuditLog } from '../audit/file-audit-log.ts';
import type { Clock } from '../core/clock.ts';
import { errorMessage, NightlatchError } from '../core/errors.ts';
import type { Logger } from '../core/logger.ts';
import { isSecure } from '../gateways/common/tls/tls-stream.ts';
import {
  createDesktopCredentials,
  DESKTOP_PASSWORDS_BUCKET,
  type KeptPassword,
} from '../gateways/desktop/credentials.ts';
import { contextNames } from '../gateways/kube/kubeconfig.ts';
import { loadCertAuthority } from '../identity/certificate-authority.ts';
import { createLocalIdentity } from '../identity/local-identity.ts';
import { loadMasterKey } from '../identity/master-key.ts';
import { RefusedLogins } from '../identity/refused-logins.ts';
import { SealedRecords } from '../identity/sealed-records.ts';
import { ipOf } from '../identity/source-address.ts';
import {
  type Config,
  type ConfigFile,
  configResources,
  type KubeCluster,
  type Node,
  ORIGIN_LABEL,
  parseDuration,
} from '../resources/index.ts';
import { Sessions } from '../session/manager.ts';
import { createLivePolicy } from '../store/live-policy.ts';
import { openSqliteStore } from '../store/sqlite-store.ts';
import { ADMIN_SOCKET_NAME } from '../wire/api/messages.ts';
import { createApi } from './api/app.ts';
import { applyFileSettings, createPresetRoles } from './bootstrap.ts';
import type { ServerContext, TransportCaller } from './context.ts';
import { createDiagnostics } from './diagnostics.ts';
import { startGateways } from './gateways.ts';
import { warnOfKubeClusters } from './kube-clusters.ts';
import { listen, splitHostPort, stopListening } from './listen.ts';
import { createMetrics } from './metrics.ts';
import { createPublicPort, type HttpHandler, isKubeName, remoteAddr } from './public-port.ts';
import { createServerCertificate } from './server-certificate.ts';
import { VERSION } from './version.ts';
import { loadWebApp } from './web/static-files.ts';
import { Terminals } from './web/terminals.ts';
import { createWebSockets } from './web/web-sockets.ts';

export interface DaemonOptions {
  readonly config: Config;
  /** Base name of the configuration file, for messages. */
  readonly configFileName?: string;
  /** Makes the error for what is wrong at a key of the configuration file. */
  readonly configErrorAt?: ConfigFile['errorAt'];
  readonly clock: Clock;
  readonly log: Logger;
}

/** A running gateway. */
export interface Daemon {
  readonly context: ServerContext;
  /** Reads the operator's certificate again. */
  reload(): Promise<void>;
  /** No new sessions; the open ones are told, and end after `graceMs`; then everything is closed. */
  stop(graceMs: number): Promise<void>;
}

/**
 * Starts the gateway and resolves once every listener is bound.
 * @throws {NightlatchError} with what is wrong and where; nothing is left running then.
 */
export async function startDaemon(options: DaemonOptions): Promise<Daemon> {
  const closers: (() => Promise<void> | void)[] = [];
  const closeAll = async (): Promise<void> => {
    for (const close of closers.reverse()) await close();
    closers.length = 0;
  };
  try {
    return await compose(options, closers, closeAll);
  } catch (error) {
    await closeAll();
    throw error;
  }
}

async function compose(
  { config, configFileName, configErrorAt, clock, log }: DaemonOptions,
  closers: (() => Promise<void> | void)[],
  closeAll: () => Promise<void>,
): Promise<Daemon> {
  const { data_dir: dataDir, diag_addr: diagAddr } = config.teleport;
  const clusterName = config.auth_service.cluster_name;
  const hostname = config.teleport.nodename ?? os.hostname();
  const proxy = config.proxy_service;
  const fromFile = configResources(config);
  makeDataDir(dataDir);
  const store = await openSqliteStore({ path: join(dataDir, 'nightlatch.sqlite'), clock, log });
  closers.push(() => store.close());
  const audit = await openAuditLog({ dir: join(dataDir, 'audit'), clock, clusterName, log });
  closers.push(() => audit.close());
  const refusedLogins = new RefusedLogins({ clock, log, audit });
  closers.push(() => refusedLogins.close());
  await createPresetRoles(store);
  await applyFileSettings(store, audit, log, fromFile);
  const policy = await createLivePolicy({ store, log });
  closers.push(() => policy.close());
  if (config.ssh_service.enabled) policy.setStatic('node', [embeddedNodeResource(hostname, config.ssh_service.labels)]);
  policy.setStatic('db', fromFile.databases);
  policy.setStatic('kube_cluster', [...fromFile.kubeClusters, ...(await clustersOfContexts(config))]);
  policy.setStatic('windows_desktop', fromFile.desktops);
  void warnOfKubeClusters(policy.current.kubeClusters.values(), log);

  const masterKey = loadMasterKey(dataDir);
  const ca = await loadCertAuthority({ store, masterKey, clock, clusterName });
  const ports: Record<string, number> = {};
  const publicHosts = proxy.public_addr.map((addr) => addr.replace(/:\d+$/, '').replace(/^\[|\]$/g, ''));
  const publicAddr = (): string =>
    withPort(proxy.public_addr[0] ?? hostname, ports['web'] ?? splitHostPort(proxy.web_listen_addr).port);
  const identity = createLocalIdentity({
    store,
    masterKey,
    clock,
    audit,
    log,
    clusterName,
    secondFactor: () => policy.current.authPreference.spec.second_factor,
    userExists: (user) => policy.current.users.has(user),
    webIdleTimeoutMs: () => parseDuration(policy.current.networkingConfig.spec.web_idle_timeout ?? 'never'),
    relyingParty: () => {
      const host = policy.current.authPreference.spec.webauthn?.rp_id ?? splitHostPort(publicAddr()).host;
      return { id: host, name: clusterName, origins: [`https://${publicAddr()}`] };
    },
  });
  closers.push(() => identity.close());
  await identity.forgetRemovedUsers();

  const metrics = createMetrics();
  const sessions = new Sessions({ clock, log, audit, policy, observer: metrics });
  closers.push(() => sessions.close());

  const names = [...new Set([clusterName, hostname, ...publicHosts])];
  const certificate = await createServerCertificate({
    clock,
    log,
    ca,
    names: [...names, ...names.filter((name) => !/^[\d.]+$|:/.test(name)).map((name) => `kube.${name}`)],
    clusterName,
    keyPairs: proxy.https_keypairs.map(({ key_file, cert_file }) => ({ keyFile: key_file, certFile: cert_file })),
    ...(configErrorAt === undefined ? {} : { errorAt: configErrorAt }),
  });
  closers.push(() => certificate.close());

  const desktopPasswords = createDesktopCredentials({
    policy,
    kept: new SealedRecords<KeptPassword>(store, masterKey, DESKTOP_PASSWORDS_BUCKET),
  });
  const context: ServerContext = {
    clock,
    log,
    clusterName,
    version: VERSION,
    ...(configFileName === undefined ? {} : { configFileName }),
    store,
    policy,
    audit,
    sessions,
    ca,
    identity,
    desktopPasswords,
    publicAddr,
    ports: () => ports,
  };
  const gateways = await startGateways({
    config,
    clock,
    log,
    audit,
    refusedLogins,
    sessions,
    policy,
    ca,
    clusterName,
    certificate,
    desktopPasswords,
    names,
  });
  closers.push(() => gateways.close());
  const terminals = new Terminals();
  const api = createApi(context, terminals);
  const apiListener = (callerOf: (incoming: IncomingMessage) => TransportCaller) =>
    getRequestListener((request, env) => api.fetch(request, { caller: callerOf(env.incoming as IncomingMessage) }), {
      overrideGlobalObjects: false,
    });

  const open: Server[] = [];
  const bind = async (server: Server, addr: string, name: string, purpose: string): Promise<void> => {
    ports[name] = await listen(server, addr, purpose);
    open.push(server);
    closers.push(() => stopListening(server));
    log.info(`listening for ${purpose}`, { addr: addr.replace(/:0$/, `:${ports[name]}`) });
  };

  await listenAdmin(
    join(dataDir, ADMIN_SOCKET_NAME),
    apiListener(() => ({ kind: 'local' })),
    closers,
  );
  const overTls = apiListener(tlsCaller);
  const webApp = loadWebApp(log);
  const webSockets = createWebSockets(context, { ...gateways, terminals });
  closers.push(() => webSockets.close());
  const web: HttpHandler = {
    onRequest: (request, response) => {
      if (!webApp.serve(request, response)) void overTls(request, response);
    },
    onUpgrade: (request, socket, head) => webSockets.upgrade(request, socket, head),
  };
  const publicPort = createPublicPort({
    clock,
    log,
    credential: certificate.current,
    credentialFor: (name) => (isKubeName(name) ? certificate.forKubeName(name) : certificate.forName(name)),
    clientCa: ca.tlsUserCa,
    verifyTlsUser: (der) => ca.verifyTlsUser(der),
    refused: (refusal) => refusedLogins.record(refusal),
    web,
    kube: gateways.kube,
    tunnels: gateways.tunnels,
  });
  certificate.onChange((renewed) => publicPort.setSecureContext(renewed));
  await bind(publicPort.server, proxy.web_listen_addr, 'web', 'the web application, the API and tunnels');
  for (const { server, addr, name, purpose } of gateways.listeners) await bind(server, addr, name, purpose);

  let draining = false;
  if (diagAddr !== undefined) {
    const notReady = (): string | undefined => {
      if (draining) return 'draining';
      return audit.healthy ? undefined : 'the audit log cannot be written';
    };
    await bind(createDiagnostics({ metrics, notReady }), diagAddr, 'diag', 'diagnostics');
  }
  log.info('nightlatch is ready', { version: VERSION, cluster: clusterName, address: publicAddr(), ca_pin: ca.caPin });

  let stopping: Promise<void> | undefined;
  const stop = async (graceMs: number): Promise<void> => {
    draining = true;
    log.info('shutting down: no new sessions', { open: sessions.list().length, grace_ms: graceMs });
    await sessions.drain(graceMs);
    await closeAll();
  };
  return {
    context,
    reload: () => certificate.renew(),
    stop: (graceMs) => {
      stopping ??= stop(graceMs);
      return stopping;
    },
  };
}

/** `host` with the port, where it has none yet. */
function withPort(addr: string, port: number): string {
  return /^(?:\[[^\]]+\]|[^:]+):\d+$/.test(addr) ? addr : `${addr}:${port}`;
}

/** The node that the daemon itself is. */
function embeddedNodeResource(hostname: string, labels: Readonly<Record<string, string>>): Node {
  return {
    kind: 'node',
    sub_kind: 'teleport',
    version: 'v2',
    metadata: { name: hostname, labels: { ...labels, [ORIGIN_LABEL]: 'config-file' } },
    spec: { hostname },
  };
}

/** A kubeconfig without a name for its cluster: one cluster for each of its contexts. */
async function clustersOfContexts({ kubernetes_service: service }: Config): Promise<KubeCluster[]> {
  const { enabled, kubeconfig_file, kube_cluster_name, labels } = service;
  if (!enabled || kubeconfig_file === undefined || kube_cluster_name !== undefined) return [];
  return (await contextNames(kubeconfig_file)).map((context) => ({
    kind: 'kube_cluster',
    version: 'v3',
    metadata: { name: context, labels: { ...labels, [ORIGIN_LABEL]: 'config-file' } },
    spec: { kubeconfig_file, context },
  }));
}

/** The data directory holds keys: nobody else may look into it. */
function makeDataDir(dataDir: string): void {
  try {
    mkdirSync(dataDir, { recursive: true, mode: 0o700 });
    chmodSync(dataDir, 0o700);
  } catch (error) {
    throw new NightlatchError('unavailable', `the data directory ${dataDir} cannot be used: ${errorMessage(error)}`, {
      cause: error,
    });
  }
}

/** The API for `tctl` on this machine: a socket that only the daemon's user can open. */
async function listenAdmin(
  path: string,
  listener: (request: IncomingMessage, response: ServerResponse) => unknown,
  closers: (() => Promise<void> | void)[],
): Promise<void> {
  rmSync(path, { force: true });
  const server = http.createServer((request, response) => void listener(request, response));
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) =>
      reject(new NightlatchError('unavailable', `cannot listen on ${path}: ${error.message}`, { cause: error })),
    );
    // The directory is closed to others already; the mode is for whoever opens the directory up.
    const mask = process.umask(0o177);
    server.listen(path, resolve);
    process.umask(mask);
  });
  closers.push(async () => {
    await stopListening(server);
    rmSync(path, { force: true });
  });
}

/** Who is at the other end of a TLS connection, over HTTP/1.1 or HTTP/2. */
function tlsCaller(incoming: IncomingMessage): TransportCaller {
  const http2 = incoming as unknown as Partial<Http2ServerRequest>;
  const socket = (http2.stream?.session?.socket ?? incoming.socket) as Socket;
  const clientIp = ipOf(remoteAddr(socket));
  const certificate = isSecure(socket) ? socket.getPeerX509Certificate() : undefined;
  return certificate === undefined
    ? { kind: 'tls', clientIp }
    : { kind: 'tls', clientIp, clientCertificate: Buffer.from(certificate.raw) };
}
