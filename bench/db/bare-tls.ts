// What Node itself takes for a TLS connection with a client certificate, and for a plain one: servers that greet and do nothing else, with
// no second leg. The floor below which no gateway on Node comes.
import { readFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import tls from 'node:tls';
import { settledMemory } from '../settled-memory.ts';
import { GREETING } from './greeting.ts';
import { listening } from './listening.ts';

const dir = process.argv[2]!;
const greet = (socket: net.Socket): void => {
  socket.on('error', () => undefined);
  socket.on('data', () => socket.write(GREETING));
};
const [key, cert] = [readFileSync(join(dir, 'peer.key')), readFileSync(join(dir, 'peer.crt'))];
const options = { key, cert, requestCert: true, rejectUnauthorized: false, ALPNProtocols: ['postgresql'] };
process.on('message', () => process.send!({ rss: settledMemory().rss }));
process.once('disconnect', () => process.exit(0));
process.send!({
  plainPort: await listening(net.createServer({ noDelay: true }, greet)),
  tlsPort: await listening(tls.createServer(options, greet)),
});
