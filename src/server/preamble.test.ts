import assert from 'node:assert/strict';
import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { readPreamble } from './preamble.ts';

const LINE = Buffer.from('web-1:22\nSSH-2.0-x\r\n');

test('the first line is taken and the rest stays, split at every offset', async () => {
  for (let cut = 0; cut <= LINE.length; cut++) {
    const stream = new PassThrough();
    stream.write(LINE.subarray(0, cut));
    const target = readPreamble(stream, 5_000);
    stream.end(LINE.subarray(cut));
    assert.equal(await target, 'web-1:22');
    let rest = '';
    stream.on('data', (chunk) => {
      rest += chunk;
    });
    await once(stream, 'end');
    assert.equal(rest, 'SSH-2.0-x\r\n');
  }
});

test('what is no target is refused', async () => {
  for (const [bytes, message] of [
    ['x'.repeat(600), /not a target/],
    ['\n', /not a target/],
    ['a\u0000b\n', /not a target/],
    ['half', /closed before/],
  ] as const) {
    const stream = new PassThrough();
    stream.end(bytes);
    await assert.rejects(readPreamble(stream, 5_000), { message });
  }
  await assert.rejects(readPreamble(new PassThrough(), 1), { code: 'timeout' });
});
