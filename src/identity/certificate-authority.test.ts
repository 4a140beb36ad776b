import assert from 'node:assert/strict';
import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { FakeClock } from '../../test/fixtures/fake-clock.ts';
import { memoryStore, testMasterKey } from '../../test/fixtures/identity.ts';
import { decodeCertificate, mintCertificate } from '../wire/ssh/certificate.ts';
import { decodeAuthorizedKey, decodePublicKey, encodeAuthorizedKey, encodePublicKey } from '../wire/ssh/keys.ts';
import { type ClusterAuthorities, loadCertAuthority } from './certificate-authority.ts';
import { AUTHORITY_TYPES } from './export-authority.ts';
import { SealedRecords } from './sealed-records.ts';
import { decodeTlsIdentity, encodeTlsIdentity } from './tls-identity.ts';

const HOUR = 3_600_000;

async function authorities(clock = new FakeClock(), store = memoryStore(clock)): Promise<ClusterAuthorities> {
  return loadCertAuthority({ store, masterKey: testMasterKey, clock, clusterName: 'example.com' });
}

const derOf = (pem: string) => new X509Certificate(pem).raw;
const sshBlob = (line: string) => decodeAuthorizedKey(line).blob;
const reasonOf = (result: { ok: boolean; reason?: string }) => (result.ok ? 'accepted' : (result.reason ?? ''));
const MINUTE = 60_000;

/** A person's certificate, as `tsh login` gets one. */
async function personsCertificate(ca: ClusterAuthorities, extensions: string[] = []): Promise<Buffer> {
  const { sshCert } = await ca.issueUserCertificates({
    user: 'alice',
    principals: ['root'],
    sshPublicKey: sshLine(),
    ttlMs: HOUR,
    extensions,
  });
  return sshBlob(sshCert!);
}

const spki = (key = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey) =>
  key.export({ format: 'der', type: 'spki' });
const sshLine = () => encodeAuthorizedKey(encodePublicKey(generateKeyPairSync('ed25519').publicKey));

describe('authorities at rest', () => {
  test('are made once, kept sealed, and the same after a restart', async () => {
    const clock = new FakeClock();
    const store = memoryStore(clock);
    const first = await authorities(clock, store);
    const second = await authorities(clock, store);
    assert.equal(second.sshUserCa, first.sshUserCa);
    assert.equal(second.tlsHostCa, first.tlsHostCa);
    assert.equal(second.caPin, first.caPin);
    assert.match(first.caPin, /^sha256:[0-9a-f]{64}$/);
    assert.deepEqual(
      second.mintSshHost(['a']).privateKey.export({ format: 'jwk' }),
      first.mintSshHost(['a']).privateKey.export({ format: 'jwk' }),
    );
    for (const { value } of await store.listRecords('authorities')) {
      assert.equal(Buffer.from(value).includes('BEGIN'), false);
      assert.equal(Buffer.from(value).includes('MC4CAQ'), false);
    }
  });

  test('two gateways that start at once on one store agree', async () => {
    const clock = new FakeClock();
    const store = memoryStore(clock);
    const [a, b] = await Promise.all([authorities(clock, store), authorities(clock, store)]);
    assert.equal(a.sshUserCa, b.sshUserCa);
    assert.equal(a.tlsUserCa, b.tlsUserCa);
    assert.equal(a.databaseCa, b.databaseCa);
  });

  test('six authorities, six keys', async () => {
    const ca = await authorities();
    assert.equal(
      new Set([ca.sshLoginCa, ca.sshUserCa, ca.sshHostCa, ca.tlsUserCa, ca.tlsHostCa, ca.databaseCa]).size,
      6,
    );
  });
});

describe('SSH user certificates', () => {
  test('an issued one is verified and says what was asked for', async () => {
    const clock = new FakeClock();
    const ca = await authorities(clock);
    const certificate = await personsCertificate(ca, ['permit-pty']);
    const verified = ca.verifySshUser(certificate, '10.0.0.1');
    assert.ok(verified.ok, reasonOf(verified));
    assert.equal(verified.identity.user, 'alice');
    assert.deepEqual(verified.identity.principals, ['root']);
    assert.deepEqual(verified.identity.extensions, ['permit-pty']);
    assert.equal(verified.identity.expiresAtMs, clock.wallMs() + HOUR);
    assert.match(verified.identity.serial, /^[0-9a-f]{1,16}$/);
  });

  test('valid from a minute before to its last millisecond, and not one more', async () => {
    const clock = new FakeClock();
    const ca = await authorities(clock);
    const start = clock.wallMs();
    const certificate = await personsCertificate(ca);
    const at = (ms: number) => {
      clock.setWall(ms);
      return reasonOf(ca.verifySshUser(certificate, '10.0.0.1'));
    };
    assert.equal(at(start - 60_000), 'accepted');
    assert.match(at(start - 60_001), /not valid yet/);
    assert.equal(at(start + HOUR - 1), 'accepted');
    assert.match(at(start + HOUR), /expired/);
  });

  test('refused: another authority, a host certificate, a changed byte, a plain key, nonsense', async () => {
    const ca = await authorities();
    const other = await authorities();
    const certificate = await personsCertificate(ca);
    assert.match(reasonOf(other.verifySshUser(certificate, '10.0.0.1')), /authority/);
    assert.match(reasonOf(ca.verifySshUser(ca.mintSshHost(['root']).certificate, '10.0.0.1')), /authority/);
    for (let at = 0; at < certificate.length; at++) {
      const changed = Buffer.from(certificate);
      changed[at]! ^= 1;
      assert.notEqual(reasonOf(ca.verifySshUser(changed, '10.0.0.1')), 'accepted', `byte ${at}`);
    }
    assert.match(reasonOf(ca.verifySshUser(sshBlob(ca.sshUserCa), '10.0.0.1')), /no certificate/);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => !ca.verifySshUser(Buffer.from(bytes), '10.0.0.1').ok),
    );
  });

  test('source-address holds, IPv4 inside of IPv6 too', async () => {
    const ca = await authorities();
    const { sshCert } = await ca.issueUserCertificates({
      user: 'alice',
      principals: ['root'],
      sshPublicKey: sshLine(),
      ttlMs: HOUR,
      extensions: [],
      sourceAddress: '10.1.0.0/16,2001:db8::/32',
    });
    const from = (ip: string) => ca.verifySshUser(sshBlob(sshCert!), ip).ok;
    assert.equal(from('10.1.255.255'), true);
    assert.equal(from('::ffff:10.1.2.3'), true);
    assert.equal(from('2001:db8::9'), true);
    assert.equal(from('10.2.0.1'), false);
    assert.equal(from('2001:db9::9'), false);
    assert.equal(from('not an address'), false);
    await assert.rejects(
      ca.issueUserCertificates({
        user: 'a',
        principals: ['r'],
        sshPublicKey: sshLine(),
        ttlMs: HOUR,
        extensions: [],
        sourceAddress: '!10.0.0.0/8',
      }),
      { code: 'bad_parameter' },
    );
  });

  test('our own authority’s certificate with other critical options, no principals or a strange user is refused', async () => {
    const clock = new FakeClock();
    const store = memoryStore(clock);
    const ca = await authorities(clock, store);
    const pkcs8 = (await new SealedRecords<string>(store, testMasterKey, 'authorities').get('ssh-login-ca'))!;
    const { createPrivateKey } = await import('node:crypto');
    const signer = createPrivateKey({ key: Buffer.from(pkcs8, 'base64'), format: 'der', type: 'pkcs8' });
    const mint = (more: object) =>
      mintCertificate({
        kind: 'user',
        publicKey: generateKeyPairSync('ed25519').publicKey,
        signer,
        serial: 7n,
        keyId: 'alice',
        principals: ['root'],
        validAfterMs: clock.wallMs(),
        validBeforeMs: clock.wallMs() + HOUR,
        ...more,
      });
    const verify = (more: object) => reasonOf(ca.verifySshUser(mint(more), '10.0.0.1'));
    assert.equal(verify({}), 'accepted');
    assert.match(verify({ criticalOptions: { 'force-command': 'true' } }), /unknown critical option force-command/);
    assert.match(verify({ criticalOptions: { 'source-address': '10.0.0.0/33' } }), /not good for/);
    assert.match(verify({ keyId: 'al\nice' }), /names no user/);
    assert.match(verify({ kind: 'host' }), /host certificate/);
    assert.equal(verify({ extensions: { 'login@github.com': 'x' } }), 'accepted');
  });
});

describe('logins at targets', () => {
  test('are certified by the authority that targets trust, which signs nobody in at a gateway', async () => {
    const clock = new FakeClock();
    const ca = await authorities(clock);
    const { certificate, privateKey } = ca.mintSshUser({
      user: 'alice',
      login: 'root',
      ttlMs: MINUTE,
      extensions: ['permit-pty'],
    });
    const { signatureKeyBlob, publicKeyBlob, keyId, principals, validAfter, validBefore } =
      decodeCertificate(certificate);
    assert.deepEqual(signatureKeyBlob, sshBlob(ca.sshUserCa));
    assert.deepEqual(publicKeyBlob, encodePublicKey(privateKey));
    assert.deepEqual([keyId, principals], ['alice', ['root']]);
    assert.deepEqual(
      [validAfter, validBefore],
      [BigInt(clock.wallMs() / 1000 - 60), BigInt(clock.wallMs() / 1000 + 60)],
    );
    assert.match(reasonOf(ca.verifySshUser(certificate, '10.0.0.1')), /authority/);
  });

  test('a target does not trust the authority of people’s own certificates', async () => {
    const ca = await authorities();
    assert.deepEqual(decodeCertificate(await personsCertificate(ca)).signatureKeyBlob, sshBlob(ca.sshLoginCa));
    for (const type of AUTHORITY_TYPES) assert.equal(ca.exportAuthority(type).includes(ca.sshLoginCa), false, type);
  });
});

describe('SSH host certificates', () => {
  test('one key, certificates by name, kept and renewed', async () => {
    const clock = new FakeClock();
    const ca = await authorities(clock);
    const a = ca.mintSshHost(['node1', 'NODE1.example.com']);
    assert.equal(ca.mintSshHost(['node1.example.com', 'node1']).certificate, a.certificate);
    assert.deepEqual(decodeCertificate(a.certificate).principals, ['node1', 'node1.example.com']);
    assert.equal(ca.mintSshHost(['node2']).privateKey, a.privateKey);
    clock.setWall(clock.wallMs() + 12 * HOUR);
    const later = ca.mintSshHost(['node1', 'node1.example.com']);
    assert.notEqual(later.certificate, a.certificate);
    assert.deepEqual(ca.verifySshHost(later.certificate, ['node1']), { ok: true });
    clock.setWall(clock.wallMs() - 48 * HOUR);
    assert.deepEqual(ca.verifySshHost(ca.mintSshHost(['node1', 'node1.example.com']).certificate, ['node1']), {
      ok: true,
    });
  });

  test('verified by authority, name and time', async () => {
    const clock = new FakeClock();
    const ca = await authorities(clock);
    const line = ca.issueHostCertificate({ sshPublicKey: sshLine(), names: ['Node1', '10.0.0.9'], ttlMs: HOUR });
    const blob = sshBlob(line);
    assert.deepEqual(ca.verifySshHost(blob, ['node1']), { ok: true });
    assert.deepEqual(ca.verifySshHost(blob, ['x', '10.0.0.9']), { ok: true });
    assert.match(reasonOf(ca.verifySshHost(blob, ['node2'])), /is for node1, 10.0.0.9/);
    assert.match(reasonOf(ca.verifySshHost(blob, [])), /is for/);
    assert.match(reasonOf((await authorities()).verifySshHost(blob, ['node1'])), /authority/);
    clock.setWall(clock.wallMs() + HOUR);
    assert.match(reasonOf(ca.verifySshHost(blob, ['node1'])), /expired/);
  });
});

describe('X.509', () => {
  test('a user certificate carries user and route, and nobody else’s is accepted', async () => {
    const clock = new FakeClock();
    const ca = await authorities(clock);
    const route = { kind: 'db', name: 'orders', dbUser: 'o=%&?', dbName: 'ünï' } as const;
    const { tlsCertPem, expiresAtMs } = await ca.issueUserCertificates({
      user: 'al "ice" =,+',
      principals: [],
      tlsPublicKeySpkiDer: spki(),
      ttlMs: HOUR + 250,
      route,
      extensions: [],
    });
    const verified = ca.verifyTlsUser(derOf(tlsCertPem!));
    assert.ok(verified.ok, reasonOf(verified));
    assert.equal(verified.identity.user, 'al "ice" =,+');
    assert.deepEqual(verified.identity.route, route);
    assert.equal(verified.identity.expiresAtMs, expiresAtMs);
    assert.equal(expiresAtMs, clock.wallMs() + HOUR);
    assert.match(verified.identity.serial, /^1[0-9a-f]{32}$/);
    assert.equal(new X509Certificate(tlsCertPem!).subject, 'O=example.com\nCN=al \\"ice\\" =\\,\\+');
    assert.match(reasonOf((await authorities()).verifyTlsUser(derOf(tlsCertPem!))), /authority/);
  });

  test('valid in its time only, whatever TLS thought of it', async () => {
    const clock = new FakeClock();
    const ca = await authorities(clock);
    const start = clock.wallMs();
    const { tlsCertPem } = await ca.issueUserCertificates({
      user: 'a',
      principals: [],
      tlsPublicKeySpkiDer: spki(),
      ttlMs: HOUR,
      extensions: [],
    });
    const at = (ms: number) => {
      clock.setWall(ms);
      return reasonOf(ca.verifyTlsUser(derOf(tlsCertPem!)));
    };
    assert.equal(at(start + HOUR - 1), 'accepted');
    assert.match(at(start + HOUR), /expired/);
    assert.equal(at(start - 60_000), 'accepted');
    assert.match(at(start - 60_001), /not valid yet/);
  });

  test('server and database certificates, and the authorities themselves, sign nobody in', async () => {
    const ca = await authorities();
    const server = await ca.mintTlsServer(['gw.example.com', '127.0.0.1', '::1']);
    const client = await ca.mintDatabaseClient({ dbUser: 'postgres', ttlMs: HOUR });
    for (const pem of [server.certPem, client.certPem, ca.tlsUserCa, ca.tlsHostCa, ca.databaseCa]) {
      assert.notEqual(reasonOf(ca.verifyTlsUser(derOf(pem))), 'accepted');
    }
    assert.match(new X509Certificate(server.certPem).subjectAltName ?? '', /DNS:gw.example.com/);
    assert.ok(new X509Certificate(server.certPem).checkIP('127.0.0.1'));
    assert.ok(new X509Certificate(server.certPem).checkIP('::1'));
    assert.equal(new X509Certificate(client.certPem).subject, 'O=example.com\nCN=postgres');
    assert.equal(await ca.mintTlsServer(['127.0.0.1', 'GW.example.com', '::1']), server);
  });

  test('a database certificate is given again until half of its life is over', async () => {
    const clock = new FakeClock();
    const ca = await authorities(clock);
    const mint = (dbUser = 'postgres', ttlMs = HOUR) => ca.mintDatabaseClient({ dbUser, ttlMs });
    const first = await mint();
    assert.equal(await mint(), first);
    assert.notEqual(await mint('other'), first);
    assert.notEqual(await mint('postgres', HOUR / 2), first);
    clock.setWall(clock.wallMs() + HOUR / 2);
    assert.notEqual(await mint(), first);
  });

  test('changed or random bytes never pass and never throw', async () => {
    const ca = await authorities();
    const { tlsCertPem } = await ca.issueUserCertificates({
      user: 'a',
      principals: [],
      tlsPublicKeySpkiDer: spki(),
      ttlMs: HOUR,
      extensions: [],
    });
    const der = derOf(tlsCertPem!);
    for (let at = 0; at < der.length; at++) {
      const changed = Buffer.from(der);
      changed[at]! ^= 0x20;
      assert.equal(ca.verifyTlsUser(changed).ok, false, `byte ${at}`);
    }
    assert.match(reasonOf(ca.verifyTlsUser(Buffer.concat([der, Buffer.from([0])]))), /followed by something else/);
    assert.equal(ca.verifyTlsUser(Buffer.from(tlsCertPem!)).ok, false, 'PEM is not DER');
    assert.equal(ca.verifyTlsUser(der).ok, true);
    assert.equal(ca.verifyTlsUser(der).ok, true, 'known by now');
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => !ca.verifyTlsUser(Buffer.from(bytes)).ok));
  });

  test('weak and strange keys are not certified', async () => {
    const ca = await authorities();
    const issue = (der: Uint8Array) =>
      ca.issueUserCertificates({ user: 'a', principals: ['r'], tlsPublicKeySpkiDer: der, ttlMs: HOUR, extensions: [] });
    await assert.rejects(issue(spki(generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey)), {
      code: 'bad_parameter',
    });
    await assert.rejects(issue(spki(generateKeyPairSync('x25519').publicKey)), { code: 'bad_parameter' });
    await assert.rejects(issue(Buffer.from('no key')), { code: 'bad_parameter' });
    await issue(spki(generateKeyPairSync('ed25519').publicKey));
    await assert.rejects(ca.mintTlsServer(['a b']), { code: 'bad_parameter' });
    await assert.rejects(ca.mintDatabaseClient({ dbUser: 'a\u0000b', ttlMs: HOUR }), { code: 'bad_parameter' });
    await assert.rejects(ca.mintDatabaseClient({ dbUser: 'a', ttlMs: 0 }), { code: 'bad_parameter' });
  });
});

describe('export', () => {
  test('prints what targets take', async () => {
    const ca = await authorities();
    assert.equal(ca.exportAuthority('user'), `cert-authority ${ca.sshUserCa} clustername=example.com&type=user\n`);
    assert.equal(decodePublicKey(decodeAuthorizedKey(ca.exportAuthority('user')).blob).type, 'ssh-ed25519');
    assert.equal(ca.exportAuthority('host'), `@cert-authority *.example.com,example.com ${ca.sshHostCa} type=host\n`);
    assert.equal(ca.exportAuthority('db'), ca.databaseCa);
    assert.deepEqual(Buffer.from(ca.exportAuthority('tls-user-der'), 'base64'), derOf(ca.tlsUserCa));
    for (const type of AUTHORITY_TYPES) assert.doesNotMatch(ca.exportAuthority(type), /PRIVATE/);
  });
});

describe('identity in a URI', () => {
  const name = fc
    .string({ minLength: 1, maxLength: 30, unit: 'grapheme-ascii' })
    .filter((s) => s.trim() === s && !/[/]| {2}|^\.{1,2}$/.test(s));
  test('round trip', () => {
    fc.assert(
      fc.property(
        name,
        name,
        name,
        fc.option(name, { nil: undefined }),
        fc.boolean(),
        (cluster, user, target, dbUser, db) => {
          const route = db
            ? { kind: 'db' as const, name: target, ...(dbUser !== undefined && { dbUser }) }
            : { kind: 'kube_cluster' as const, name: target };
          const identity = { cluster, user, route };
          assert.deepEqual(decodeTlsIdentity(encodeTlsIdentity(identity)), identity);
        },
      ),
    );
  });

  test('one way to write it', () => {
    for (const uri of [
      'nightlatch://c/user/',
      'nightlatch://c/user/a/b',
      'nightlatch://c/user/a?',
      'nightlatch://c/user/a?db=x&db=y',
      'nightlatch://c/user/a?db_user=x',
      'nightlatch://c/user/a?db=x&kube_cluster=y',
      'nightlatch://c/user/a?role=editor',
      'nightlatch://c/user/%61',
      'nightlatch://c/user/%',
      'nightlatch://c/user/%0a',
      'nightlatch://c/user/a#b',
      'NIGHTLATCH://c/user/a',
      `nightlatch://c/user/${'a'.repeat(65)}`,
    ]) {
      assert.equal(decodeTlsIdentity(uri), undefined, uri);
    }
    fc.assert(fc.property(fc.string(), (text) => decodeTlsIdentity(`nightlatch://${text}`) === undefined || true));
  });
});
