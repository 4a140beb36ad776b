import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { before, describe, test } from 'node:test';
import fc from 'fast-check';
import { parse } from 'yaml';
import { FakeClock } from '../../test/fixtures/fake-clock.ts';
import { memoryStore, testMasterKey } from '../../test/fixtures/identity.ts';
import { DecodeError } from '../core/errors.ts';
import { Secret } from '../core/secret.ts';
import { encodeAuthorizedKey, encodePublicKey } from '../wire/ssh/keys.ts';
import { decodePrivateKey, encodePrivateKey } from '../wire/ssh/private-key.ts';
import { loadCertAuthority } from './certificate-authority.ts';
import { knownHostsLine } from './export-authority.ts';
import { decodeIdentityFile, encodeIdentityFile, type IdentityFile } from './identity-file.ts';
import { signForFormat } from './sign-formats.ts';

async function sampleIdentity(): Promise<IdentityFile> {
  const clock = new FakeClock();
  const ca = await loadCertAuthority({
    store: memoryStore(clock),
    masterKey: testMasterKey,
    clock,
    clusterName: 'example.com',
  });
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const issued = await ca.issueUserCertificates({
    user: 'robot',
    principals: ['root'],
    sshPublicKey: encodeAuthorizedKey(encodePublicKey(publicKey)),
    tlsPublicKeySpkiDer: publicKey.export({ format: 'der', type: 'spki' }),
    ttlMs: 3_600_000,
    extensions: ['permit-pty'],
  });
  return {
    privateKey: new Secret(privateKey),
    sshCert: issued.sshCert!,
    tlsCertPem: issued.tlsCertPem!,
    sshAuthorities: [knownHostsLine(ca, 'example.com')],
    tlsAuthorities: [ca.tlsHostCa, ca.tlsUserCa],
  };
}

let identity: IdentityFile;
before(async () => {
  identity = await sampleIdentity();
});

describe('identity files', () => {
  test('round trip in the order Teleport writes', () => {
    const text = encodeIdentityFile(identity);
    assert.match(
      text,
      /^-----BEGIN PRIVATE KEY-----\n[^-]+-----END PRIVATE KEY-----\necdsa-sha2-nistp256-cert-v01@openssh.com \S+ robot\n-----BEGIN CERT[^@]+@cert-authority \S+ ssh-ed25519 \S+ type=host\n(-----BEGIN CERTIFICATE-----\n[^-]+-----END CERTIFICATE-----\n){2}$/,
    );
    const decoded = decodeIdentityFile(text.replaceAll('\n', '\r\n'));
    assert.equal(encodeIdentityFile(decoded), text);
    assert.equal(JSON.stringify(decoded).includes('PRIVATE'), false);
  });

  test('a file whose parts do not belong together, or are missing, is refused', async () => {
    const other = await sampleIdentity();
    const refused = (part: Partial<IdentityFile>, message: RegExp) =>
      assert.throws(() => decodeIdentityFile(encodeIdentityFile({ ...identity, ...part })), {
        code: 'decode',
        message,
      });
    refused({ privateKey: other.privateKey }, /not for its key/);
    refused({ sshCert: other.sshCert }, /not for its key/);
    refused({ tlsCertPem: other.tlsCertPem }, /not for its key/);
    refused({ sshCert: '' }, /lacks/);
    refused({ sshCert: `${identity.sshCert}\n${identity.sshCert}` }, /more than one/);
    refused({ tlsCertPem: '', tlsAuthorities: [] }, /lacks/);
  });

  test('random and changed text ends in a DecodeError or in an identity', () => {
    const text = encodeIdentityFile(identity);
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string({ maxLength: 400 }),
          fc
            .tuple(fc.nat(text.length), fc.nat(60), fc.string({ maxLength: 5 }))
            .map(([at, cut, more]) => text.slice(0, at) + more + text.slice(at + cut)),
        ),
        (changed) => {
          try {
            decodeIdentityFile(changed);
          } catch (error) {
            assert.ok(error instanceof DecodeError, String(error));
          }
        },
      ),
      { numRuns: 300 },
    );
  });
});

describe('formats of tctl auth sign', () => {
  test('openssh: the key, and the certificate beside it', () => {
    const { privateKey } = generateKeyPairSync('ed25519');
    const files = signForFormat('robot', {
      format: 'openssh',
      privateKey: new Secret(privateKey),
      sshCert: 'ssh-ed25519-cert-v01@openssh.com AAAA',
    });
    assert.deepEqual(
      files.map(({ path }) => path),
      ['robot', 'robot-cert.pub'],
    );
    assert.deepEqual(
      decodePrivateKey(files[0]!.content).privateKey.export({ format: 'jwk' }),
      privateKey.export({ format: 'jwk' }),
    );
    assert.notEqual(files[0]!.content, encodePrivateKey(privateKey), 'the check number is random');
  });

  test('db: key, certificate and authorities', () => {
    const files = signForFormat('server', { format: 'db', keyPem: new Secret('K'), certPem: 'C', caPem: 'A' });
    assert.deepEqual(files, [
      { path: 'server.key', content: 'K' },
      { path: 'server.crt', content: 'C' },
      { path: 'server.cas', content: 'A' },
    ]);
  });

  test('kubernetes: a kubeconfig, whatever the names hold', () => {
    const user = 'o"brien: {x}\n- y';
    const [file] = signForFormat('kubeconfig', {
      format: 'kubernetes',
      kubeconfig: {
        clusterName: 'example.com',
        kubeCluster: 'prod',
        server: 'https://gw.example.com:3026',
        tlsServerName: 'kube.gw.example.com',
        user,
        caPem: 'CA',
        certPem: 'CERT',
        keyPem: new Secret('KEY'),
      },
    });
    const config = parse(file!.content);
    assert.equal(config['current-context'], 'example.com-prod');
    assert.equal(config.users[0].name, `example.com-prod-${user}`);
    assert.equal(config.contexts[0].context.user, `example.com-prod-${user}`);
    assert.equal(Buffer.from(config.users[0].user['client-key-data'], 'base64').toString(), 'KEY');
    assert.deepEqual(config.clusters[0].cluster, {
      server: 'https://gw.example.com:3026',
      'tls-server-name': 'kube.gw.example.com',
      'certificate-authority-data': 'Q0E=',
    });
  });
});
