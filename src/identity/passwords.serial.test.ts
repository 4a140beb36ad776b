import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Secret } from '../core/secret.ts';
import { PasswordHasher } from './passwords.ts';

const secret = (text: string) => new Secret(text);

test('checking the password of a user who does not exist takes as long as that of one who does', async () => {
  const hasher = new PasswordHasher({ parameters: { memory: 16_384, passes: 2, parallelism: 1 } });
  const hash = await hasher.hash(secret('correct horse'));
  /** Processor time, which depends least on what else the machine does, in microseconds. */
  const cost = async (phc: string | undefined) => {
    const before = process.cpuUsage();
    assert.equal((await hasher.verify(secret('wrong password'), phc)).ok, false);
    return process.cpuUsage(before).user;
  };
  // Work is what must be equal: the cheapest of several rounds shows it, and more rounds come nearer to it.
  let [known, unknown] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  const ratio = () => known / unknown;
  for (let round = 0; round < 40 && (round < 5 || ratio() < 0.5 || ratio() > 2); round++) {
    known = Math.min(known, await cost(hash));
    unknown = Math.min(unknown, await cost(undefined));
  }
  assert.ok(ratio() >= 0.5 && ratio() <= 2, `a known user costs ${ratio()} times as much`);
});
