// `npm run bench:desktop`: what the gateway adds to a desktop. Writes bench/results/desktop.md.
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import type { TestDesktop } from '../../test/fixtures/desktop/world.ts';
import { startXvnc } from '../../test/fixtures/desktop/xvnc.ts';
import { connectRdpDirect, connectRdpThrough, type RdpClient } from './rdp-client.ts';
import { connectDirect, connectThrough, type RfbClient } from './rfb-client.ts';

const MOTION_MS = 10_000;
const KEYS = 150;
const ROUNDS = 3;
const IDLE_DESKTOPS = 200;
const IDLE_MS = 20_000;

interface Usage {
  readonly cpuMs: number;
  readonly rss: number;
  readonly heapUsed: number;
  readonly external: number;
  readonly sessions: number;
}

const children: ChildProcess[] = [];
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const median = (values: readonly number[]) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!;

async function child(file: string, ...args: string[]): Promise<{ process: ChildProcess; port: number }> {
  const started = fork(new URL(file, import.meta.url), args, {
    execArgv: ['--expose-gc', '--disable-warning=ExperimentalWarning'],
  });
  children.push(started);
  const [{ port }] = (await once(started, 'message')) as [{ port: number }];
  return { process: started, port };
}

async function usage(gateway: ChildProcess): Promise<Usage> {
  gateway.send('usage');
  const [answer] = (await once(gateway, 'message')) as [Usage];
  return answer;
}

/** Takes every update as fast as it comes, for a while; bytes received. */
async function watch(client: RfbClient, ms: number): Promise<number> {
  client.encodings();
  client.request(false);
  // The next update is asked for as soon as this one has begun: the server sends it when there is something to send.
  client.onData = () => client.request(true);
  const before = client.bytes;
  await pause(ms);
  client.onData = () => undefined;
  client.close();
  return client.bytes - before;
}

/** What an RDP desktop in motion sends in the same time. */
async function count(connecting: Promise<RdpClient>): Promise<number> {
  const client = await connecting;
  const before = client.bytes;
  await pause(MOTION_MS);
  client.close();
  return client.bytes - before;
}

/** Milliseconds from a key press to the first byte of the picture that it changed, many times. */
async function latencies(client: RfbClient, keys: number): Promise<number[]> {
  client.encodings();
  client.pointer(300, 200);
  client.request(false);
  await pause(500);
  const times: number[] = [];
  let drawn: () => void = () => undefined;
  client.onData = () => {
    client.request(true);
    drawn();
  };
  client.request(true);
  for (let i = 0; i < keys; i += 1) {
    await pause(30);
    const changed = new Promise<'drawn'>((resolve) => {
      drawn = () => resolve('drawn');
    });
    const from = performance.now();
    client.key(0x61 + (i % 26), true);
    const outcome = await Promise.race([changed, pause(1_000)]);
    if (outcome === 'drawn') times.push(performance.now() - from);
    client.key(0x61 + (i % 26), false);
    // A line that is full would scroll the whole screen.
    if (i % 40 === 39) client.key(0xff0d, true);
  }
  client.onData = () => undefined;
  if (times.length < keys / 2) throw new Error(`only ${times.length} of ${keys} key presses were drawn`);
  return times;
}

/** Bytes a minute of a desktop in motion, straight and through, and what it costs the gateway. */
async function motion(
  protocol: string,
  gateway: ChildProcess,
  watchDirect: () => Promise<number>,
  watchThrough: () => Promise<number>,
): Promise<string[][]> {
  console.log(`motion: ${protocol}`);
  const perMinute = 60_000 / MOTION_MS;
  const bytes: { direct: number[]; through: number[]; cpu: number[] } = { direct: [], through: [], cpu: [] };
  for (let round = 0; round < ROUNDS; round += 1) {
    bytes.direct.push((await watchDirect()) * perMinute);
    const before = await usage(gateway);
    bytes.through.push((await watchThrough()) * perMinute);
    bytes.cpu.push(((await usage(gateway)).cpuMs - before.cpuMs) * perMinute);
  }
  const mb = (value: number) => `${(value / 1e6).toFixed(1)} MB`;
  return [
    [
      `${protocol} motion: bytes a minute`,
      mb(median(bytes.direct)),
      mb(median(bytes.through)),
      'as fast as the machine gives',
    ],
    [
      `${protocol} motion: CPU of the gateway a minute`,
      '–',
      `${(median(bytes.cpu) / 1000).toFixed(2)} s`,
      `${(median(bytes.cpu) / (median(bytes.through) / 1e8)).toFixed(0)} ms for 100 MB`,
    ],
  ];
}

const rows: string[][] = [];
const screen = await startXvnc({ security: 'None' });
const moving = await startXvnc({
  security: 'None',
  shell: "sh -c 'i=0; while :; do i=$((i+1)); echo $i $i $i $i $i $i $i $i $i $i $i $i; sleep 0.02; done'",
});
try {
  const idle = await child('idle-desktops.ts');
  const rdp = await child('rdp-motion.ts');
  const vnc = (name: string, port: number): TestDesktop => ({
    name,
    spec: { protocol: 'vnc', addr: `127.0.0.1:${port}` },
  });
  const desktops = [
    vnc('screen', screen.port),
    vnc('moving', moving.port),
    vnc('idle', idle.port),
    { name: 'rdp', spec: { addr: `127.0.0.1:${rdp.port}`, tls: { mode: 'insecure' } } },
  ];
  const { process: gateway, port } = await child('gateway-process.ts', JSON.stringify(desktops));

  const onVnc = (connecting: Promise<RfbClient>) => connecting.then((client) => watch(client, MOTION_MS));
  rows.push(
    ...(await motion(
      'VNC',
      gateway,
      () => onVnc(connectDirect(moving.port)),
      () => onVnc(connectThrough(port, 'moving')),
    )),
    ...(await motion(
      'RDP',
      gateway,
      () => count(connectRdpDirect(rdp.port)),
      () => count(connectRdpThrough(port, 'rdp')),
    )),
  );

  console.log('keys');
  const keys: { direct: number[]; through: number[] } = { direct: [], through: [] };
  for (let round = 0; round < ROUNDS; round += 1) {
    const direct = await connectDirect(screen.port);
    keys.direct.push(...(await latencies(direct, KEYS / ROUNDS)));
    direct.close();
    const through = await connectThrough(port, 'screen');
    keys.through.push(...(await latencies(through, KEYS / ROUNDS)));
    through.close();
  }
  const [direct, through] = [median(keys.direct), median(keys.through)];
  rows.push([
    'key press to pixels, median',
    `${direct.toFixed(2)} ms`,
    `${through.toFixed(2)} ms: ${(through - direct).toFixed(2)} ms added`,
    '≤ 5 ms added',
  ]);

  console.log('idle');
  const empty = await usage(gateway);
  const clients: RfbClient[] = [];
  for (let i = 0; i < IDLE_DESKTOPS; i += 1) clients.push(await connectThrough(port, 'idle'));
  await pause(1_000);
  const full = await usage(gateway);
  await pause(IDLE_MS);
  const later = await usage(gateway);
  const kb = (value: number) => `${(value / 1024 / IDLE_DESKTOPS).toFixed(1)} kB`;
  rows.push(
    [
      `${IDLE_DESKTOPS} idle desktops, memory each (both legs)`,
      '–',
      kb(full.rss - empty.rss),
      `${kb(full.heapUsed + full.external - empty.heapUsed - empty.external)} of it in the JavaScript heap and buffers`,
    ],
    [
      `${full.sessions} idle desktops, CPU a minute, pings included`,
      '–',
      `${(((later.cpuMs - full.cpuMs) * (60_000 / IDLE_MS)) / 1000).toFixed(2)} s`,
      '–',
    ],
  );
  for (const client of clients) client.close();
} finally {
  for (const started of children) started.kill();
  await Promise.all([screen.stop(), moving.stop()]);
}

const table = [['', 'straight', 'through the gateway', 'target or remark'], ['---', '---', '---', '---'], ...rows]
  .map((row) => `| ${row.join(' | ')} |`)
  .join('\n');
writeFileSync(
  new URL('../results/desktop.md', import.meta.url),
  `# Desktops: \`npm run bench:desktop\`

A raw VNC client to Xvnc, and a raw RDP client to a server that plays a recorded set-up and then sends pictures of 16 kB inside TLS: straight, and through
the gateway's WebSocket with the real session layer; interleaved, medians of ${ROUNDS} runs.
Everything shares the machine: ${cpus().length} cores, ${cpus()[0]!.model.replace(/ \d+-Core.*/, '')}, Node ${process.version},
load ${loadavg()[0]!.toFixed(0)} at the end. A short run. VNC's motion is a terminal that scrolls, in raw encoding, RDP's is as much as the\nclient takes: more bytes than any real desktop.

${table}
`,
);
console.log(table);
