// What a real OpenSSH server lets in that trusts what `tctl auth export` prints. Needs openssh-client and openssh-server.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type ClusterAuthorities, loadCertAuthority } from '../../src/identity/certificate-authority.ts';
import { encodeAuthorizedKey } from '../../src/wire/ssh/keys.ts';
import { encodePrivateKey } from '../../src/wire/ssh/private-key.ts';
import { FakeClock } from '../fixtures/fake-clock.ts';
import { memoryStore, testMasterKey } from '../fixtures/identity.ts';
import { sshKeys } from '../fixtures/ssh-keys.ts';

const LOGIN = userInfo().username;
const HOUR = 3_600_000;
const dir = mkdtempSync(join(tmpdir(), 'nightlatch-target-'));
after(() => rmSync(dir, { recursive: true, force: true }));

let ca: ClusterAuthorities;

function save(name: string, content: string): string {
  const path = join(dir, name);
  writeFileSync(path, `${content.trim()}\n`, { mode: 0o600 });
  return path;
}

before(async () => {
  const clock = new FakeClock(Date.now());
  ca = await loadCertAuthority({
    store: memoryStore(clock),
    masterKey: testMasterKey,
    clock,
    clusterName: 'example.com',
  });
  // sshd run by root refuses to start without its empty directory.
  if (process.getuid?.() === 0 && !existsSync('/run/sshd')) mkdirSync('/run/sshd', { mode: 0o755 });
  const hostKey = sshKeys['ecdsa-sha2-nistp256'].privateKey;
  const hostPublic = spawnSync('ssh-keygen', ['-y', '-f', save('host', encodePrivateKey(hostKey))], {
    encoding: 'utf8',
  }).stdout;
  save(
    'host-cert.pub',
    ca.issueHostCertificate({ sshPublicKey: hostPublic, names: ['target.example.com'], ttlMs: HOUR }),
  );
  save('known_hosts', ca.exportAuthority('host'));
  // The published instruction: tctl auth export --type=user | sed s/cert-authority\ //
  save('trusted', ca.exportAuthority('user').replace('cert-authority ', ''));
  save(
    'sshd_config',
    `HostKey ${dir}/host
HostCertificate ${dir}/host-cert.pub
TrustedUserCAKeys ${dir}/trusted
AuthorizedKeysFile none
UsePAM no
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
PidFile none
LogLevel ERROR`,
  );
});

/** Runs `echo` over the real client and a real server that lives for this connection; the host certificate is checked, too. */
function login(privateKey: string, certificate: string): { ok: boolean; output: string } {
  save('id', privateKey);
  save('id-cert.pub', certificate);
  const options = [
    `ProxyCommand=/usr/sbin/sshd -i -f ${dir}/sshd_config`,
    `IdentityFile=${dir}/id`,
    `CertificateFile=${dir}/id-cert.pub`,
    'IdentitiesOnly=yes',
    'BatchMode=yes',
    'StrictHostKeyChecking=yes',
    `UserKnownHostsFile=${dir}/known_hosts`,
    'GlobalKnownHostsFile=/dev/null',
    'UpdateHostKeys=no',
  ].flatMap((option) => ['-o', option]);
  const args = ['-F', 'none', ...options, `${LOGIN}@target.example.com`, 'echo in'];
  const run = spawnSync('ssh', args, { encoding: 'utf8', timeout: 60_000 });
  if (run.error !== undefined)
    throw new Error('ssh failed to run: install openssh-client and openssh-server', { cause: run.error });
  return { ok: run.status === 0 && run.stdout === 'in\n', output: run.stdout + run.stderr };
}

test('the gateway’s login is let in, by a host whose certificate is ours', () => {
  const { privateKey, certificate } = ca.mintSshUser({
    user: 'alice',
    login: LOGIN,
    ttlMs: HOUR,
    extensions: ['permit-pty'],
  });
  const result = login(encodePrivateKey(privateKey), encodeAuthorizedKey(certificate));
  assert.ok(result.ok, result.output);
});

test('a person’s own certificate is not: there is no way past the gateway', async () => {
  const { privateKey } = sshKeys['ssh-ed25519'];
  const sshPublicKey = spawnSync('ssh-keygen', ['-y', '-f', save('id', encodePrivateKey(privateKey))], {
    encoding: 'utf8',
  }).stdout;
  const request = { user: 'alice', principals: [LOGIN], sshPublicKey, ttlMs: HOUR, extensions: [] };
  const { sshCert } = await ca.issueUserCertificates(request);
  const result = login(readFileSync(join(dir, 'id'), 'utf8'), sshCert!);
  assert.equal(result.ok, false);
  assert.match(result.output, /Permission denied/);
});

test('a login for another account is not let in', () => {
  const { privateKey, certificate } = ca.mintSshUser({ user: 'alice', login: 'somebody', ttlMs: HOUR, extensions: [] });
  assert.match(login(encodePrivateKey(privateKey), encodeAuthorizedKey(certificate)).output, /Permission denied/);
});
