// Keys and certificates against OpenSSH's own tool, both ways. Needs ssh-keygen (package openssh-client).
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type ClusterAuthorities, loadCertAuthority } from '../../src/identity/certificate-authority.ts';
import { SealedRecords } from '../../src/identity/sealed-records.ts';
import { decodeCertificate, isSignatureValid, mintCertificate } from '../../src/wire/ssh/certificate.ts';
import { decodeAuthorizedKey, encodeAuthorizedKey, encodePublicKey, fingerprint } from '../../src/wire/ssh/keys.ts';
import { decodePrivateKey, encodePrivateKey } from '../../src/wire/ssh/private-key.ts';
import { FakeClock } from '../fixtures/fake-clock.ts';
import { memoryStore, testMasterKey } from '../fixtures/identity.ts';
import { sshKeys } from '../fixtures/ssh-keys.ts';

const HOUR = 3_600_000;
const dir = mkdtempSync(join(tmpdir(), 'nightlatch-ssh-keygen-'));
after(() => rmSync(dir, { recursive: true, force: true }));

function keygen(...args: string[]): string {
  const run = spawnSync('ssh-keygen', args, { cwd: dir, encoding: 'utf8', env: { ...process.env, TZ: 'UTC' } });
  if (run.error !== undefined) throw new Error('ssh-keygen is missing: install openssh-client', { cause: run.error });
  assert.equal(run.status, 0, `ssh-keygen ${args.join(' ')}: ${run.stderr}`);
  return run.stdout;
}

function save(name: string, content: string): string {
  writeFileSync(join(dir, name), content.endsWith('\n') ? content : `${content}\n`, { mode: 0o600 });
  return name;
}

/** What `ssh-keygen -L` says, a line each, without indentation. */
const describeCertificate = (line: string) => {
  save('shown-cert.pub', line);
  return keygen('-L', '-f', 'shown-cert.pub')
    .split('\n')
    .map((text) => text.trim());
};

describe('certificates that we mint', () => {
  for (const [caType, signer] of Object.entries(sshKeys)) {
    test(`ssh-keygen -L reads those signed by ${caType}`, () => {
      for (const [type, { publicKey }] of Object.entries(sshKeys)) {
        const blob = mintCertificate({
          kind: 'user',
          publicKey,
          signer: signer.privateKey,
          serial: 0xffff_ffff_ffff_fffen,
          keyId: 'älice',
          principals: ['root', 'deploy'],
          validAfterMs: Date.UTC(2026, 0, 15, 9),
          validBeforeMs: Date.UTC(2026, 0, 15, 21),
          criticalOptions: { 'source-address': '10.0.0.0/8' },
          extensions: { 'permit-pty': '', 'permit-agent-forwarding': '', 'permit-port-forwarding': '' },
        });
        const lines = describeCertificate(encodeAuthorizedKey(blob));
        assert.ok(lines.includes(`Type: ${type}-cert-v01@openssh.com user certificate`), lines.join('\n'));
        assert.ok(
          lines.some(
            (line) => line.startsWith('Public key:') && line.includes(fingerprint(encodePublicKey(publicKey))),
          ),
        );
        assert.ok(
          lines.some(
            (line) => line.startsWith('Signing CA:') && line.includes(fingerprint(encodePublicKey(signer.publicKey))),
          ),
        );
        assert.ok(caType !== 'ssh-rsa' || lines.some((line) => line.endsWith('(using rsa-sha2-512)')));
        assert.ok(lines.includes('Serial: 18446744073709551614'));
        assert.ok(lines.includes('Valid: from 2026-01-15T09:00:00 to 2026-01-15T21:00:00'));
        const tail = lines.slice(lines.indexOf('Principals:'));
        assert.deepEqual(
          tail.filter((line) => line !== ''),
          [
            'Principals:',
            'root',
            'deploy',
            'Critical Options:',
            'source-address 10.0.0.0/8',
            'Extensions:',
            'permit-agent-forwarding',
            'permit-port-forwarding',
            'permit-pty',
          ],
        );
      }
    });
  }
});

describe('keys', () => {
  for (const [type, { publicKey, privateKey }] of Object.entries(sshKeys)) {
    test(`${type}: a key file of ours is read, its fingerprint is the same`, () => {
      save('ours', encodePrivateKey(privateKey, 'a comment'));
      const printed = decodeAuthorizedKey(keygen('-y', '-f', 'ours'));
      assert.deepEqual(printed.blob, encodePublicKey(publicKey));
      assert.equal(keygen('-l', '-f', 'ours').split(' ')[1], fingerprint(printed.blob));
    });
  }

  for (const [type, bits] of [
    ['ed25519', ''],
    ['ecdsa', '256'],
    ['ecdsa', '384'],
    ['ecdsa', '521'],
    ['rsa', '2048'],
  ] as const) {
    test(`${type} ${bits}: a key file of ssh-keygen is read`, () => {
      const name = `theirs-${type}${bits}`;
      keygen('-q', '-t', type, ...(bits === '' ? [] : ['-b', bits]), '-N', '', '-C', 'their comment', '-f', name);
      const { privateKey, comment } = decodePrivateKey(readFileSync(join(dir, name), 'utf8'));
      assert.equal(comment, 'their comment');
      assert.deepEqual(
        encodePublicKey(privateKey),
        decodeAuthorizedKey(readFileSync(join(dir, `${name}.pub`), 'utf8')).blob,
      );
    });
  }

  test('one with a passphrase is refused, saying so', () => {
    keygen('-q', '-t', 'ed25519', '-N', 'passphrase', '-f', 'locked');
    assert.throws(() => decodePrivateKey(readFileSync(join(dir, 'locked'), 'utf8')), {
      code: 'decode',
      message: /passphrase/,
    });
  });
});

describe('certificates that ssh-keygen signs with our authority', () => {
  const clock = new FakeClock(Date.UTC(2026, 0, 15, 9));
  let ca: ClusterAuthorities;
  const VALID = '20260115085500Z:20260115100000Z';

  before(async () => {
    const store = memoryStore(clock);
    ca = await loadCertAuthority({ store, masterKey: testMasterKey, clock, clusterName: 'example.com' });
    const keys = new SealedRecords<string>(store, testMasterKey, 'authorities');
    const keyOf = async (name: string): Promise<KeyObject> =>
      createPrivateKey({ key: Buffer.from((await keys.get(name))!, 'base64'), format: 'der', type: 'pkcs8' });
    save('user-ca', encodePrivateKey(await keyOf('ssh-login-ca')));
    save('target-ca', encodePrivateKey(await keyOf('ssh-user-ca')));
    save('host-ca', encodePrivateKey(await keyOf('ssh-host-ca')));
    save('other-ca', encodePrivateKey(generateKeyPairSync('ed25519').privateKey));
    save('subject.pub', encodeAuthorizedKey(encodePublicKey(sshKeys['ecdsa-sha2-nistp384'].publicKey)));
  });

  const sign = (authority: string, ...options: string[]): Buffer => {
    keygen('-q', '-s', authority, '-I', 'alice', '-z', '7', ...options, 'subject.pub');
    return decodeAuthorizedKey(readFileSync(join(dir, 'subject-cert.pub'), 'utf8')).blob;
  };
  const verdict = (blob: Buffer, ip = '10.0.0.1') => {
    const verified = ca.verifySshUser(blob, ip);
    return verified.ok ? 'accepted' : verified.reason;
  };

  test('accepted, with what it says', () => {
    const blob = sign('user-ca', '-n', 'root,deploy', '-V', VALID);
    assert.ok(isSignatureValid(decodeCertificate(blob)));
    const verified = ca.verifySshUser(blob, '10.0.0.1');
    assert.ok(verified.ok);
    assert.deepEqual(verified.identity, {
      user: 'alice',
      serial: '7',
      expiresAtMs: Date.UTC(2026, 0, 15, 10),
      principals: ['root', 'deploy'],
      extensions: [
        'permit-X11-forwarding',
        'permit-agent-forwarding',
        'permit-port-forwarding',
        'permit-pty',
        'permit-user-rc',
      ],
    });
  });

  test('refused', () => {
    assert.match(verdict(sign('user-ca', '-n', 'root', '-V', '20260114090000Z:20260115090000Z')), /has expired/);
    assert.match(verdict(sign('user-ca', '-n', 'root', '-V', '20260115090001Z:20260115100000Z')), /not valid yet/);
    assert.match(verdict(sign('other-ca', '-n', 'root', '-V', VALID)), /not from this cluster/);
    assert.match(verdict(sign('host-ca', '-n', 'root', '-V', VALID)), /not from this cluster/);
    assert.match(verdict(sign('target-ca', '-n', 'root', '-V', VALID)), /not from this cluster/);
    assert.match(verdict(sign('user-ca', '-h', '-n', 'root', '-V', VALID)), /host certificate/);
    assert.match(verdict(sign('user-ca', '-V', VALID)), /no principals/);
    assert.match(
      verdict(sign('user-ca', '-n', 'root', '-V', VALID, '-O', 'force-command=id')),
      /unknown critical option force-command/,
    );
    assert.match(
      verdict(sign('user-ca', '-n', 'root', '-V', VALID, '-O', 'verify-required')),
      /unknown critical option verify-required/,
    );
    assert.match(
      verdict(sign('user-ca', '-n', 'root', '-V', VALID, '-O', 'critical:x@example.com=y')),
      /unknown critical option x@example.com/,
    );
  });

  test('source-address', () => {
    const blob = sign('user-ca', '-n', 'root', '-V', VALID, '-O', 'source-address=10.0.0.0/8,2001:db8::/64');
    assert.equal(verdict(blob, '10.9.9.9'), 'accepted');
    assert.equal(verdict(blob, '2001:db8::1'), 'accepted');
    assert.match(verdict(blob, '11.0.0.1'), /not good for connections from 11.0.0.1/);
    assert.match(verdict(blob, '2001:db8:0:1::1'), /not good for/);
  });

  test('an extension that nobody knows changes nothing', () => {
    assert.equal(
      verdict(sign('user-ca', '-n', 'root', '-V', VALID, '-O', 'clear', '-O', 'extension:x@example.com=y')),
      'accepted',
    );
  });

  test('host certificates: name, kind, authority, time', () => {
    const host = (blob: Buffer, ...names: string[]) => {
      const verified = ca.verifySshHost(blob, names);
      return verified.ok ? 'accepted' : verified.reason;
    };
    const blob = sign('host-ca', '-h', '-n', 'node1,node1.example.com', '-V', VALID);
    assert.equal(host(blob, 'node1.example.com'), 'accepted');
    assert.match(host(blob, 'node2'), /not for node2/);
    assert.match(host(sign('host-ca', '-n', 'node1', '-V', VALID), 'node1'), /user certificate/);
    assert.match(host(sign('user-ca', '-h', '-n', 'node1', '-V', VALID), 'node1'), /not from this cluster/);
    assert.match(host(sign('host-ca', '-h', '-V', VALID), 'node1'), /no principals/);
    assert.match(
      host(sign('host-ca', '-h', '-n', 'node1', '-V', '20250101000000Z:20250102000000Z'), 'node1'),
      /expired/,
    );
  });

  test('what we issue for tsh and for servers is what ssh-keygen expects', async () => {
    const sshPublicKey = readFileSync(join(dir, 'subject.pub'), 'utf8').trim();
    const { sshCert, expiresAtMs } = await ca.issueUserCertificates({
      user: 'alice',
      principals: ['root'],
      sshPublicKey,
      ttlMs: 12 * HOUR,
      extensions: ['permit-pty'],
      sourceAddress: '10.0.0.1',
    });
    assert.equal(expiresAtMs, Date.UTC(2026, 0, 15, 21));
    const lines = describeCertificate(sshCert!);
    assert.ok(lines.includes('Key ID: "alice"'));
    assert.ok(lines.includes('Valid: from 2026-01-15T08:59:00 to 2026-01-15T21:00:00'));
    assert.ok(lines.includes('source-address 10.0.0.1'));
    const host = describeCertificate(
      ca.issueHostCertificate({ sshPublicKey, names: ['node1', 'node1.example.com'], ttlMs: HOUR }),
    );
    assert.ok(host.includes('Type: ecdsa-sha2-nistp384-cert-v01@openssh.com host certificate'));
    assert.ok(host.includes('node1.example.com'));
  });

  test('exports are files that OpenSSH reads', () => {
    save('trusted', ca.exportAuthority('openssh'));
    assert.match(keygen('-l', '-f', 'trusted'), /ED25519/);
    save('known_hosts', ca.exportAuthority('host'));
    assert.match(keygen('-F', 'node1.example.com', '-f', 'known_hosts'), /@cert-authority/);
  });
});
