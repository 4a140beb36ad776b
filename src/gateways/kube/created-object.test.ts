import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { createdObjectName } from './created-object.ts';

test('what is read of a body is what is sent: a member that comes twice, large numbers', async () => {
  const sly = '{"metadata":{"name":"db"},"metadata":{"labels":{}},"n":9007199254740993,"f":1.0}';
  const created = await createdObjectName(Readable.from([Buffer.from(sly)]));
  assert.ok(created.ok);
  assert.equal(created.name, '');
  assert.equal(created.body.toString(), '{"metadata":{"labels":{}},"n":9007199254740993,"f":1.0}');
});
