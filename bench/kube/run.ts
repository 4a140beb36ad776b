// `npm run bench:kube`: the Kubernetes gateway beside the same kubectl straight to the API server, interleaved. The table goes to
// bench/results/kube.md, where what is written below the first `##` stays. `--short` measures less; `--only=requests|bulk|idle` a part, and only prints it.
import { fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import https from 'node:https';
import os from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import tls, { type TLSSocket } from 'node:tls';
import { encodeFrame, WS_PING } from '../../src/wire/websocket/frames.ts';
import { kubectlPath } from '../../test/fixtures/kube/kubectl.ts';
import { requestUpgrade } from '../../test/fixtures/kube/peers.ts';
import { SETTLED_HEAP } from '../settled-memory.ts';
import { type Haproxy, startHaproxy } from './haproxy.ts';

const before = os.loadavg();
const short = process.argv.includes('--short');
const ROUNDS = short ? 3 : 5;
const BULK = short ? 512 << 20 : 1 << 30;
const GETS = short ? 20 : 100;
const IDLE = 1_000;
const IDLE_SECONDS = short ? 15 : 60;
const MASK = new Uint8Array(4);

interface Ready {
  readonly port: number;
  readonly apiPort: number;
  readonly through: string;
  readonly direct: string;
  readonly keyPem: string;
  readonly certPem: string;
  readonly caPem: string;
  readonly serverKeyPem: string;
  readonly serverCertPem: string;
  /** TLS that sends back what it gets, in the API server's process. */
  readonly echoPort: number;
  readonly folder: string;
}

interface Usage {
  /** Processor time up to the question, and with what answering it took. */
  readonly cpuMs: number;
  readonly cpuAfterMs: number;
  readonly rss: number;
  readonly heapUsed: number;
  readonly external: number;
  readonly sessions: number;
}

const gateway = fork(new URL('gateway-process.ts', import.meta.url), { execArgv: [...SETTLED_HEAP] });
const [{ ready }] = (await once(gateway, 'message')) as [{ ready: Ready }];

async function usage(): Promise<Usage> {
  const answer = once(gateway, 'message');
  gateway.send('usage');
  return (await answer)[0] as Usage;
}

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1]!;
const rows: string[][] = [];
function row(what: string, direct: string, through: string, result: string, target: string): void {
  rows.push([what, direct, through, result, target]);
  console.log(`${what}: direct ${direct}, gateway ${through}: ${result} (target ${target})`);
}

/** Runs kubectl and gives milliseconds. */
async function kubectl(
  kubeconfig: string,
  args: readonly string[],
  options: { input?: number; env?: Record<string, string> } = {},
): Promise<number> {
  const started = performance.now();
  const child = spawn(kubectlPath('1.35'), [...args], {
    stdio: [options.input === undefined ? 'ignore' : 'pipe', 'ignore', 'inherit'],
    env: { PATH: '/usr/bin:/bin', HOME: ready.folder, KUBECONFIG: kubeconfig, ...options.env },
  });
  if (options.input !== undefined) void feed(child.stdin!, options.input);
  const [code] = await once(child, 'close');
  if (code !== 0) throw new Error(`kubectl ${args.join(' ')}: exit ${code}`);
  return performance.now() - started;
}

async function feed(stream: NodeJS.WritableStream, length: number): Promise<void> {
  const piece = Buffer.alloc(65_536, 'k');
  for (let sent = 0; sent < length; sent += piece.length) if (!stream.write(piece)) await once(stream, 'drain');
  stream.end();
}

interface Comparison {
  readonly direct: number;
  readonly through: number;
  readonly cpuMs: number;
  /** The same through HAProxy, where it was asked for. */
  readonly peer?: { readonly through: number; readonly cpuMs: number };
}

async function compare(
  measure: (kubeconfig: string) => Promise<number>,
  rounds: number,
  peer?: { readonly haproxy: Haproxy; readonly kubeconfig: string },
): Promise<Comparison> {
  const direct: number[] = [];
  const through: number[] = [];
  const peers: number[] = [];
  const cpus: number[] = [];
  const peerCpus: number[] = [];
  for (let i = 0; i < rounds; i += 1) {
    direct.push(await measure(ready.direct));
    const before = (await usage()).cpuAfterMs;
    through.push(await measure(ready.through));
    cpus.push((await usage()).cpuMs - before);
    if (peer === undefined) continue;
    const atStart = peer.haproxy.cpuMs();
    peers.push(await measure(peer.kubeconfig));
    peerCpus.push(peer.haproxy.cpuMs() - atStart);
  }
  const result = { direct: median(direct), through: median(through), cpuMs: median(cpus) };
  return peer === undefined ? result : { ...result, peer: { through: median(peers), cpuMs: median(peerCpus) } };
}

async function requests(): Promise<void> {
  const { direct, through } = await compare((kubeconfig) => kubectl(kubeconfig, ['get', 'pods']), GETS);
  row(
    `kubectl get pods, median of ${GETS}`,
    `${direct.toFixed(0)} ms`,
    `${through.toFixed(0)} ms`,
    `+${(through - direct).toFixed(1)} ms`,
    '≤ +10 ms',
  );
  const one = async (port: number, agent: https.Agent): Promise<number> => {
    const started = performance.now();
    const call = https.get({
      host: 'localhost',
      port,
      path: '/api/v1/namespaces/default/pods',
      agent,
      headers: port === ready.apiPort ? { Authorization: 'Bearer service-account-token-of-the-gateway' } : {},
    });
    const [response] = (await once(call, 'response')) as [import('node:http').IncomingMessage];
    for await (const _ of response);
    return performance.now() - started;
  };
  const agent = new https.Agent({
    keepAlive: true,
    maxSockets: 1,
    key: ready.keyPem,
    cert: ready.certPem,
    ca: ready.caPem,
  });
  const times = { direct: [] as number[], through: [] as number[] };
  for (let i = 0; i < 1_000; i += 1) {
    times.direct.push(await one(ready.apiPort, agent));
    times.through.push(await one(ready.port, agent));
  }
  agent.destroy();
  row(
    'GET over a kept connection, median of 1,000',
    `${median(times.direct).toFixed(2)} ms`,
    `${median(times.through).toFixed(2)} ms`,
    `+${(median(times.through) - median(times.direct)).toFixed(2)} ms`,
    '≤ +10 ms',
  );
}

async function bulk(): Promise<void> {
  const haproxy = await startHaproxy({
    folder: ready.folder,
    apiPort: ready.apiPort,
    keyPem: ready.serverKeyPem,
    certPem: ready.serverCertPem,
    caPem: ready.caPem,
  });
  const kubeconfig = join(ready.folder, 'haproxy-kubeconfig');
  writeFileSync(
    kubeconfig,
    readFileSync(ready.direct, 'utf8').replace(`:${ready.apiPort}`, `:${haproxy?.port ?? ready.apiPort}`),
  );
  const peer = haproxy === undefined ? undefined : { haproxy, kubeconfig };
  for (const [name, env] of [
    ['WebSocket', {}],
    ['SPDY', { KUBECTL_REMOTE_COMMAND_WEBSOCKETS: 'false' }],
  ] as const) {
    for (const way of ['out', 'in'] as const) {
      const result = await compare(
        (kubeconfig) =>
          way === 'out'
            ? kubectl(kubeconfig, ['exec', 'web-0', '--', 'source', String(BULK)], { env })
            : kubectl(kubeconfig, ['exec', '-i', 'web-0', '--', 'sink'], { env, input: BULK }),
        ROUNDS,
        peer,
      );
      const rate = (ms: number): number => BULK / 1e6 / (ms / 1000);
      const cost = (cpuMs: number): string => `${(cpuMs / (BULK / 1e9) / 1000).toFixed(2)} s CPU/GB`;
      const beside =
        result.peer === undefined
          ? ''
          : `; HAProxy ${(result.direct / result.peer.through).toFixed(2)} ×, ${cost(result.peer.cpuMs)}`;
      row(
        `exec ${name}, ${BULK >> 20} MiB ${way}`,
        `${rate(result.direct).toFixed(0)} MB/s`,
        `${rate(result.through).toFixed(0)} MB/s`,
        `${(result.direct / result.through).toFixed(2)} × direct, ${cost(result.cpuMs)}${beside}`,
        '≥ 0.9 ×',
      );
    }
  }
  await haproxy?.stop();
}

/** What two TLS connections cost in this runtime without anything of the gateway. */
async function bareTls(): Promise<number> {
  const child = fork(new URL('bare-process.ts', import.meta.url), {
    execArgv: [...SETTLED_HEAP],
  });
  child.send({
    keyPem: ready.serverKeyPem,
    certPem: ready.serverCertPem,
    caPem: ready.caPem,
    echoPort: ready.echoPort,
  });
  const [{ port }] = (await once(child, 'message')) as [{ port: number }];
  const sockets: TLSSocket[] = [];
  for (let i = 0; i < IDLE; i += 1) {
    const socket = tls.connect({
      host: '127.0.0.1',
      port,
      servername: 'localhost',
      key: ready.keyPem,
      cert: ready.certPem,
      ca: ready.caPem,
    });
    socket.on('error', () => undefined);
    socket.write(Buffer.alloc(500, 'x'));
    await once(socket, 'data');
    sockets.push(socket);
  }
  const answer = once(child, 'message');
  child.send('measure');
  const [{ bytes }] = (await answer) as [{ bytes: number }];
  child.kill();
  for (const socket of sockets) socket.destroy();
  return bytes / IDLE;
}

async function idle(): Promise<void> {
  const floor = await bareTls();
  const start = await usage();
  const sockets: TLSSocket[] = [];
  const options = {
    host: '127.0.0.1',
    port: ready.port,
    servername: 'localhost',
    key: ready.keyPem,
    cert: ready.certPem,
    ca: ready.caPem,
  };
  const path = '/api/v1/namespaces/default/pods/web-0/exec?command=wait&container=main&stdin=true&stdout=true&tty=true';
  const headers = [
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    'Sec-WebSocket-Protocol: v5.channel.k8s.io',
  ];
  const open = async (total: number): Promise<void> => {
    while (sockets.length < total) {
      const batch = await Promise.all(
        Array.from({ length: 20 }, () => requestUpgrade(options, { method: 'GET', path, headers })),
      );
      for (const { socket, status, head } of batch) {
        if (status !== 101) throw new Error(head);
        socket.resume();
        sockets.push(socket);
      }
    }
  };
  // What the heap grows by once, whatever the number of sessions, is not the second thousand's.
  await open(IDLE);
  const first = await usage();
  await open(2 * IDLE);
  const second = await usage();
  for (const socket of sockets.splice(IDLE)) socket.destroy();
  const ping = encodeFrame(WS_PING, new Uint8Array(0), MASK);
  // As every kubectl since 1.27: a ping every 5 s.
  let turn = 0;
  const timer = setInterval(() => {
    for (let i = 0; i < IDLE / 100; i += 1) sockets[turn++ % IDLE]!.write(ping);
  }, 50);
  await delay(6_000);
  const after = await usage();
  await delay(IDLE_SECONDS * 1_000);
  const later = await usage();
  clearInterval(timer);
  const each = (from: Usage, to: Usage, of: (usage: Usage) => number): string =>
    `${((of(to) - of(from)) / IDLE / 1_000).toFixed(1)} kB`;
  const script = ({ heapUsed, external }: Usage): number => heapUsed + external;
  row(
    `idle exec sessions, memory each (both legs): the second ${IDLE}`,
    `${(floor / 1_000).toFixed(1)} kB for two bare TLS connections in Node`,
    each(first, second, ({ rss }) => rss),
    `${each(first, second, script)} of it in the JavaScript heap and buffers; the first ${IDLE} with what the heap grows by once ${each(start, first, ({ rss }) => rss)}`,
    '≤ 60 kB',
  );
  row(
    `${IDLE} idle exec sessions with kubectl's pings, CPU`,
    '–',
    `${(((later.cpuMs - after.cpuAfterMs) / IDLE_SECONDS) * 0.06).toFixed(2)} s a minute`,
    `${later.sessions} sessions`,
    '–',
  );
  for (const socket of sockets) socket.destroy();
}

const only = process.argv.find((argument) => argument.startsWith('--only='))?.slice(7);
try {
  for (const part of [requests, bulk, idle]) if (only === undefined || only === part.name) await part();
} finally {
  const exit = once(gateway, 'exit');
  gateway.send('stop');
  await exit;
}

if (only !== undefined) process.exit();
const table = [['', 'direct', 'through the gateway', 'result', 'target'], ['---', '---', '---', '---', '---'], ...rows];
const results = new URL('../results/kube.md', import.meta.url);
const written = readFileSync(results, 'utf8');
const notes = written.includes('\n## ') ? written.slice(written.indexOf('\n## ')) : '';
writeFileSync(
  results,
  `# Kubernetes: \`npm run bench:kube\`

kubectl 1.35.2 straight to the API server and through the gateway, interleaved, medians of ${ROUNDS} runs. Gateway, API server (a source and a
sink without a container) and kubectl share the machine: ${os.cpus().length} cores, ${os.cpus()[0]?.model.trim()}, Node ${process.version}; load ${before.map((one) => one.toFixed(0)).join(', ')} before the start.${short ? ' A short run.' : ''}

${table.map((cells) => `| ${cells.join(' | ')} |`).join('\n')}
${notes}`,
);
