// `node bench/db/mysql.ts`: mariadb-slap straight to MariaDB with TLS, and through the gateway with client certificates; interleaved, medians.
// `BENCH_ROUNDS` and `BENCH_QUERIES` shorten it; `BENCH_DATA_PATH=streams` keeps the gateway
// from going below the streams. Needs Debian's mariadb-server and mariadb-client.

import { writeFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { join } from 'node:path';
import { run } from '../../test/fixtures/db/programs.ts';
import { database, startFixture } from '../../test/interop/mysql-fixture.ts';

const ROUNDS = Number(process.env['BENCH_ROUNDS'] ?? 5);
const QUERIES = process.env['BENCH_QUERIES'] ?? '20000';
const SLAP = '/usr/bin/mariadb-slap';

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}

const fixture = await startFixture({ dataPath: process.env['BENCH_DATA_PATH'] === 'streams' ? 'streams' : 'auto' });
const server = await fixture.mariadb();
await server.sql(`
  create user app require x509; grant all on *.* to app; create database bench;
  create table bench.t (id int primary key, v varchar(80)); insert into bench.t select seq, repeat('x', 80) from mysql.seq_1_to_1000;
`);
const tls = { mode: 'verify-full', ca_cert: fixture.ca.databaseCa, server_name: 'localhost' };
const uri = `127.0.0.1:${server.port}`;
fixture.policy.put(database('quiet', uri, { tls, audit_queries: 'no' }), database('audited', uri, { tls }));
const credential = await fixture.ca.mintDatabaseClient({ dbUser: 'app', ttlMs: 3_600_000 });
const file = (name: string, content: string): string => {
  const path = join(fixture.dir, name);
  writeFileSync(path, content, { mode: 0o600 });
  return path;
};
const direct = [
  ...[
    '--no-defaults',
    '--host=127.0.0.1',
    `--port=${server.port}`,
    `--ssl-ca=${file('db-ca.pem', fixture.ca.databaseCa)}`,
  ],
  ...[`--ssl-cert=${file('direct.crt', credential.certPem)}`, `--ssl-key=${file('direct.key', credential.keyPem)}`],
];
const ways = [
  { name: 'direct', args: direct },
  { name: 'gateway', args: (await fixture.client({ route: { kind: 'db', name: 'quiet' } })).args },
  { name: 'gateway, audited', args: (await fixture.client({ route: { kind: 'db', name: 'audited' } })).args },
];

console.log(`load before: ${loadavg()[0]!.toFixed(1)}; ${ROUNDS} rounds of ${QUERIES} queries`);
console.log('| clients | way | queries a second | gateway CPU, s per million |');
console.log('|---|---|---|---|');
for (const clients of [1, 8, 64]) {
  const results = ways.map(() => ({ rate: [] as number[], cpu: [] as number[] }));
  for (let round = 0; round < ROUNDS; round++) {
    for (const [index, { args }] of ways.entries()) {
      const before = process.cpuUsage();
      const { code, stdout, stderr } = await run(SLAP, [
        ...args,
        '-uapp',
        '--create-schema=bench',
        '--query=select v from t where id = 500',
        `--concurrency=${clients}`,
        `--number-of-queries=${QUERIES}`,
        '--csv',
      ]);
      if (code !== 0) throw new Error(stderr);
      const { user, system } = process.cpuUsage(before);
      // engine, kind, average seconds, …
      const seconds = Number(stdout.trim().split(',')[2]);
      results[index]!.rate.push(Number(QUERIES) / seconds);
      results[index]!.cpu.push((user + system) / Number(QUERIES));
      fixture.audit.events.length = 0;
    }
  }
  for (const [index, { name }] of ways.entries()) {
    const { rate, cpu } = results[index]!;
    console.log(
      `| ${clients} | ${name} | ${Math.round(median(rate))} | ${index === 0 ? '' : median(cpu).toFixed(1)} |`,
    );
  }
}
await fixture.stop();
