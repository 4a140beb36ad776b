import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { DecodeError, NightlatchError } from '../../core/errors.ts';
import { Secret } from '../../core/secret.ts';
import { md5Response, SCRAM, SCRAM_PLUS, ScramClient, saslPrep } from './scram.ts';

const password = new Secret('pencil');
const client = (mechanisms: readonly string[], channelBinding?: Buffer) =>
  new ScramClient({ password, mechanisms, channelBinding, nonce: Buffer.from('rOprNGfwEbeRWgbNEkqO'.slice(0, 18)) });

describe('SCRAM-SHA-256', () => {
  test('the example of RFC 7677, with the user name PostgreSQL leaves empty', async () => {
    const scram = client([SCRAM]);
    const first = scram.first().toString();
    assert.match(first, /^n,,n=,r=/);
    const nonce = first.slice('n,,n=,r='.length);
    const serverFirst = `r=${nonce}%hvYDpWUa2RaTCAfuxFIlj)hNlF,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096`;
    const final = (await scram.final(serverFirst)).toString();
    assert.ok(final.startsWith(`c=biws,r=${nonce}%hvYDpWUa2RaTCAfuxFIlj)hNlF,p=`));
    // A signature that is not the server's.
    assert.throws(() => scram.verify('v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4='), NightlatchError);
    assert.throws(() => scram.verify('e=invalid-proof'), /invalid-proof/);
  });

  test('binds to the channel where the server offers it, and says so where it does not', () => {
    const binding = Buffer.alloc(32, 1);
    assert.match(client([SCRAM, SCRAM_PLUS], binding).first().toString(), /^p=tls-server-end-point,,/);
    assert.match(client([SCRAM], binding).first().toString(), /^y,,/);
    assert.match(client([SCRAM, SCRAM_PLUS]).first().toString(), /^n,,/);
    assert.equal(client([SCRAM, SCRAM_PLUS]).mechanism, SCRAM);
    assert.throws(() => client(['OAUTHBEARER']), NightlatchError);
    assert.throws(() => client([SCRAM_PLUS]), NightlatchError);
  });

  test('refuses what is no answer to it', async () => {
    for (const bad of ['', 'r=x,s=AAAA,i=4096', 'r=,s=,i=0'])
      await assert.rejects(client([SCRAM]).final(bad), DecodeError);
    const nonce = client([SCRAM]).first().toString().slice(8);
    for (const bad of [
      `r=${nonce},s=AAAA,i=4096`,
      `r=${nonce}x,s=,i=4096`,
      `r=${nonce}x,s=AAAA,i=2000000`,
      `r=${nonce}x,s=AAAA,i=x`,
    ])
      await assert.rejects(client([SCRAM]).final(bad), DecodeError);
    await fc.assert(
      fc.asyncProperty(fc.string(), async (text) => {
        await assert.rejects(client([SCRAM]).final(text), DecodeError);
        assert.throws(() => client([SCRAM]).verify(text), NightlatchError);
      }),
    );
  });

  test('passwords are prepared', () => {
    assert.equal(saslPrep('pencil'), 'pencil');
    assert.equal(saslPrep('I\u00adX'), 'IX');
    assert.equal(saslPrep('\u2168'), 'IX');
    assert.equal(saslPrep('a\u00a0b'), 'a b');
  });
});

test('md5 as PostgreSQL has it', () => {
  // md5(md5('secretpostgres') + 01020304), computed by another program.
  assert.equal(
    md5Response('postgres', new Secret('secret'), Buffer.from([1, 2, 3, 4])),
    'md5bb41a296aab6baccb36ff243a562abff',
  );
});
