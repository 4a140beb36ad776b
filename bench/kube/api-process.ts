// An API server in a process of its own.
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import tls from 'node:tls';
import { startApiServer } from '../../test/fixtures/kube/api-server.ts';
import { serveCommand } from './endpoint.ts';

process.once('message', async ({ credential }: { credential: { certPem: string; keyPem: string } }) => {
  const api = await startApiServer({ ...credential, onUpgrade: serveCommand });
  for (let i = 0; i < 20; i += 1)
    api.addPod({
      namespace: 'default',
      name: `web-${i}`,
      uid: `u${i}`,
      sandboxId: '',
      containers: new Map([['main', 'x']]),
      logDirectory: '/nowhere',
    });
  const echo = tls.createServer({ key: credential.keyPem, cert: credential.certPem }, (socket) => {
    socket.on('error', () => undefined);
    socket.on('data', (chunk) => socket.write(chunk));
  });
  echo.listen(0, '127.0.0.1');
  await once(echo, 'listening');
  process.send!({ port: api.port, echo: (echo.address() as AddressInfo).port });
});
process.on('disconnect', () => process.exit(0));
