import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { ApiLab, liveSession } from '../../../test/fixtures/api.ts';

let lab: ApiLab;

before(async () => {
  lab = await ApiLab.start();
  for (const user of ['editor', 'watcher']) await lab.putUser(user, ['editor']);
  await lab.putUser('alice', ['access']);
});
after(() => lab.stop());

async function open(user: string, method = 'GET'): Promise<Response> {
  const request = new Request('https://gateway.example.com:3080/v1/events', { method });
  const caller = { kind: 'tls', clientIp: '::1', clientCertificate: await lab.certificate(user) } as const;
  return lab.api.fetch(request, { caller });
}

/** Reads a live view to its end. */
async function restOf(response: Response): Promise<string> {
  let text = '';
  for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) text += chunk;
  return text;
}

test('a lock ends the live views of whom it bars', { timeout: 20_000 }, async () => {
  const response = await open('watcher');
  const rest = restOf(response);
  await lab.put({ kind: 'lock', version: 'v2', metadata: { name: 'l' }, spec: { target: { user: 'watcher' } } });
  await lab.clock.advance(1_000);
  assert.match(await rest, /event: sessions/);
  assert.equal((await open('watcher')).status, 403);
});

test('HEAD opens no live view that nobody would close', { timeout: 20_000 }, async () => {
  const timers = lab.clock.timers;
  const response = await open('editor', 'HEAD');
  assert.deepEqual([response.status, response.headers.get('content-type')], [200, 'text/event-stream']);
  assert.equal(lab.clock.timers, timers);
});

test('one user cannot take the live views of all others', { timeout: 20_000 }, async () => {
  const opened: Response[] = [];
  let last = await open('editor');
  for (; last.status === 200 && opened.length < 200; last = await open('editor')) opened.push(last);
  assert.equal(last.status, 429);
  const other = await open('alice');
  assert.equal(other.status, 200);
  for (const response of [...opened, other]) await response.body!.cancel();
  const again = await open('editor');
  assert.equal(again.status, 200);
  await again.body!.cancel();
});

test('what a reader has not taken is not piled up for it', { timeout: 20_000 }, async () => {
  const response = await open('editor');
  for (let second = 0; second < 50; second++) {
    lab.sessions.sessions = [liveSession(`session-${second}`, 'bob')];
    await lab.clock.advance(1_000);
  }
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  for (let reads = 0; !text.includes('session-49') && reads < 100; reads++) {
    text += (await reader.read()).value;
    await lab.clock.advance(1_000);
  }
  assert.ok((text.match(/event: sessions/g) ?? []).length < 6, text.slice(0, 2_000));
  await reader.cancel();
  lab.sessions.sessions = [];
});
