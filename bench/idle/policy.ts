// Part of `npm run bench:idle`: a changed policy with 10,000 live sessions. How long until every session has its new deadline, and how
// long a key press waits meanwhile: a real one, over TCP from another thread, that is reported as activity and echoed.
import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';
import { performance } from 'node:perf_hooks';
import { Worker } from 'node:worker_threads';
import { checkNodeAccess } from '../../src/policy/access.ts';
import { systemClock } from '../../src/server/system-clock.ts';
import { Sessions } from '../../src/session/manager.ts';
import type { Session } from '../../src/session/types.ts';
import { MemoryAuditLog } from '../../test/fixtures/memory-audit-log.ts';
import { MemoryLogger } from '../../test/fixtures/memory-logger.ts';
import { TestPolicy } from '../../test/fixtures/test-policy.ts';

const SESSIONS = 10_000;
const USERS = 2_000;
const ROLES = 100;
const NODES = 500;
const LOCKS = 50;
const ROUNDS = 15;

const clock = systemClock;
const node = (n: number) => ({
  kind: 'node',
  version: 'v2',
  metadata: { name: `n${n}`, labels: { env: n % 2 === 0 ? 'production' : 'test', team: `t${n % 20}` } },
  spec: { hostname: `web-${n}`, addr: `192.0.2.1:${1000 + n}` },
});
const role = (n: number, timeout = '30m') => ({
  kind: 'role',
  version: 'v7',
  metadata: { name: `r${n}` },
  spec: {
    options: { client_idle_timeout: timeout },
    allow: { logins: ['root', 'deploy', '{{internal.logins}}'], node_labels: { env: ['production', 'test'] } },
    deny: { node_labels: { secret: '*' } },
  },
});
const user = (n: number) => ({
  kind: 'user',
  version: 'v2',
  metadata: { name: `u${n}` },
  spec: {
    roles: [`r${n % ROLES}`, `r${(n * 7 + 1) % ROLES}`, `r${(n * 13 + 2) % ROLES}`],
    traits: { logins: [`u${n}`] },
  },
});
const lock = (n: number) => ({
  kind: 'lock',
  version: 'v2',
  metadata: { name: `l${n}` },
  spec: { target: { user: `gone${n}` } },
});
const numbers = (count: number) => Array.from({ length: count }, (_, n) => n);
const policy = new TestPolicy([
  ...numbers(NODES).map(node),
  ...numbers(ROLES).map((n) => role(n)),
  ...numbers(USERS).map(user),
  ...numbers(LOCKS).map(lock),
]);
const sessions = new Sessions({ clock, log: new MemoryLogger(), audit: new MemoryAuditLog(clock), policy });

let told = 0;
let lastToldAt = 0;
async function open(n: number): Promise<Session> {
  const name = `n${n % NODES}`;
  const [who, login] = [`u${n % USERS}`, 'deploy'];
  const opened = await sessions.open(
    {
      kind: 'ssh',
      protocol: 'ssh',
      user: who,
      login,
      target: { kind: 'node', name, displayName: name, addr: '192.0.2.1:22', labels: {} },
      clientAddr: '192.0.2.2:5',
      certExpiresAtMs: clock.wallMs() + 12 * 3_600_000,
      authorize: (snapshot) => checkNodeAccess(snapshot, { user: who, login, node: snapshot.nodes.get(name)! }),
    },
    {
      warn: () => undefined,
      warningCancelled: () => undefined,
      policyChanged() {
        told += 1;
        lastToldAt = performance.now();
      },
      close: async () => undefined,
      abort: () => undefined,
    },
  );
  if (!opened.ok) throw new Error(opened.text);
  opened.session.ready();
  return opened.session;
}
const [first] = await Promise.all(numbers(SESSIONS).map(open));

const echo = net.createServer({ noDelay: true }, (socket) => {
  socket.on('error', () => undefined);
  socket.on('data', (data) => {
    first!.activity('input');
    socket.write(data);
  });
});
echo.listen(0, '127.0.0.1');
await once(echo, 'listening');
const presser = new Worker(new URL('./presser.ts', import.meta.url), {
  workerData: { port: (echo.address() as AddressInfo).port },
});
await once(presser, 'online');
async function trips(): Promise<number[]> {
  presser.postMessage('?');
  return ((await once(presser, 'message')) as [number[]])[0];
}
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** One change; how long until the last session had it, and the slowest echo meanwhile. */
async function change(resource: unknown, expected: number): Promise<{ applied: number; slowest: number }> {
  await pause(100);
  await trips();
  told = 0;
  const start = performance.now();
  policy.put(resource);
  const giveUp = start + 10_000;
  while (told < expected && performance.now() < giveUp) await pause(1);
  if (told !== expected) throw new Error(`${told} of ${expected} sessions were told`);
  await pause(20);
  return { applied: lastToldAt - start, slowest: Math.max(...(await trips())) };
}

const sort = (values: number[]) => values.toSorted((a, b) => a - b);
const median = (values: number[]) => sort(values)[values.length >> 1]!;
const networking = (timeout: string) => ({
  kind: 'cluster_networking_config',
  version: 'v2',
  metadata: { name: 'cluster-networking-config' },
  spec: { client_idle_timeout: timeout },
});

const applied: number[] = [];
const slowest: number[] = [];
for (let round = 0; round < ROUNDS; round++) {
  const result = await change(networking(round % 2 === 0 ? '10m' : '15m'), SESSIONS);
  const wrong = sessions.list().filter((one) => one.idleTimeoutMs !== (round % 2 === 0 ? 600_000 : 900_000));
  if (wrong.length > 0) throw new Error(`${wrong.length} sessions have the old limit`);
  applied.push(result.applied);
  slowest.push(result.slowest);
}
await pause(200);
await trips();
await pause(1_000);
const still = Math.max(...(await trips()));

const row = (what: string, figure: string, goal: string): void => console.log(`| ${what} | ${figure} | ${goal} |`);
console.log('| a changed policy, 10,000 live sessions | measured | to reach |\n|---|---|---|');
row('every session has its new deadline, median', `${median(applied).toFixed(1)} ms`, '250 ms');
row('the slowest change', `${Math.max(...applied).toFixed(1)} ms`, '250 ms');
row('the longest that a key press waited during a change, median', `${median(slowest).toFixed(1)} ms`, '20 ms');
row('the longest in all changes', `${Math.max(...slowest).toFixed(1)} ms`, '20 ms');
row('the longest in a second without a change', `${still.toFixed(1)} ms`, '');
process.exit(0);
