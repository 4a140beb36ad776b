// Two TLS connections joined, and nothing else: the floor of what a session can cost in this runtime. The far end is in another process.
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import tls, { type TLSSocket } from 'node:tls';
import { settledMemory } from '../settled-memory.ts';

interface Start {
  readonly keyPem: string;
  readonly certPem: string;
  readonly caPem: string;
  readonly echoPort: number;
}

process.once('message', async ({ keyPem, certPem, caPem, echoPort }: Start) => {
  const secureContext = tls.createSecureContext({ ca: caPem });
  const sockets: TLSSocket[] = [];
  const server = tls.createServer(
    { key: keyPem, cert: certPem, requestCert: true, rejectUnauthorized: false },
    (client) => {
      const target = tls.connect({ host: '127.0.0.1', port: echoPort, servername: 'localhost', secureContext });
      sockets.push(client, target);
      for (const [from, to] of [
        [client, target],
        [target, client],
      ] as const) {
        from.on('error', () => undefined);
        from.on('data', (chunk: Buffer) => to.write(chunk));
      }
    },
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const before = settledMemory().rss;
  process.on('message', () => {
    setTimeout(() => process.send!({ bytes: settledMemory().rss - before, sockets: sockets.length }), 1_000);
  });
  process.send!({ port: (server.address() as AddressInfo).port });
});
