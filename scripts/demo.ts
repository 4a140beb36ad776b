// `npm start`: the gateway with a demo that anybody can try. Everything it keeps is in data/ in this checkout.
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import { join } from 'node:path';
import { report } from '../src/cli/common/program.ts';
import { errorMessage, NightlatchError } from '../src/core/errors.ts';
import { Secret } from '../src/core/secret.ts';
import {
  type EmbeddedPostgres,
  embeddedPostgresBinDir,
  startEmbeddedPostgres,
} from '../src/gateways/postgres/embedded-postgres.ts';
import { originOf, parseConfigFile } from '../src/resources/index.ts';
import { ResourceService } from '../src/server/api/resource-service.ts';
import type { Daemon } from '../src/server/daemon.ts';
import { runDaemon } from '../src/server/run.ts';
import { ADMIN_SOCKET_NAME } from '../src/wire/api/messages.ts';
import { type DemoCluster, startCluster } from './demo/cluster.ts';

const root = join(import.meta.dirname, '..');
const dataDir = join(root, 'data');
const port = Number(process.env['NIGHTLATCH_DEMO_PORT'] ?? 3080);
const sshPort = port === 3080 ? 3023 : 0;
const login = os.userInfo().username;

const CONFIG = `
teleport:
  nodename: localhost
  data_dir: ${JSON.stringify(dataDir)}
  log: {severity: warn}
auth_service:
  cluster_name: demo
proxy_service:
  web_listen_addr: 127.0.0.1:${port}
  ssh_listen_addr: 127.0.0.1:${sshPort}
ssh_service:
  enabled: yes
  labels: {env: demo}
`;

/** A PostgreSQL from npm that trusts the gateway, registered as the database `demo`; undefined where npm has none for this machine. */
async function startDatabase({ context }: Daemon): Promise<EmbeddedPostgres | undefined> {
  if (embeddedPostgresBinDir() === undefined) return undefined;
  const folder = databaseFolder();
  const port = await freePort();
  const certificate = await context.ca.issueDatabaseServer({ names: ['localhost'], ttlMs: 30 * 24 * 3_600_000 });
  const database = await startEmbeddedPostgres({
    dataDir: folder,
    port,
    superuser: 'demo',
    certificate,
    databaseCa: context.ca.databaseCa,
  });
  void database.closed.then(() => {
    if (!stopping) console.error('The database of the demo has ended; the gateway goes on without it.');
  });
  context.policy.setStatic('db', [
    {
      kind: 'db',
      version: 'v3',
      metadata: { name: 'demo', labels: { env: 'demo' } },
      spec: {
        protocol: 'postgres',
        uri: `localhost:${port}`,
        tls: { mode: 'verify-full', ca_cert: context.ca.databaseCa },
        audit_queries: true,
      },
    },
  ]);
  return database;
}

/** An empty folder of this start's own. As root the database runs under another user, who must be able to reach it. */
function databaseFolder(): string {
  if (process.getuid?.() !== 0) {
    const folder = join(dataDir, 'postgres');
    rmSync(folder, { recursive: true, force: true });
    return folder;
  }
  const folder = mkdtempSync(join(os.tmpdir(), 'nightlatch-demo-postgres-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A port that was free a moment ago. */
async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** The demo's user, role and policy; the password is made anew at each start. */
async function prepare(daemon: Daemon): Promise<void> {
  const { context } = daemon;
  // Ctrl-C in a terminal ends the database too.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      stopping = true;
    });
  }
  const { identity, policy } = context;
  const resources = new ResourceService(context);
  // As `tctl create -f` does it: the audit log has it, and with it the idle report.
  const put = (resource: unknown) => resources.write({ kind: 'local' }, resource, { mode: 'upsert', confirm: false });
  if (originOf(policy.current.authPreference) === 'defaults') {
    await put({
      kind: 'cluster_auth_preference',
      version: 'v2',
      metadata: { name: 'cluster-auth-preference' },
      spec: { type: 'local', second_factor: 'off' },
    });
  }
  // The user is made last: a first start that fails before leaves the next one to be the first.
  if (!policy.current.users.has('demo')) {
    await put({
      kind: 'cluster_networking_config',
      version: 'v2',
      metadata: { name: 'cluster-networking-config' },
      spec: { client_idle_timeout: '30s', client_idle_warning: '10s' },
    });
  }
  await put({
    kind: 'role',
    version: 'v7',
    metadata: { name: 'demo' },
    spec: {
      allow: {
        logins: [login],
        node_labels: { '*': '*' },
        db_labels: { '*': '*' },
        db_users: ['demo'],
        db_names: ['*'],
        kubernetes_labels: { '*': '*' },
        kubernetes_groups: ['demo'],
        kubernetes_resources: [{ kind: '*', namespace: '*', name: '*', verbs: ['*'] }],
      },
      deny: {},
      options: { forward_agent: true },
    },
  });
  await put({
    kind: 'user',
    version: 'v2',
    metadata: { name: 'demo' },
    spec: { roles: ['access', 'editor', 'demo'] },
  });
  const password = randomBytes(12).toString('base64url');
  const { token } = await identity.invitations.create('demo', undefined, 'reset');
  await identity.invitations.accept({ token, password: new Secret(password), clientIp: '127.0.0.1' });
  const bound = context.ports()['web'];
  database = await startDatabase(daemon).catch((error: unknown) => {
    console.error(`The demo goes without a database: ${errorMessage(error)}`);
    return undefined;
  });
  cluster = await startCluster(daemon, dataDir).catch((error: unknown) => {
    console.error(`The demo goes without Kubernetes: ${errorMessage(error)}`);
    return undefined;
  });
  console.log(`
Nightlatch is running: https://localhost:${bound}  (Ctrl-C ends it; its data is in data/)

  user      demo
  password  ${password}   (good until the next start)

Try this in another terminal, in this folder:

  1.  npx tsh login --proxy=localhost:${bound} --user=demo --ca-pin=${context.ca.caPin}
  2.  npx tsh ssh ${login}@localhost
      Type something, then walk away: after 20 seconds you are warned, after 30 the session ends and says why.
  3.  npx tctl --data-dir=data edit cnc
      Change client_idle_timeout while a session is open: it takes hold there at once.
      And: npx tctl --data-dir=data sessions ls
${database === undefined ? '' : DATABASE_HINT}${cluster === undefined ? '' : CLUSTER_HINT}`);
}

const DATABASE_HINT = `
There is a database too (psql is in Debian's package postgresql-client):

      npx tsh db connect demo --db-user=demo --db-name=postgres
`;

const CLUSTER_HINT = `
And Kubernetes: a real container behind a small API server (kubectl is in Debian's package kubernetes-client):

      npx tsh kube login demo
      npx tsh kubectl exec -it web -- sh
`;

/** Empties data/, unless a demo is using it. */
async function removeData(): Promise<void> {
  const socket = net.connect(join(dataDir, ADMIN_SOCKET_NAME));
  const inUse = await new Promise<boolean>((resolve) => {
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
  });
  socket.destroy();
  if (inUse)
    throw new NightlatchError('unavailable', `${dataDir} is in use by another Nightlatch: stop that one first`);
  rmSync(dataDir, { recursive: true, force: true });
}

let database: EmbeddedPostgres | undefined;
let cluster: DemoCluster | undefined;
let stopping = false;
let status = 0;
try {
  if (process.argv.includes('--fresh')) await removeData();
  const { config } = parseConfigFile(CONFIG, 'demo');
  await runDaemon({ config, graceMs: 5_000, onReady: prepare });
} catch (error) {
  status = report(error);
}
stopping = true;
await cluster?.close();
await database?.stop();
process.exit(status);
