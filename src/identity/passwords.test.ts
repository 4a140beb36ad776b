import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { DecodeError } from '../core/errors.ts';
import { Secret } from '../core/secret.ts';
import { checkNewPassword, DEFAULT_ARGON2, decodePasswordHash, PasswordHasher } from './passwords.ts';

const CHEAP = { memory: 64, passes: 1, parallelism: 1 };
const secret = (text: string) => new Secret(text);

describe('passwords', () => {
  test('are hashed with argon2id in the PHC format and checked', async () => {
    const hasher = new PasswordHasher();
    const hash = await hasher.hash(secret('correct horse'));
    assert.match(hash, /^\$argon2id\$v=19\$m=65536,t=3,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/);
    assert.deepEqual(await hasher.verify(secret('correct horse'), hash), { ok: true, outdated: false });
    assert.deepEqual(await hasher.verify(secret('correct horsf'), hash), { ok: false, outdated: false });
  });

  test('a hash by the reference implementation is understood', async () => {
    // From the test suite of the reference implementation (phc-winner-argon2, test.c).
    const vector = '$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc';
    assert.deepEqual(await new PasswordHasher().verify(secret('password'), vector), { ok: true, outdated: true });
  });

  test('composed and decomposed characters are the same password', async () => {
    const hasher = new PasswordHasher({ parameters: CHEAP });
    const hash = await hasher.hash(secret('Gr\u00fc\u00dfe aus Wien'));
    assert.equal((await hasher.verify(secret('Gru\u0308\u00dfe aus Wien'), hash)).ok, true);
  });

  test('an absent hash never matches', async () => {
    const { ok } = await new PasswordHasher({ parameters: CHEAP }).verify(secret('correct horse'), undefined);
    assert.equal(ok, false);
  });

  test('too short, too long, control characters', () => {
    const refused = (text: string, message: RegExp) =>
      assert.throws(() => checkNewPassword(secret(text)), { code: 'bad_parameter', message });
    refused('elevenchars', /too short, the minimum is 12/);
    refused('a'.repeat(129), /longer than 128/);
    refused(`correct\u0000horse battery`, /control characters/);
    refused(`correct\u001b[31mhorse`, /control characters/);
    refused(`correct\ud800horse!`, /control characters/);
    refused('a'.repeat(1_000_000), /longer than 128/);
    checkNewPassword(secret('😀'.repeat(12)));
    checkNewPassword(secret('a'.repeat(128)));
  });

  test('hashes with other costs than today’s are to be made anew', async () => {
    const old = await new PasswordHasher({ parameters: CHEAP }).hash(secret('correct horse'));
    assert.deepEqual(
      await new PasswordHasher({ parameters: { ...CHEAP, passes: 2 } }).verify(secret('correct horse'), old),
      { ok: true, outdated: true },
    );
  });

  test('only so many at a time, only so many in line', async () => {
    const hasher = new PasswordHasher({ parameters: { ...CHEAP, memory: 1024 }, concurrency: 2, queue: 3 });
    const results = await Promise.allSettled(
      Array.from({ length: 9 }, () => hasher.verify(secret('correct horse'), undefined)),
    );
    assert.equal(results.filter(({ status }) => status === 'fulfilled').length, 5);
    for (const result of results) if (result.status === 'rejected') assert.equal(result.reason.code, 'limit_exceeded');
    // Everybody who was in line is through, and the places are free again.
    await Promise.all(Array.from({ length: 5 }, () => hasher.verify(secret('correct horse'), undefined)));
  });

  test('a default that is at least what OWASP asks for', () => {
    assert.ok(DEFAULT_ARGON2.memory >= 47_104 && DEFAULT_ARGON2.passes >= 1);
  });

  test('the decoder of hashes throws DecodeErrors only', () => {
    const seed = '$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc';
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc
            .tuple(fc.nat(seed.length), fc.string({ maxLength: 3 }))
            .map(([at, text]) => seed.slice(0, at) + text + seed.slice(at + 1)),
        ),
        (text) => {
          try {
            decodePasswordHash(text);
          } catch (error) {
            assert.ok(error instanceof DecodeError);
          }
        },
      ),
    );
    for (const bad of ['m=9999999,t=1,p=1', 'm=64,t=0,p=1', 'm=64,t=1,p=0', 'm=4,t=1,p=1']) {
      assert.throws(() => decodePasswordHash(seed.replace('m=64,t=1,p=1', bad)), DecodeError, bad);
    }
  });
});
