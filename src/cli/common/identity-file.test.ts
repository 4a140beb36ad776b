import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../../test/fixtures/fake-clock.ts';
import { memoryStore, testMasterKey } from '../../../test/fixtures/identity.ts';
import { loadCertAuthority } from '../../identity/certificate-authority.ts';
import { describeSshCertificate, formatIdentityFile, parseIdentityFile } from './identity-file.ts';
import { generateKeyPair } from './key-pair.ts';

test('an identity file holds all that tsh -i needs, and is read back', async () => {
  const clock = new FakeClock();
  const ca = await loadCertAuthority({
    store: memoryStore(clock),
    masterKey: testMasterKey,
    clock,
    clusterName: 'example.com',
  });
  const { createPublicKey } = await import('node:crypto');
  const keys = generateKeyPair();
  const issued = await ca.issueUserCertificates({
    user: 'robot',
    principals: ['deploy', 'root'],
    sshPublicKey: keys.sshPublicKey,
    tlsPublicKeySpkiDer: createPublicKey(keys.tlsPublicKey).export({ type: 'spki', format: 'der' }),
    ttlMs: 3_600_000,
    extensions: ['permit-pty'],
  });
  const identity = {
    privateKey: keys.privatePem,
    sshCertificate: issued.sshCert!,
    tlsCertificate: issued.tlsCertPem!,
    clusterName: 'example.com',
    sshHostCa: ca.sshHostCa,
    tlsHostCa: ca.tlsHostCa,
  };
  const text = formatIdentityFile(identity);
  const read = parseIdentityFile(text, 'id.pem');
  assert.deepEqual(
    Object.fromEntries(Object.entries(read).map(([key, value]) => [key, value.trim()])),
    Object.fromEntries(Object.entries(identity).map(([key, value]) => [key, value.trim()])),
  );
  assert.deepEqual(describeSshCertificate(read.sshCertificate), {
    user: 'robot',
    logins: ['deploy', 'root'],
    extensions: ['permit-pty'],
    expiresAtMs: issued.expiresAtMs,
  });
  for (const [missing, without] of [
    ['a private key', text.replace(/-----BEGIN EC PRIVATE[\s\S]*?END EC PRIVATE KEY-----/, '')],
    ['an SSH certificate', text.replace(/^ecdsa-.*$/m, '')],
    ["the cluster's SSH certificate authority", text.replace(/^@cert-authority.*$/m, '')],
    ['a private key', 'nonsense'],
  ] as const) {
    assert.throws(() => parseIdentityFile(without, 'id.pem'), {
      code: 'bad_parameter',
      message: `id.pem is no identity file: it lacks ${missing}`,
    });
  }
});
