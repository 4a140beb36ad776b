import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Hono } from 'hono';
import { z } from 'zod';
import { MemoryLogger } from '../../../test/fixtures/memory-logger.ts';
import type { ApiEnv } from './caller.ts';
import { errorResponse } from './http-errors.ts';
import { readJson } from './request-body.ts';

test('a request that breaks off within its body is no error of the server', async () => {
  const log = new MemoryLogger();
  const app = new Hono<ApiEnv>();
  app.post('/', async (c) => c.json(await readJson(c, z.object({}), 100)));
  app.onError((error) => errorResponse(error, log, '/'));
  const post = (body: ReadableStream | string): Promise<Response> =>
    Promise.resolve(
      app.request('/', {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body,
        duplex: 'half',
      } as RequestInit),
    );
  let pulls = 0;
  const broken = await post(
    new ReadableStream({
      pull(controller) {
        pulls++;
        if (pulls === 1) controller.enqueue(Buffer.from('{"a":'));
        else controller.error(new Error('aborted'));
      },
    }),
  );
  assert.equal(broken.status, 400);
  assert.match(await broken.text(), /broke off before its end/);
  let given = 0;
  let cancelled = false;
  const endless = new ReadableStream({
    pull(controller) {
      given++;
      controller.enqueue(Buffer.alloc(60, ' '));
    },
    cancel() {
      cancelled = true;
    },
  });
  assert.equal((await post(endless)).status, 413);
  assert.ok(cancelled && given < 10, 'the rest was read');
  assert.equal((await post('{}')).status, 200);
  assert.deepEqual(log.lines, []);
});
