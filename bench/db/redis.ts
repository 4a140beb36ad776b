// `node bench/db/redis.ts`: redis-benchmark straight to Redis with TLS, and through the gateway with client certificates, with and without the audit of
// commands; interleaved, medians. `BENCH_ROUNDS` and `BENCH_REQUESTS` shorten it; `BENCH_DATA_PATH=streams` keeps the gateway
// from going below the streams. Needs Debian's redis-server and redis-tools.
import { loadavg } from 'node:os';
import { run } from '../../test/fixtures/db/programs.ts';
import { database, REDIS_BENCHMARK, startFixture } from '../../test/interop/redis-fixture.ts';

const ROUNDS = Number(process.env['BENCH_ROUNDS'] ?? 5);
const REQUESTS = process.env['BENCH_REQUESTS'] ?? '50000';

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}

const fixture = await startFixture({ dataPath: process.env['BENCH_DATA_PATH'] === 'streams' ? 'streams' : 'auto' });
const server = await fixture.redis();
const tls = { mode: 'verify-full', ca_cert: fixture.ca.databaseCa, server_name: 'localhost' };
fixture.policy.put(
  database('audited', `127.0.0.1:${server.tlsPort}`, { tls }),
  database('quiet', `127.0.0.1:${server.tlsPort}`, { tls, audit_queries: 'no' }),
);
const credential = await fixture.ca.mintDatabaseClient({ dbUser: 'default', ttlMs: 3_600_000 });
const direct = [
  ...[
    '-h',
    '127.0.0.1',
    '-p',
    String(server.tlsPort),
    '--tls',
    '--cacert',
    fixture.file('db-ca.pem', fixture.ca.databaseCa),
  ],
  ...['--cert', fixture.file('direct.crt', credential.certPem), '--key', fixture.file('direct.key', credential.keyPem)],
];
const through = async (name: string): Promise<readonly string[]> =>
  (await fixture.client({ route: { kind: 'db', name, dbUser: 'default' } })).args;
const ways = [
  { name: 'direct', args: direct },
  { name: 'gateway', args: await through('quiet') },
  { name: 'gateway, audited', args: await through('audited') },
];

console.log(
  `load before: ${loadavg()[0]!.toFixed(1)}; ${ROUNDS} rounds of ${REQUESTS} requests; gateway CPU includes nothing else`,
);
console.log('| clients, pipeline | way | GET a second | SET a second | gateway CPU, s per million |');
console.log('|---|---|---|---|---|');
for (const [clients, pipeline] of [
  ['1', '1'],
  ['50', '1'],
  ['50', '16'],
]) {
  const results = ways.map(() => ({ get: [] as number[], set: [] as number[], cpu: [] as number[] }));
  for (let round = 0; round < ROUNDS; round++) {
    for (const [index, { args }] of ways.entries()) {
      const before = process.cpuUsage();
      const options = ['-n', REQUESTS, '-c', clients!, '-P', pipeline!, '-t', 'set,get', '--csv'];
      const { code, stdout, stderr } = await run(REDIS_BENCHMARK, [...args, ...options]);
      if (code !== 0) throw new Error(stdout + stderr);
      const { user, system } = process.cpuUsage(before);
      const rate = (test: string): number => Number(new RegExp(`"${test}","([0-9.]+)"`).exec(stdout)?.[1]);
      results[index]!.get.push(rate('GET'));
      results[index]!.set.push(rate('SET'));
      results[index]!.cpu.push((user + system) / (2 * Number(REQUESTS)));
      fixture.audit.events.length = 0;
    }
  }
  for (const [index, { name }] of ways.entries()) {
    const { get, set, cpu } = results[index]!;
    console.log(
      `| ${clients}, ${pipeline} | ${name} | ${Math.round(median(get))} | ${Math.round(median(set))} | ${index === 0 ? '' : median(cpu).toFixed(1)} |`,
    );
  }
}
await fixture.stop();
