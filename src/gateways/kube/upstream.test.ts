import assert from 'node:assert/strict';
import { test } from 'node:test';
import tls from 'node:tls';
import { ca, listen, serverCredential } from '../../../test/fixtures/tls.ts';
import type { KubeCluster } from '../../resources/index.ts';
import { systemClock } from '../../server/system-clock.ts';
import { KubeUpstream } from './upstream.ts';

const cluster: KubeCluster = {
  kind: 'kube_cluster',
  version: 'v1',
  metadata: { name: 'prod', labels: {} },
  spec: {},
} as unknown as KubeCluster;

/** Asks for an upgrade from a server whose certificate is for `names`. */
async function upgrade(names: string[], serverName?: string): Promise<number> {
  const server = tls.createServer(await serverCredential(names), (socket) => {
    socket.on('error', () => undefined);
    socket.once('data', () => socket.end('HTTP/1.1 101 Switching Protocols\r\n\r\n'));
  });
  const port = await listen(server);
  const upstream = new KubeUpstream(
    cluster,
    {
      origin: `https://127.0.0.1:${port}`,
      basePath: '',
      ca: ca.tlsHostCa,
      serverName,
      clientCert: undefined,
      token: undefined,
      tokenFile: undefined,
    },
    systemClock,
  );
  const answer = await upstream.upgrade(Buffer.from('GET / HTTP/1.1\r\n\r\n'), AbortSignal.timeout(20_000));
  answer.socket.destroy();
  upstream.close();
  return answer.statusCode;
}

test('an API server by its address needs a certificate for the address', async () => {
  assert.equal(await upgrade(['127.0.0.1']), 101);
  await assert.rejects(upgrade(['localhost']), /altnames/);
});

test('an API server by a name of its own needs a certificate for the name', async () => {
  assert.equal(await upgrade(['kube.example.com'], 'kube.example.com'), 101);
  await assert.rejects(upgrade(['127.0.0.1'], 'kube.example.com'), /altnames/);
});
