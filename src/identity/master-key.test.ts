import assert from 'node:assert/strict';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import fc from 'fast-check';
import { testMasterKey } from '../../test/fixtures/identity.ts';
import { NightlatchError } from '../core/errors.ts';
import { loadMasterKey, MASTER_KEY_FILE } from './master-key.ts';

const root = mkdtempSync(join(tmpdir(), 'nightlatch-key-'));
after(() => rmSync(root, { recursive: true, force: true }));
let counter = 0;
const newDir = () => join(root, String(counter++));
const plain = Buffer.from('secret');

describe('the key file', () => {
  test('is made once, for its owner only, and read again', () => {
    const dir = newDir();
    const sealed = loadMasterKey(dir).seal('b', 'k', plain);
    assert.deepEqual(loadMasterKey(dir).open('b', 'k', sealed), plain);
    assert.equal(statSync(join(dir, MASTER_KEY_FILE)).mode & 0o777, 0o600);
    assert.deepEqual(readdirSync(dir), [MASTER_KEY_FILE]);
    assert.match(readFileSync(join(dir, MASTER_KEY_FILE), 'utf8'), /^nightlatch-master-key-v1 [A-Za-z0-9+/]{43}=\n$/);
  });

  test('is refused where others can read it, where it is no plain file, and where it is damaged', () => {
    for (const mode of [0o640, 0o604, 0o620, 0o602, 0o601]) {
      const dir = newDir();
      loadMasterKey(dir);
      chmodSync(join(dir, MASTER_KEY_FILE), mode);
      assert.throws(() => loadMasterKey(dir), { code: 'unavailable', message: /must be 0600/ });
    }
    const link = newDir();
    mkdirSync(link);
    symlinkSync('/dev/zero', join(link, MASTER_KEY_FILE));
    assert.throws(() => loadMasterKey(link), { code: 'unavailable' });
    const folder = newDir();
    mkdirSync(join(folder, MASTER_KEY_FILE), { recursive: true, mode: 0o700 });
    assert.throws(() => loadMasterKey(folder), { code: 'unavailable', message: /not a plain file/ });
    for (const content of [
      '',
      'nightlatch-master-key-v1 ',
      'nightlatch-master-key-v1 AAAA\n',
      'x'.repeat(10_000),
      `nightlatch-master-key-v1 ${'-'.repeat(43)}=`,
    ]) {
      const dir = newDir();
      mkdirSync(dir);
      writeFileSync(join(dir, MASTER_KEY_FILE), content, { mode: 0o600 });
      assert.throws(() => loadMasterKey(dir), { code: 'unavailable', message: /damaged/ });
      assert.equal(readFileSync(join(dir, MASTER_KEY_FILE), 'utf8'), content, 'it is left as it is');
    }
  });
});

describe('sealing', () => {
  test('opens under its own bucket, key and master key only', () => {
    const sealed = testMasterKey.seal('bucket', 'key', plain);
    assert.deepEqual(testMasterKey.open('bucket', 'key', sealed), plain);
    assert.throws(() => testMasterKey.open('bucket', 'kez', sealed), NightlatchError);
    assert.throws(() => testMasterKey.open('bucketkey', '', sealed), NightlatchError);
    assert.throws(() => loadMasterKey(newDir()).open('bucket', 'key', sealed), {
      message: /master\.key is not the one/,
    });
    assert.notDeepEqual(testMasterKey.seal('bucket', 'key', plain), sealed);
    assert.equal(sealed.includes(plain), false);
  });

  test('nothing that was changed opens, and nothing else than an error comes of it', () => {
    const sealed = testMasterKey.seal('bucket', 'key', plain);
    for (let bit = 0; bit < sealed.length * 8; bit++) {
      const changed = Buffer.from(sealed);
      changed[bit >> 3]! ^= 1 << (bit & 7);
      assert.throws(() => testMasterKey.open('bucket', 'key', changed), NightlatchError);
    }
    for (let end = 0; end < sealed.length; end++) {
      assert.throws(() => testMasterKey.open('bucket', 'key', sealed.subarray(0, end)), NightlatchError);
    }
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
        assert.throws(() => testMasterKey.open('bucket', 'key', bytes), NightlatchError);
      }),
    );
  });
});
