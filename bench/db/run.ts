// `npm run bench:db`: the PostgreSQL gateway beside pgbouncer (session pooling) and HAProxy, interleaved on one machine; medians. Writes
// bench/results/db.md. `BENCH_SECONDS` and `BENCH_ROUNDS` shorten it, `BENCH_PARTS` chooses: tps, copy, connect, memory, idle;
// `BENCH_FLOOR=1` adds what Node itself takes.
// Ratios mean something on a machine that does nothing else; the load before the run stands in the result.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { join } from 'node:path';
import { cpuSeconds, Lab, median, type Peer, PG_BIN, quantile, residentBytes } from './lab.ts';

const SECONDS = Number(process.env['BENCH_SECONDS'] ?? 5);
/** Whether the transactions are measured through streams and through a relay with nothing in it too, which takes half as long again. */
const FLOOR = process.env['BENCH_FLOOR'] !== undefined;
/** Rows of pgbench's table, in units of 100,000: few enough for every new server process to have touched their pages soon. */
const SCALE = '1';
/** Not counted, at the start of each run of pgbench. */
const WARM_SECONDS = 3;
const ROUNDS = Number(process.env['BENCH_ROUNDS'] ?? 5);
const PARTS = new Set((process.env['BENCH_PARTS'] ?? 'tps,copy,connect,memory,idle').split(','));
const COPY_MB = Number(process.env['BENCH_COPY_MB'] ?? 1024);
const CLIENTS = (process.env['BENCH_CLIENTS'] ?? '1,8,64').split(',').map(Number);
const SESSIONS = (process.env['BENCH_SESSIONS'] ?? '1000,5000').split(',').map(Number);

const lab = new Lab();
const lines: string[] = [];
const say = (line = ''): void => {
  console.log(line);
  lines.push(line);
};

/** The file is there after each part, so that a run which is stopped leaves what it has. */
function save(): void {
  mkdirSync(new URL('../results', import.meta.url), { recursive: true });
  writeFileSync(new URL('../results/db.md', import.meta.url), `${lines.join('\n').trimEnd()}\n`);
}

/** A way to the server: through a peer, plain or with TLS, or straight to it. */
interface Way {
  readonly name: string;
  readonly peer: Peer | undefined;
  readonly env: NodeJS.ProcessEnv;
}

function ways(serverPort: number, peers: readonly Peer[], tls: boolean): Way[] {
  const base = {
    PGHOST: '127.0.0.1',
    PGUSER: 'postgres',
    PGDATABASE: 'postgres',
    LD_LIBRARY_PATH: lab.libpq18,
    PATH: process.env['PATH'],
  };
  const all: Way[] = peers.map((peer) => ({
    name: peer.name,
    peer,
    env: tls
      ? {
          ...base,
          PGPORT: String(peer.tlsPort),
          PGSSLMODE: 'require',
          ...(peer.credential === undefined
            ? {}
            : { PGSSLCERT: peer.credential.certFile, PGSSLKEY: peer.credential.keyFile }),
          ...(peer.direct ? { PGSSLNEGOTIATION: 'direct' } : {}),
        }
      : { ...base, PGPORT: String(peer.plainPort), PGSSLMODE: 'disable' },
  }));
  if (!tls)
    all.unshift({
      name: 'direct',
      peer: undefined,
      env: { ...base, PGPORT: String(serverPort), PGSSLMODE: 'disable' },
    });
  return all;
}

async function output(child: ChildProcess): Promise<string> {
  let out = '';
  let err = '';
  child.stdout?.on('data', (chunk: Buffer) => {
    out += chunk.toString();
  });
  child.stderr?.on('data', (chunk: Buffer) => {
    err += chunk.toString();
  });
  const [code] = (await once(child, 'close')) as [number];
  if (code !== 0) throw new Error(`${child.spawnfile} failed: ${err}`);
  return out;
}

/** Transactions a second by pgbench's own count, connections included. */
async function connections(way: Way): Promise<number> {
  const args = ['-n', '-S', '-C', '-c', '8', '-j', '2', '-T', String(SECONDS)];
  const text = await output(spawn(join(PG_BIN, 'pgbench'), args, { env: way.env }));
  return Number(/tps = ([\d.]+)/.exec(text)![1]);
}

/**
 * Ends the server's processes. pgbouncer keeps them for the next client, and one that has touched every page of the table answers a query in a third of the
 * time of a new one: everybody gets new ones, else the server's memory would be compared and not the way to it.
 */
async function endServerProcesses(direct: Way): Promise<void> {
  const end = 'select count(pg_terminate_backend(pid)) from pg_stat_activity where pid <> pg_backend_pid()';
  await output(
    spawn(join(PG_BIN, 'psql'), ['-qAtc', `${end} and backend_type = 'client backend'`], { env: direct.env }),
  );
}

/** Runs pgbench and counts when it is warm: a new server process has its caches to fill. */
async function warmPgbench(way: Way, clients: number): Promise<{ tps: number; cpuPerMillion: number }> {
  const threads = String(Math.min(clients, 2));
  const args = ['-n', '-S', '-M', 'prepared', '-c', String(clients), '-j', threads, '-P', '1'];
  const child = spawn(join(PG_BIN, 'pgbench'), [...args, '-T', String(WARM_SECONDS + SECONDS)], { env: way.env });
  const used = (): number => (way.peer === undefined ? 0 : cpuSeconds(way.peer.child));
  const rates: number[] = [];
  let [from, to] = [0, 0];
  child.stderr!.on('data', (chunk: Buffer) => {
    for (const [, tps] of chunk.toString().matchAll(/^progress: [\d.]+ s, ([\d.]+) tps/gm)) {
      rates.push(Number(tps));
      if (rates.length === WARM_SECONDS) from = used();
      else if (rates.length < WARM_SECONDS + SECONDS) to = used();
    }
  });
  await output(child);
  // The last second ends with the connections, which cost the proxy too.
  const warm = rates.slice(WARM_SECONDS, WARM_SECONDS + SECONDS - 1);
  const transactions = warm.reduce((a, b) => a + b, 0);
  return { tps: transactions / warm.length, cpuPerMillion: ((to - from) / transactions) * 1e6 };
}

function ratios(values: ReadonlyMap<string, number>, name: string, to = ['pgbouncer', 'haproxy']): string {
  const own = values.get(name)!;
  return to.map((peer) => (own / values.get(peer)!).toFixed(2)).join(' / ');
}

async function measureTps(serverPort: number, peers: readonly Peer[]): Promise<void> {
  say(
    `## Transactions a second: \`pgbench -S -M prepared\`, ${ROUNDS} × ${SECONDS} s after ${WARM_SECONDS} s to warm up, medians\n`,
  );
  say(
    'CPU: seconds of the proxy for a million transactions. Ratios: nightlatch to pgbouncer / HAProxy / the Node relay.',
  );
  say(
    'Node relay: what nightlatch relays with, and nothing in it (bare-relay.ts). Each run has new server processes.\n',
  );
  const direct = ways(serverPort, peers, false)[0]!;
  for (const tls of [false, true]) {
    say(`### ${tls ? 'TLS from the client' : 'Plain'}\n`);
    const list = ways(serverPort, peers, tls);
    say(
      `| clients | ${list.map((way) => way.name).join(' | ')} | ratio | CPU ${list
        .filter((way) => way.peer)
        .map((way) => way.name)
        .join(', ')} |`,
    );
    say(`|---|${list.map(() => '---|').join('')}---|---|`);
    for (const clients of CLIENTS) {
      const tps = new Map(list.map((way) => [way.name, [] as number[]]));
      const cpu = new Map(list.map((way) => [way.name, [] as number[]]));
      for (let round = 0; round < ROUNDS; round++) {
        for (const way of list) {
          await endServerProcesses(direct);
          const result = await warmPgbench(way, clients);
          tps.get(way.name)!.push(result.tps);
          cpu.get(way.name)!.push(result.cpuPerMillion);
        }
      }
      const medians = new Map([...tps].map(([name, values]) => [name, median(values)]));
      const cells = list.map((way) => Math.round(medians.get(way.name)!).toLocaleString('en'));
      const used = list.filter((way) => way.peer).map((way) => median(cpu.get(way.name)!).toFixed(1));
      say(
        `| ${clients} | ${cells.join(' | ')} | ${ratios(
          medians,
          'nightlatch',
          ['pgbouncer', 'haproxy', 'node relay'].filter((name) => medians.has(name)),
        )} | ${used.join(', ')} |`,
      );
    }
    say();
  }
}

async function measureConnect(serverPort: number, peers: readonly Peer[]): Promise<void> {
  say(`## Connections a second: \`pgbench -C -S -c 8\`, ${ROUNDS} × ${SECONDS} s, medians\n`);
  say('| | direct | pgbouncer | haproxy | nightlatch | nightlatch (streams) |\n|---|---|---|---|---|---|');
  for (const tls of [false, true]) {
    const list = ways(serverPort, peers, tls);
    const rates = new Map(list.map((way) => [way.name, [] as number[]]));
    for (let round = 0; round < ROUNDS; round++)
      for (const way of list) rates.get(way.name)!.push(await connections(way));
    const cell = (name: string): string => (rates.has(name) ? String(Math.round(median(rates.get(name)!))) : '–');
    say(
      `| ${tls ? 'TLS' : 'plain'} | ${['direct', 'pgbouncer', 'haproxy', 'nightlatch', 'nightlatch (streams)'].map(cell).join(' | ')} |`,
    );
  }
  say();
  save();
}

async function copy(way: Way, direction: 'out' | 'in'): Promise<{ rate: number; cpu: number }> {
  const before = way.peer === undefined ? 0 : cpuSeconds(way.peer.child);
  const started = performance.now();
  const psql = (sql: string): ChildProcess =>
    spawn(join(PG_BIN, 'psql'), ['-XAtqc', sql], { env: way.env, stdio: ['pipe', 'pipe', 'pipe'] });
  if (direction === 'out') {
    const child = spawn('sh', ['-c', `exec ${PG_BIN}/psql -XAtqc 'copy big to stdout' > /dev/null`], {
      env: way.env,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    await output(child);
  } else {
    const child = spawn('sh', ['-c', `exec ${PG_BIN}/psql -XAtqc 'copy into_here from stdin' < ${lab.dir}/big`], {
      env: way.env,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    await output(child);
  }
  const seconds = (performance.now() - started) / 1000;
  if (direction === 'in') await output(psql('truncate into_here'));
  const cpu = (way.peer === undefined ? 0 : cpuSeconds(way.peer.child)) - before;
  return { rate: COPY_MB / seconds, cpu: cpu / (COPY_MB / 1024) };
}

async function measureCopy(serverPort: number, peers: readonly Peer[]): Promise<void> {
  const [first] = ways(serverPort, peers, false);
  const psql = (sql: string): Promise<string> =>
    output(spawn(join(PG_BIN, 'psql'), ['-XAtqc', sql], { env: first!.env }));
  await psql(
    `create unlogged table big as select repeat('x', 1023) as line from generate_series(1, ${COPY_MB * 1024})`,
  );
  await psql('create unlogged table into_here (line text)');
  await output(spawn('sh', ['-c', `${PG_BIN}/psql -XAtqc 'copy big to stdout' > ${lab.dir}/big`], { env: first!.env }));
  say(`## COPY of ${COPY_MB} MB, ${ROUNDS} rounds, medians: MB/s, and seconds of the proxy's CPU a GB\n`);
  say('| | direct | pgbouncer | haproxy | nightlatch | nightlatch (streams) | ratio |\n|---|---|---|---|---|---|---|');
  for (const tls of [false, true]) {
    for (const direction of ['out', 'in'] as const) {
      const list = ways(serverPort, peers, tls);
      const rates = new Map(list.map((way) => [way.name, [] as number[]]));
      const used = new Map(list.map((way) => [way.name, [] as number[]]));
      for (let round = 0; round < ROUNDS; round++) {
        for (const way of list) {
          const { rate, cpu } = await copy(way, direction);
          rates.get(way.name)!.push(rate);
          used.get(way.name)!.push(cpu);
        }
      }
      const medians = new Map([...rates].map(([name, values]) => [name, median(values)]));
      const cell = (name: string): string =>
        medians.has(name) ? `${Math.round(medians.get(name)!)}, ${median(used.get(name)!).toFixed(2)} s` : '–';
      say(
        `| ${direction}, ${tls ? 'TLS' : 'plain'} | ${['direct', 'pgbouncer', 'haproxy', 'nightlatch', 'nightlatch (streams)'].map(cell).join(' | ')} | ${ratios(medians, 'nightlatch')} |`,
      );
    }
  }
  say();
  save();
}

async function measureMemory(): Promise<void> {
  say('## Memory of an idle session, kB (both legs; resident memory before and after)\n');
  say('pgbouncer opens its server connection at the first query, so its figure has one leg less.\n');
  say('`node:tls alone`: a server of Node that greets and does nothing else, its one leg only.\n');
  say('Node’s young generation has its full size before the first measurement (bench/settled-memory.ts).\n');
  say('| sessions | | pgbouncer | haproxy | nightlatch | node:tls alone |\n|---|---|---|---|---|---|');
  const [few, many] = [Math.min(...SESSIONS), Math.max(...SESSIONS)];
  for (const tls of [false, true]) {
    const cells = new Map<string, string[]>();
    const note = (row: string, from: number, to: number, count: number): void => {
      cells.set(row, [...(cells.get(row) ?? []), ((to - from) / count / 1024).toFixed(1)]);
    };
    for (const kind of ['pgbouncer', 'haproxy', 'nightlatch', 'bare'] as const) {
      const serverPort = await lab.fakePostgres();
      const own = await lab.gateway({ serverPort, auditQueries: false, dataPath: 'auto', settledHeap: true });
      const peers = {
        nightlatch: () => own,
        pgbouncer: () => lab.pgbouncer(serverPort),
        haproxy: () => lab.haproxy(serverPort),
        bare: () => lab.bareTls(),
      };
      const peer = await peers[kind]();
      const ask = async (): Promise<number> => {
        if (kind === 'pgbouncer' || kind === 'haproxy') return residentBytes(peer.child);
        const answer = once(peer.child, 'message') as Promise<[{ rss: number }]>;
        peer.child.send({ ask: 'memory' });
        return (await answer)[0].rss;
      };
      const open = async (count: number): Promise<ChildProcess> => {
        const clients = lab.idleClients({
          port: tls ? peer.tlsPort : peer.plainPort,
          count,
          direct: peer.direct,
          ...(tls ? { tls: kind === 'bare' ? own.credential! : (peer.credential ?? {}) } : {}),
        });
        await once(clients, 'message');
        await new Promise((resolve) => setTimeout(resolve, 1000));
        return clients;
      };
      const close = async (clients: ChildProcess): Promise<void> => {
        const gone = once(clients, 'exit');
        clients.send('stop');
        await gone;
        await new Promise((resolve) => setTimeout(resolve, 500));
      };
      // A few sessions first, for what is made once.
      await close(await open(100));
      const before = await ask();
      const first = await open(few);
      const between = await ask();
      note(`${few}`, before, between, few);
      if (many > few) {
        const more = await open(many - few);
        const after = await ask();
        note(`${many}`, before, after, many);
        note('each further', between, after, many - few);
        await close(more);
      }
      await close(first);
      for (const child of [own.child, peer.child]) child.kill('SIGKILL');
    }
    for (const [row, values] of cells) say(`| ${row} | ${tls ? 'TLS' : 'plain'} | ${values.join(' | ')} |`);
  }
  say();
  save();
}

async function measureIdle(): Promise<void> {
  const count = 1000;
  const serverPort = await lab.fakePostgres();
  const cells = (values: readonly number[]): string =>
    [0.5, 0.99, 1].map((q) => quantile(values, q).toFixed(1)).join(' | ');
  say(`## How late ${count} TLS sessions are ended that are idle for 2 s, ms\n`);
  say(
    "As the client sees it: from its last ReadyForQuery to the end of its connection. Below, by the gateway's own clock: when it found that",
  );
  say('a session was due, and when both its connections were closed, after the reason was on disk.\n');
  for (const together of [true, false]) {
    say(
      together
        ? '### All are signed in, and their last queries were sent within one second\n'
        : '### The same while 16 clients sign in one after the other\n',
    );
    say('| | median | p99 | worst | told why |\n|---|---|---|---|---|');
    const own = await lab.gateway({
      serverPort,
      auditQueries: false,
      dataPath: 'auto',
      idleTimeout: '2s',
      auditDir: join(lab.dir, together ? 'audit' : 'audit-signing-in'),
    });
    for (const peer of [await lab.pgbouncer(serverPort, 2), await lab.haproxy(serverPort, 2000), own]) {
      const clients = lab.idleClients({
        port: peer.tlsPort,
        count,
        direct: peer.direct,
        tls: peer.credential ?? {},
        timeoutMs: 2000,
        together,
      });
      const result = await new Promise<{ lateness: number[]; messages: number } | undefined>((resolve) => {
        clients.on('message', (message: { lateness?: number[]; messages?: number }) => {
          // All have sent their last query: what was made at their logins is collected, as it is in the minutes of a real limit.
          if (together && peer === own && message.lateness === undefined) own.child.send({ ask: 'collect' });
          if (message.lateness !== undefined) resolve({ lateness: message.lateness, messages: message.messages ?? 0 });
        });
        clients.once('exit', () => resolve(undefined));
        setTimeout(() => resolve(undefined), 30_000);
      });
      clients.kill();
      if (result === undefined) say(`| ${peer.name} | not all were ended within 30 s | | | |`);
      else say(`| ${peer.name} | ${cells(result.lateness)} | ${result.messages} of ${count} |`);
    }
    const answer = once(own.child, 'message') as Promise<[{ found: number[]; closed: number[] }]>;
    own.child.send({ ask: 'lateness' });
    const [{ found, closed }] = await answer;
    say(`| nightlatch, found to be due | ${cells(found)} | |`);
    say(`| nightlatch, both sides closed | ${cells(closed)} | |`);
    own.child.kill();
    say();
  }
  save();
}

process.once('SIGINT', () => void lab.stop().then(() => process.exit(130)));
try {
  say('# Databases: the PostgreSQL gateway beside pgbouncer and HAProxy\n');
  say(
    `Node ${process.version}, ${cpus().length} × ${cpus()[0]!.model.trim()}; load before: ${loadavg()
      .map((n) => n.toFixed(1))
      .join(' ')}. Client, server and proxy share the cores.`,
  );
  say(
    'Client: pgbench 15 with the libpq of PostgreSQL 18; server: PostgreSQL 15, upstream plain; statements not audited (`audit_queries: no`).\n',
  );
  if (PARTS.has('tps') || PARTS.has('copy') || PARTS.has('connect')) {
    const serverPort = await lab.postgres();
    const peers = [
      await lab.pgbouncer(serverPort),
      await lab.haproxy(serverPort),
      await lab.gateway({ serverPort, auditQueries: false, dataPath: 'auto' }),
      await lab.gateway({ serverPort, auditQueries: false, dataPath: 'streams' }),
    ];
    await output(
      spawn(join(PG_BIN, 'pgbench'), ['-i', '-q', '-s', SCALE], { env: ways(serverPort, peers, false)[0]!.env }),
    );
    if (PARTS.has('tps'))
      await measureTps(serverPort, FLOOR ? [...peers, await lab.bareRelay(serverPort)] : peers.slice(0, 3));
    if (PARTS.has('copy')) await measureCopy(serverPort, peers);
    if (PARTS.has('connect')) await measureConnect(serverPort, peers);
  }
  if (PARTS.has('memory')) await measureMemory();
  if (PARTS.has('idle')) await measureIdle();
} finally {
  await lab.stop();
}
process.exit(0);
