// `npm start`: the gateway with a demo that anybody can try. Everything it keeps is in data/ in this checkout.
import { randomBytes } from 'node:crypto';
import { existsSync, rmSync } from 'node:fs';
import os from 'node:os';
import { join } from 'node:path';
import { Secret } from '../src/core/secret.ts';
import { parseConfigFile } from '../src/resources/index.ts';
import type { Daemon } from '../src/server/daemon.ts';
import { runDaemon } from '../src/server/run.ts';

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
  authentication: {second_factor: off}
proxy_service:
  web_listen_addr: 127.0.0.1:${port}
  ssh_listen_addr: 127.0.0.1:${sshPort}
ssh_service:
  enabled: yes
  labels: {env: demo}
`;

/** The demo's user, role and policy; the password is made anew at each start. */
async function prepare({ context }: Daemon): Promise<void> {
  const { store, identity } = context;
  const put = (kind: 'role' | 'user' | 'cluster_networking_config', name: string, value: unknown) =>
    store.put(kind, name, value, { condition: 'any' });
  await put('role', 'demo', {
    kind: 'role',
    version: 'v7',
    metadata: { name: 'demo' },
    spec: { allow: { logins: [login], node_labels: { '*': '*' } }, deny: {}, options: { forward_agent: true } },
  });
  await put('user', 'demo', { kind: 'user', version: 'v2', metadata: { name: 'demo' }, spec: { roles: ['access', 'editor', 'demo'] } });
  if (firstStart) {
    await put('cluster_networking_config', 'cluster-networking-config', {
      kind: 'cluster_networking_config',
      version: 'v2',
      metadata: { name: 'cluster-networking-config' },
      spec: { client_idle_timeout: '30s', client_idle_warning: '10s' },
    });
  }
  const password = randomBytes(12).toString('base64url');
  const { token } = await identity.invitations.create('demo', undefined, 'reset');
  await identity.invitations.accept({ token, password: new Secret(password), clientIp: '127.0.0.1' });
  const bound = context.ports()['web'];
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
`);
}

const firstStart = process.argv.includes('--fresh') || !existsSync(dataDir);
if (firstStart) rmSync(dataDir, { recursive: true, force: true });
const { config } = parseConfigFile(CONFIG, 'demo');
await runDaemon({ config, graceMs: 5_000, onReady: prepare });
process.exit(0);
