import assert from 'node:assert/strict';
import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';
import { after, before, test } from 'node:test';
import { createDiagnostics } from './diagnostics.ts';
import { createMetrics } from './metrics.ts';

let reason: string | undefined;
const server = createDiagnostics({ metrics: createMetrics(), notReady: () => reason });

before(async () => {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
});
after(() => server.close());

/** Sends a request line as it is and returns the status of the answer. */
async function status(requestLine: string): Promise<number> {
  const socket = net.connect((server.address() as AddressInfo).port, '127.0.0.1');
  socket.end(`${requestLine} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
  let text = '';
  for await (const chunk of socket.setEncoding('utf8')) text += chunk;
  return Number(/^HTTP\/1\.1 (\d{3})/.exec(text)?.[1]);
}

test('health, readiness, metrics', { timeout: 20_000 }, async () => {
  assert.equal(await status('GET /healthz'), 200);
  assert.equal(await status('GET /metrics?x'), 200);
  assert.equal(await status('HEAD /readyz'), 200);
  reason = 'draining';
  assert.equal(await status('GET /readyz'), 503);
  assert.equal(await status('POST /readyz'), 405);
});

test('a target that is no URL is answered', { timeout: 20_000 }, async () => {
  for (const target of ['//', '//[', '/nowhere', 'http://[/', '*']) assert.equal(await status(`GET ${target}`), 404);
});
