// `npm start`: the gateway with a demo that anybody can try.
import { existsSync, readdirSync, rmSync } from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import { join, relative, resolve } from 'node:path';
import { createCommand, runProgram, wholeNumber } from '../src/cli/common/program.ts';
import { errorMessage, NightlatchError } from '../src/core/errors.ts';
import type { EmbeddedPostgres } from '../src/gateways/postgres/embedded-postgres.ts';
import { parseConfigFile } from '../src/resources/index.ts';
import type { Daemon } from '../src/server/daemon.ts';
import { runDaemon } from '../src/server/run.ts';
import { ADMIN_SOCKET_NAME } from '../src/wire/api/messages.ts';
import { prepareAccount } from './demo/account.ts';
import { type DemoCluster, startCluster } from './demo/cluster.ts';
import { startDatabase } from './demo/database.ts';

const root = join(import.meta.dirname, '..');
const login = os.userInfo().username;
const WEB_PORT = 3080;
const SSH_PORT = 3023;
const STORE = 'nightlatch.sqlite';

interface Options {
  readonly port: number;
  readonly sshPort?: number;
  readonly dataDir: string;
  readonly fresh: boolean;
}

const program = createCommand('npm start --', 'Run the gateway with a demo: a user, a node, a database, a cluster.')
  .helpCommand(false)
  .option('--port <port>', 'Public port; 0 takes one that is free.', wholeNumber, WEB_PORT)
  .option(
    '--ssh-port <port>',
    `Port for SSH clients other than tsh (default: ${SSH_PORT}, or one that is free beside another --port).`,
    wholeNumber,
  )
  .option('--data-dir <dir>', 'Where everything is kept, seen from this folder.', 'data')
  .option('--fresh', 'Forget what is there: everything starts anew.', false)
  .action(start);

async function start({ port, sshPort, dataDir: dir, fresh }: Options): Promise<void> {
  const dataDir = resolve(root, dir);
  if (fresh) await removeData(dataDir);
  const { config } = parseConfigFile(
    `
teleport:
  nodename: localhost
  data_dir: ${JSON.stringify(dataDir)}
  log: {severity: warn}
auth_service:
  cluster_name: demo
proxy_service:
  web_listen_addr: 127.0.0.1:${port}
  ssh_listen_addr: 127.0.0.1:${sshPort ?? (port === WEB_PORT ? SSH_PORT : 0)}
ssh_service:
  enabled: yes
  labels: {env: demo}
`,
    'demo',
  );
  let database: EmbeddedPostgres | undefined;
  let cluster: DemoCluster | undefined;
  const onReady = async (daemon: Daemon, ending: AbortSignal): Promise<void> => {
    const password = await prepareAccount(daemon, login);
    const without = (what: string) => (error: unknown) => {
      if (!ending.aborted) console.error(`The demo goes without ${what}: ${errorMessage(error)}`);
      return undefined;
    };
    if (!ending.aborted) database = await startDatabase(daemon, dataDir, ending).catch(without('a database'));
    if (!ending.aborted) cluster = await startCluster(daemon, dataDir).catch(without('Kubernetes'));
    if (ending.aborted) return;
    const hints = `${database === undefined ? '' : DATABASE_HINT}${cluster === undefined ? '' : CLUSTER_HINT}`;
    console.log(greeting(daemon, fromHere(dataDir), password) + hints);
  };
  let drained = false;
  try {
    drained = await runDaemon({ config, graceMs: 5_000, onHangup: 'end', onReady });
  } catch (error) {
    throw isTaken(error) ? new NightlatchError('unavailable', `${errorMessage(error)}\n${SECOND_HINT}`) : error;
  } finally {
    await cluster?.close();
    await database?.stop();
  }
  if (!drained) process.exitCode = 1;
}

function greeting({ context }: Daemon, dataDir: string, password: string): string {
  const proxy = `localhost:${context.ports()['web']}`;
  return `
Nightlatch is running: https://${proxy}  (Ctrl-C ends it; its data is in ${dataDir})

  user      demo
  password  ${password}   (good until the next start)

Try this in another terminal, in this folder:

  1.  npx tsh login --proxy=${proxy} --user=demo --ca-pin=${context.ca.caPin}
  2.  npx tsh ssh ${login}@localhost
      Type something, then walk away: after 20 seconds you are warned, after 30 the session ends and says why.
  3.  npx tctl --data-dir=${dataDir} edit cnc
      Change client_idle_timeout while a session is open: it takes hold there at once.
      And: npx tctl --data-dir=${dataDir} sessions ls
`;
}

const DATABASE_HINT = `
There is a database too (psql is in Debian's package postgresql-client):

      npx tsh db connect demo
`;

const CLUSTER_HINT = `
And Kubernetes: a real container behind a small API server (kubectl is in Debian's package kubernetes-client):

      npx tsh kube login demo
      npx tsh kubectl exec -it web -- sh
`;

const SECOND_HINT = 'A second demo needs a folder and ports of its own: npm start -- --data-dir=tmp/demo --port=0';

/** A folder as a shell in this checkout takes it. */
function fromHere(folder: string): string {
  const seen = relative(root, folder);
  const path = seen.startsWith('..') ? folder : seen;
  return /^[\w./-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`;
}

/** Whether another demo, or another program, has what this one needs. */
function isTaken(error: unknown): boolean {
  return error instanceof Error && /\bEADDRINUSE\b|in use by another Nightlatch/.test(error.message);
}

/** Empties the data directory, unless a demo is using it or it is something else's. */
async function removeData(dataDir: string): Promise<void> {
  const socket = net.connect(join(dataDir, ADMIN_SOCKET_NAME));
  const inUse = await new Promise<boolean>((done) => {
    socket.once('connect', () => done(true)).once('error', () => done(false));
  });
  socket.destroy();
  if (inUse)
    throw new NightlatchError('unavailable', `${dataDir} is in use by another Nightlatch: stop that one first`);
  if (existsSync(dataDir) && readdirSync(dataDir).length > 0 && !existsSync(join(dataDir, STORE)))
    throw new NightlatchError('bad_parameter', `${dataDir} is no data directory of Nightlatch: it stays as it is`);
  rmSync(dataDir, { recursive: true, force: true });
}

await runProgram(program);
process.exit();
