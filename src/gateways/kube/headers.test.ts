import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../../test/fixtures/fake-clock.ts';
import { Denials } from './denials.ts';
import { downstreamHeaders, headerValues, upstreamHeaders } from './headers.ts';

test('headers that claim an identity or belong to one connection do not go on, whatever their case', () => {
  const raw = [
    ['Accept', 'application/json'],
    ['AUTHORIZATION', 'Bearer stolen'],
    ['Impersonate-User', 'root'],
    ['impersonate-group', 'system:masters'],
    ['Impersonate-Extra-x', 'y'],
    ['X-Remote-User', 'root'],
    ['X-Forwarded-For', '1.2.3.4'],
    ['Connection', 'keep-alive, X-Hop'],
    ['X-Hop', '1'],
    ['Keep-Alive', 'timeout=5'],
    ['TE', 'trailers'],
    ['Transfer-Encoding', 'chunked'],
    ['Host', 'gateway'],
    [':path', '/'],
    ['X-Stream-Protocol-Version', 'v4.channel.k8s.io'],
    ['X-Stream-Protocol-Version', 'v3.channel.k8s.io'],
    ['Accept-Encoding', 'gzip'],
  ].flat();
  assert.deepEqual(
    upstreamHeaders(raw, { user: 'alice', groups: ['dev', 'ops'] }, 'Bearer own', { 'accept-encoding': 'identity' }),
    [
      'Accept',
      'application/json',
      'X-Stream-Protocol-Version',
      'v4.channel.k8s.io',
      'X-Stream-Protocol-Version',
      'v3.channel.k8s.io',
      'accept-encoding',
      'identity',
      'Impersonate-User',
      'alice',
      'Impersonate-Group',
      'dev',
      'Impersonate-Group',
      'ops',
      'Authorization',
      'Bearer own',
    ],
  );
  assert.deepEqual(headerValues(raw, 'x-stream-protocol-version'), ['v4.channel.k8s.io', 'v3.channel.k8s.io']);
});

test('repeated headers of an answer stay repeated', () => {
  assert.deepEqual(downstreamHeaders(['Warning', 'a', 'Connection', 'close', 'warning', 'b', 'Audit-Id', '1']), [
    ['warning', ['a', 'b']],
    ['audit-id', ['1']],
  ]);
});

test('a denial is good for one repetition, soon, under the same policy', async () => {
  const clock = new FakeClock();
  const denials = new Denials(clock);
  denials.note('a', 1, 'no');
  assert.equal(denials.take('b', 1), undefined);
  assert.equal(denials.take('a', 1), 'no');
  assert.equal(denials.take('a', 1), undefined, 'only once');
  denials.note('a', 1, 'no');
  assert.equal(denials.take('a', 2), undefined, 'the policy has changed');
  denials.note('a', 1, 'no');
  await clock.advance(10_001);
  assert.equal(denials.take('a', 1), undefined, 'too late');
  for (let i = 0; i < 5_000; i += 1) denials.note(`k${i}`, 1, 'no');
  assert.equal(denials.take('k0', 1), undefined, 'bounded');
  assert.equal(denials.take('k4999', 1), 'no');
});
