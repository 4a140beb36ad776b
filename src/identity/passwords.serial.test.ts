import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Secret } from '../core/secret.ts';
import { PasswordHasher } from './passwords.ts';

const secret = (text: string) => new Secret(text);

test('checking the password of a user who does not exist takes as long as that of one who does', async () => {
  const hasher = new PasswordHasher({ parameters: { memory: 16_384, passes: 2, parallelism: 1 } });
  const hash = await hasher.hash(secret('correct horse'));
  const time = async (phc: string | undefined) => {
    const start = process.hrtime.bigint();
    assert.equal((await hasher.verify(secret('wrong password'), phc)).ok, false);
    return Number(process.hrtime.bigint() - start);
  };
  const [known, unknown] = [[] as number[], [] as number[]];
  for (let i = 0; i < 5; i++) {
    known.push(await time(hash));
    unknown.push(await time(undefined));
  }
  // Work, not milliseconds, is what must be equal; the fastest of five shows it on a busy machine, too.
  const ratio = Math.min(...known) / Math.min(...unknown);
  assert.ok(ratio > 0.4 && ratio < 2.5, `a known user takes ${ratio} times as long`);
});
