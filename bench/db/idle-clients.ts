// Many idle PostgreSQL connections from one process: signs in, tells when all are in, then how late each was ended.
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
const lateness: number[] = [];
let messages = 0;
let open = 0;
let closed = 0;

function connectPlain(): Promise<net.Socket> {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ port: settings.port, host: '127.0.0.1' });
    socket.once('connect', () => resolve(socket));
    socket.once('error', reject);
  });
}

async function connect(): Promise<void> {
  let socket = await connectPlain();
  if (settings.tls !== undefined) {
    if (!settings.direct) {
      socket.write(encodeSslRequest());
      await new Promise((resolve) => socket.once('data', resolve));
    }
    const credential = settings.tls;
    const raw = socket;
    socket = await new Promise<net.Socket>((resolve, reject) => {
      const secure = tls.connect({
        socket: raw,
        servername: 'localhost',
        ...credential,
        rejectUnauthorized: false,
        ALPNProtocols: ['postgresql'],
      });
      secure.once('secureConnect', () => resolve(secure));
      secure.once('error', reject);
    });
  }
  await new Promise<void>((resolve) => {
    let last = 0;
    let seen = Buffer.alloc(0);
    let ready = false;
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => {
      if (ready) {
        if (chunk[0] === 0x45) messages += 1;
        return;
      }
      seen = Buffer.concat([seen, chunk]);
      if (seen.subarray(-6).equals(Buffer.from('5a0000000549', 'hex'))) {
        ready = true;
        seen = Buffer.alloc(0);
        last = performance.now();
        resolve();
      }
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
}

const WORKERS = 16;
let started = 0;
await Promise.all(
  Array.from({ length: WORKERS }, async () => {
    while (started < settings.count) {
      started += 1;
      await connect();
    }
  }),
);
process.send!({ open });
process.once('message', () => process.exit(0));
process.once('disconnect', () => process.exit(0));
