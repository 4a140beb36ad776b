// X.509 certificates against OpenSSL's own tool. Needs openssl (package openssl).
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type ClusterAuthorities, loadCertAuthority } from '../../src/identity/certificate-authority.ts';
import { FakeClock } from '../fixtures/fake-clock.ts';
import { memoryStore, testMasterKey } from '../fixtures/identity.ts';

const HOUR = 3_600_000;
const START = Date.UTC(2026, 0, 15, 9);
const dir = mkdtempSync(join(tmpdir(), 'nightlatch-openssl-'));
after(() => rmSync(dir, { recursive: true, force: true }));

function openssl(...args: string[]): { ok: boolean; output: string } {
  const run = spawnSync('openssl', args, { cwd: dir, encoding: 'utf8' });
  if (run.error !== undefined) throw new Error('openssl is missing: install openssl', { cause: run.error });
  return { ok: run.status === 0, output: run.stdout + run.stderr };
}

function save(name: string, content: string): string {
  writeFileSync(join(dir, name), content);
  return name;
}

/** `openssl verify` at a time, as strict as it gets. */
function verify(
  leaf: string,
  caFile: string,
  purpose: 'sslclient' | 'sslserver',
  atMs: number,
  ...more: string[]
): boolean {
  save('leaf.pem', leaf);
  const time = String(Math.floor(atMs / 1000));
  return openssl('verify', '-x509_strict', '-purpose', purpose, '-attime', time, ...more, '-CAfile', caFile, 'leaf.pem')
    .ok;
}

const clock = new FakeClock(START);
let ca: ClusterAuthorities;

before(async () => {
  ca = await loadCertAuthority({
    store: memoryStore(clock),
    masterKey: testMasterKey,
    clock,
    clusterName: 'example.com',
  });
  save('user-ca.pem', ca.tlsUserCa);
  save('host-ca.pem', ca.tlsHostCa);
  save('db-ca.pem', ca.databaseCa);
});

test('the authorities stand for themselves and say what they are', () => {
  for (const file of ['user-ca.pem', 'host-ca.pem', 'db-ca.pem']) {
    assert.ok(
      openssl('verify', '-x509_strict', '-check_ss_sig', '-attime', String(START / 1000), '-CAfile', file, file).ok,
      file,
    );
    const { output } = openssl('x509', '-in', file, '-noout', '-text');
    assert.match(output, /Subject: O ?= ?example.com, CN ?= ?example.com (user|host|database) CA/);
    assert.match(output, /CA:TRUE, pathlen:0/);
    assert.match(output, /Certificate Sign, CRL Sign/);
  }
});

test('user certificates, in their time, of their authority, for clients', async () => {
  const { tlsCertPem } = await ca.issueUserCertificates({
    user: 'alice',
    principals: [],
    tlsPublicKeySpkiDer: generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({
      format: 'der',
      type: 'spki',
    }),
    ttlMs: HOUR,
    route: { kind: 'kube_cluster', name: 'prod' },
    extensions: [],
  });
  assert.ok(verify(tlsCertPem!, 'user-ca.pem', 'sslclient', START));
  assert.ok(!verify(tlsCertPem!, 'user-ca.pem', 'sslserver', START));
  assert.ok(!verify(tlsCertPem!, 'host-ca.pem', 'sslclient', START));
  assert.ok(!verify(tlsCertPem!, 'user-ca.pem', 'sslclient', START + HOUR + 1000));
  assert.ok(!verify(tlsCertPem!, 'user-ca.pem', 'sslclient', START - 61_000));
  const { output } = openssl('x509', '-in', 'leaf.pem', '-noout', '-text');
  assert.match(output, /URI:nightlatch:\/\/example.com\/user\/alice\?kube_cluster=prod/);
  assert.match(output, /CA:FALSE/);
});

test('server certificates, by name and address', async () => {
  const { certPem, keyPem } = await ca.mintTlsServer(['gw.example.com', '*.gw.example.com', '10.0.0.1']);
  assert.ok(verify(certPem, 'host-ca.pem', 'sslserver', START, '-verify_hostname', 'gw.example.com'));
  assert.ok(verify(certPem, 'host-ca.pem', 'sslserver', START, '-verify_hostname', 'kube.gw.example.com'));
  assert.ok(verify(certPem, 'host-ca.pem', 'sslserver', START, '-verify_ip', '10.0.0.1'));
  assert.ok(!verify(certPem, 'host-ca.pem', 'sslserver', START, '-verify_hostname', 'example.com'));
  assert.ok(!verify(certPem, 'host-ca.pem', 'sslclient', START));
  save('server.key', keyPem);
  const publicOf = (...args: string[]) => openssl(...args).output.trim();
  assert.equal(
    publicOf('x509', '-in', 'leaf.pem', '-noout', '-pubkey'),
    publicOf('pkey', '-in', 'server.key', '-pubout'),
  );
});

test('database certificates, both ways', async () => {
  const client = await ca.mintDatabaseClient({ dbUser: 'postgres', ttlMs: HOUR });
  assert.ok(verify(client.certPem, 'db-ca.pem', 'sslclient', START));
  assert.ok(!verify(client.certPem, 'user-ca.pem', 'sslclient', START));
  assert.match(openssl('x509', '-in', 'leaf.pem', '-noout', '-subject').output, /CN ?= ?postgres/);
  const server = await ca.issueDatabaseServer({ names: ['db.example.com'], ttlMs: 90 * 24 * HOUR });
  assert.ok(verify(server.certPem, 'db-ca.pem', 'sslserver', START, '-verify_hostname', 'db.example.com'));
});
