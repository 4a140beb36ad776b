// Whom tsh trusts: a pinned CA, an operator's own certificate, nobody who has taken the gateway's place.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { startTestDaemon, type TestDaemon } from '../fixtures/daemon.ts';

const PASSWORD = 'correct horse battery staple';

describe('trust', () => {
  const dir = mkdtempSync(join(tmpdir(), 'nightlatch-trust-'));
  const path = (name: string) => join(dir, name);
  let daemon: TestDaemon;

  const start = (dataDir: string, more = '', port = 0) =>
    startTestDaemon({
      dir: dataDir,
      config: () =>
        `auth_service: {cluster_name: example.com, authentication: {second_factor: off}}\nproxy_service:\n  web_listen_addr: "127.0.0.1:${port}"\n${more}`,
    });

  const signIn = (...args: string[]) =>
    daemon.tsh(['login', `--proxy=${daemon.proxy}`, '--user=alice', '--password-fd', '3', ...args], {
      fds: [PASSWORD],
    });

  async function invite(): Promise<void> {
    const added = await daemon.tctl(['users', 'add', 'alice', '--roles=access', '--logins=root', '--format=json']);
    const url = (JSON.parse(added.stdout) as { url: string }).url.replace(
      /^https:\/\/[^/]+/,
      `https://${daemon.proxy}`,
    );
    const accepted = await daemon.tsh(['invite', url, '--insecure', '--password-fd', '3'], { fds: [PASSWORD] });
    assert.equal(accepted.status, 0, accepted.stderr);
  }

  before(async () => {
    const ec = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
    const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: dir, stdio: 'ignore' });
    openssl('req', '-x509', ...ec, '-keyout', 'ca.key', '-out', 'ca.pem', '-subj', '/CN=Corporate CA', '-days', '2');
    openssl('req', ...ec, '-keyout', 'operator.key', '-out', 'operator.csr', '-subj', '/CN=gateway');
    writeFileSync(path('san'), 'subjectAltName=IP:127.0.0.1,DNS:localhost\n');
    openssl(
      'x509',
      '-req',
      '-in',
      'operator.csr',
      '-CA',
      'ca.pem',
      '-CAkey',
      'ca.key',
      '-out',
      'operator.pem',
      '-days',
      '2',
      '-extfile',
      'san',
    );
  });

  after(async () => {
    await daemon?.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  test('--insecure warns, and what was seen then is insisted upon afterwards', async () => {
    daemon = await start(mkdir('first'));
    await invite();
    const first = await signIn('--insecure');
    assert.equal(first.status, 0, first.stderr);
    assert.match(first.stderr, /^WARNING: /);
    const listed = await daemon.tsh(['ls']);
    assert.equal(listed.status, 0, listed.stderr);
    assert.equal(listed.stderr, '');
  });

  test('another cluster in the same place is refused, and told nothing', async () => {
    const { port } = daemon;
    const home = daemon.tshEnv();
    await daemon.stop();
    daemon = await start(mkdir('second'), '', port);
    const env = { ...home };
    const listed = await daemon.tsh(['ls'], { env });
    assert.match(listed.stderr, /^ERROR: the certificate of \S+ is not trusted: /);
    const login = await daemon.tsh(
      ['login', `--proxy=${daemon.proxy}`, '--user=alice', '--ttl=1h', '--password-fd', '3'],
      { env, fds: [PASSWORD] },
    );
    assert.equal(login.status, 1);
    assert.match(login.stderr, /somebody may be in between/);
    const ssh = await daemon.tsh(['ssh', 'web', 'true'], { env });
    assert.equal(ssh.status, 255);
    assert.match(ssh.stderr, /ERROR: the certificate of \S+ is not trusted: /);
    const events = await daemon.tctl(['audit', 'query', '--event=user.login', '--format=json']);
    assert.equal(events.stdout, '');
  });

  test('an operator’s own certificate is checked against the CAs of the system', async () => {
    await daemon.stop();
    daemon = await start(
      mkdir('third'),
      `  https_keypairs: [{key_file: ${path('operator.key')}, cert_file: ${path('operator.pem')}}]\n`,
    );
    await invite();
    const unknown = await signIn();
    assert.equal(unknown.status, 1);
    assert.match(unknown.stderr, /is not trusted/);
    const env = { SSL_CERT_FILE: path('ca.pem') };
    const login = await daemon.tsh(
      ['login', `--proxy=${daemon.proxy}`, '--user=alice', '--password-fd', '3', '--ca-pin', daemon.caPin],
      { fds: [PASSWORD], env },
    );
    assert.equal(login.status, 0, login.stderr);
    const profile = readFileSync(join(daemon.tshEnv().NIGHTLATCH_HOME!, '127.0.0.1.yaml'), 'utf8');
    assert.match(profile, /^trust: "system"$/m);
    assert.equal((await daemon.tsh(['ls'], { env })).status, 0);
    assert.equal((await daemon.tsh(['ls'])).status, 1);
    assert.ok(existsSync(join(daemon.tshEnv().NIGHTLATCH_HOME!, 'keys/127.0.0.1/cas/example.com.pem')));
  });

  function mkdir(name: string): string {
    mkdirSync(path(name));
    return path(name);
  }
});
