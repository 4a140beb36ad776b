// The floor of a relay on Node: the fast path of the gateways with nothing in it. No session, no messages read, no activity; TLS is Node's own.
import { readFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import tls from 'node:tls';
import { loadFastPath } from '../../src/gateways/common/fast-path-search.ts';
import { listening } from './listening.ts';

const { dir, serverPort } = JSON.parse(process.argv[2]!) as { dir: string; serverPort: number };
const path = await loadFastPath(AbortSignal.timeout(5_000));
if (path === undefined) throw new Error('this Node has no fast path');
const pass = (chunk: Buffer, length: number): Buffer => chunk.subarray(0, length);

function relay(client: net.Socket): void {
  client.on('error', () => client.destroy());
  client.setNoDelay(true);
  const server = net.connect({ port: serverPort, host: '127.0.0.1', noDelay: true });
  server.on('error', () => server.destroy());
  server.once('connect', () => {
    for (const [source, target] of [
      [client, server],
      [server, client],
    ] as const) {
      const direction = path!.direction(source, target, pass);
      if (direction === undefined) throw new Error('no direction');
      source.once('end', () => direction.whenFlushed(() => target.end()));
      source.once('close', () => target.destroySoon());
      const early = source.read() as Buffer | null;
      if (early !== null) direction.write(early);
      direction.start();
    }
  });
}

const [key, cert] = [readFileSync(join(dir, 'peer.key')), readFileSync(join(dir, 'peer.crt'))];
process.once('disconnect', () => process.exit(0));
process.send!({
  plainPort: await listening(net.createServer({ noDelay: true, pauseOnConnect: true }, relay)),
  tlsPort: await listening(tls.createServer({ key, cert, ALPNProtocols: ['postgresql'] }, relay)),
});
