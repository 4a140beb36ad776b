// Many idle PostgreSQL connections from one process: signs in, tells when all are in, then how late each was ended. With `together` each
// runs a query a second until all are in, and its last one within a second of the others', so that the gateway signs nobody in while it ends them.
import net from 'node:net';
import tls from 'node:tls';
import { encodeSslRequest, encodeStartup, PROTOCOL_3_0 } from '../../src/wire/postgres/startup.ts';
import type { IdleClients } from './lab.ts';

const settings = JSON.parse(process.argv[2]!) as IdleClients;
const STARTUP = encodeStartup(
  PROTOCOL_3_0,
  new Map([
    ['user', 'postgres'],
    ['database', 'postgres'],
  ]),
);
/** Query with the text `do`. */
const QUERY = Buffer.from('5100000007646f00', 'hex');
const READY = Buffer.from('5a0000000549', 'hex');
/** Between two queries of a session, and over which the last queries are spread, milliseconds. */
const ROUND_MS = 1_000;
const context = settings.tls === undefined ? undefined : tls.createSecureContext(settings.tls);
const lateness: number[] = [];
const sockets: net.Socket[] = [];
let messages = 0;
let open = 0;
let closed = 0;

function connectPlain(): Promise<net.Socket> {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ port: settings.port, host: '127.0.0.1', noDelay: true });
    socket.once('connect', () => resolve(socket));
    socket.once('error', reject);
  });
}

async function connect(): Promise<void> {
  let socket = await connectPlain();
  if (context !== undefined) {
    if (!settings.direct) {
      socket.write(encodeSslRequest());
      await new Promise((resolve) => socket.once('data', resolve));
    }
    const raw = socket;
    socket = await new Promise<net.Socket>((resolve, reject) => {
      const secure = tls.connect({
        socket: raw,
        servername: 'localhost',
        secureContext: context,
        rejectUnauthorized: false,
        ALPNProtocols: ['postgresql'],
      });
      secure.once('secureConnect', () => resolve(secure));
      secure.once('error', reject);
    });
  }
  await new Promise<void>((resolve) => {
    let last = 0;
    let ready = false;
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => {
      if (ready && chunk[0] === 0x45) messages += 1;
      if (!chunk.subarray(-READY.length).equals(READY)) return;
      ready = true;
      last = performance.now();
      resolve();
    });
    socket.once('close', () => {
      closed += 1;
      if (settings.timeoutMs !== undefined && ready) lateness.push(performance.now() - last - settings.timeoutMs);
      // Some are closed before they are in when the machine is busy: they measure nothing.
      resolve();
      if (closed === settings.count) process.send!({ lateness, messages });
    });
    // A peer that ends us half-closes only.
    socket.once('end', () => socket.destroy());
    socket.write(STARTUP);
  });
  open += 1;
  sockets.push(socket);
}

/** Each session's query once a round, evenly spread; ends after the round that begins when `enough` says so. */
async function queries(enough: () => boolean): Promise<void> {
  for (let last = false; !last; ) {
    last = enough();
    const round = [...sockets];
    const started = performance.now();
    for (let sent = 0; sent < round.length; ) {
      const due = Math.min(round.length, Math.ceil(((performance.now() - started) / ROUND_MS) * round.length));
      while (sent < due) round[sent++]!.write(QUERY);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    if (round.length === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

const WORKERS = 16;
let started = 0;
const kept = settings.together === true ? queries(() => open === settings.count) : undefined;
await Promise.all(
  Array.from({ length: WORKERS }, async () => {
    while (started < settings.count) {
      started += 1;
      await connect();
    }
  }),
);
await kept;
process.send!({ open });
process.once('message', () => process.exit(0));
process.once('disconnect', () => process.exit(0));
