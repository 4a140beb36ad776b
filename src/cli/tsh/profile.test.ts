import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, describe, test } from 'node:test';
import fc from 'fast-check';
import { parse } from 'yaml';
import { writeFileAtomic } from '../common/files.ts';
import { type Profile, ProfileStore, safePathPart } from './profile.ts';

const PROFILE: Profile = {
  host: 'gateway.example.com',
  port: 3080,
  user: 'ann',
  cluster: 'example.com',
  roles: ['access'],
  logins: ['root'],
  extensions: ['permit-pty'],
  expiresAtMs: 1_800_000_000_000,
  trust: 'cluster',
  caPin: 'sha256:00',
  sshPort: 3023,
  idleTimeoutMs: 600_000,
  idleTimeoutSource: 'role "x": #y',
};

describe('profiles', () => {
  const home = mkdtempSync(join(tmpdir(), 'tsh-profile-'));
  after(() => rmSync(home, { recursive: true, force: true }));

  test('are YAML, private, and read back as written', () => {
    const store = new ProfileStore(join(home, 'a'));
    assert.equal(store.read(), undefined);
    assert.deepEqual(store.list(), []);
    store.write(PROFILE);
    assert.deepEqual(store.read(), PROFILE);
    assert.deepEqual(store.list(), [PROFILE]);
    const file = join(store.home, 'gateway.example.com.yaml');
    assert.equal(statSync(file).mode & 0o777, 0o600);
    assert.equal(statSync(store.home).mode & 0o777, 0o700);
    const yaml = parse(readFileSync(file, 'utf8'));
    assert.equal(yaml.web_proxy_host, 'gateway.example.com');
    assert.equal(yaml.idle_timeout_source, 'role "x": #y');
  });

  test('several are kept apart; the last one written is the current one', () => {
    const store = new ProfileStore(join(home, 'b'));
    store.write(PROFILE);
    store.write({ ...PROFILE, host: 'other.example.org' });
    assert.equal(store.read()!.host, 'other.example.org');
    assert.equal(store.read('gateway.example.com')!.host, 'gateway.example.com');
    const paths = store.paths(PROFILE);
    for (const path of [paths.key, paths.tlsCertificate, paths.sshCertificate, paths.database('orders')]) {
      writeFileAtomic(path, 'x');
    }
    store.remove(PROFILE);
    assert.throws(() => statSync(paths.dir), { code: 'ENOENT' });
    assert.equal(store.read('gateway.example.com'), undefined);
    assert.equal(store.read()!.host, 'other.example.org');
  });

  test('a damaged one is said to be damaged', () => {
    const store = new ProfileStore(join(home, 'c'));
    store.write(PROFILE);
    for (const text of ['', 'web_proxy_host: "h"\n', 'web_proxy_port: {\n', 'user: 1\n']) {
      writeFileSync(join(store.home, 'gateway.example.com.yaml'), text);
      assert.throws(() => store.read(), { code: 'bad_parameter', message: /sign in again/ }, text);
    }
  });

  test('no name reaches outside its folder or meets another', () => {
    const seen = new Map<string, string>();
    for (const plain of ['ann', 'ann@example.com', 'a.b-c_d', '10.0.0.1', '::1'])
      assert.equal(safePathPart(plain), plain);
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 }), (name) => {
        const part = safePathPart(name);
        assert.equal(resolve('/base', part), `/base/${part}`);
        assert.doesNotMatch(part, /^\.|[/\\\0-\x1f]/);
        assert.equal(seen.get(part) ?? name, name);
        seen.set(part, name);
      }),
    );
    for (const name of ['', '.', '..', '../x', '/etc', 'a/b']) {
      if (name === '') assert.throws(() => safePathPart(name));
      else assert.doesNotMatch(safePathPart(name), /^\.|\//);
    }
  });
});
