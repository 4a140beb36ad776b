// tsh desktop: the browser is signed in by a ticket that is good once.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type Browser, chromium } from 'playwright-core';
import { startTestDaemon, type TestDaemon } from '../fixtures/daemon.ts';

const PASSWORD = 'correct horse battery staple';

describe('tsh desktop', () => {
  let daemon: TestDaemon;
  let browser: Browser;

  before(async () => {
    daemon = await startTestDaemon({
      config: () =>
        'auth_service: {cluster_name: example.com, authentication: {second_factor: off}}\nproxy_service: {web_listen_addr: "127.0.0.1:0"}\n',
    });
    const desktop = {
      kind: 'windows_desktop',
      version: 'v3',
      metadata: { name: 'work station', labels: { env: 'test' } },
      spec: { addr: '127.0.0.1:1', protocol: 'vnc' },
    };
    writeFileSync(join(daemon.dir, 'desktop.yaml'), JSON.stringify(desktop));
    const made = await daemon.tctl(['create', join(daemon.dir, 'desktop.yaml')]);
    assert.equal(made.stdout, 'windows desktop "work station" has been updated\n', made.stderr);
    const added = await daemon.tctl([
      'users',
      'add',
      'alice',
      '--roles=access',
      '--windows-logins=ann',
      '--format=json',
    ]);
    const url = (JSON.parse(added.stdout) as { url: string }).url.replace(
      /^https:\/\/[^/]+/,
      `https://${daemon.proxy}`,
    );
    const pin = ['--ca-pin', daemon.caPin, '--password-fd', '3'];
    assert.equal((await daemon.tsh(['invite', url, ...pin], { fds: [PASSWORD] })).status, 0);
    const login = await daemon.tsh(['login', `--proxy=${daemon.proxy}`, '--user=alice', ...pin], { fds: [PASSWORD] });
    assert.equal(login.status, 0, login.stderr);
    browser = await chromium.launch({
      executablePath: '/usr/bin/chromium',
      args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking'],
    });
  });

  after(async () => {
    await browser?.close();
    await daemon.stop();
  });

  test('ls', async () => {
    const { stdout } = await daemon.tsh(['desktop', 'ls']);
    assert.equal(
      stdout,
      'Name         Protocol Address     Logins Labels\n------------ -------- ----------- ------ --------\nwork station vnc      127.0.0.1:1 ann    env=test\n',
    );
  });

  test('tctl desktop password: kept, listed without the password, forgotten', async () => {
    const login = ['work station', '--login=ann'];
    const password = (args: string[], fds?: string[]) =>
      daemon.tctl(['desktop', 'password', ...args], fds === undefined ? {} : { fds });
    const set = await password(['set', ...login, '--password-fd', '3'], ['for the desktop\n']);
    assert.equal(set.stdout, 'The password of "ann" on desktop "work station" is kept.\n', set.stderr);
    const { stdout } = await password(['ls']);
    assert.equal(stdout, 'Desktop      Login\n------------ -----\nwork station ann\n');
    assert.deepEqual(JSON.parse((await password(['ls', '--format=json'])).stdout), [
      { desktop: 'work station', login: 'ann' },
    ]);
    assert.equal(
      (await password(['rm', ...login])).stdout,
      'The password of "ann" on desktop "work station" is forgotten.\n',
    );
    assert.equal((await password(['ls'])).stdout, 'No passwords are kept\n');
    const again = await password(['rm', ...login]);
    assert.equal(again.stderr, 'ERROR: no password of "ann" on desktop "work station" is kept\n');
    const asked = await password(['set', ...login]);
    assert.match(asked.stderr, /^ERROR: there is no terminal to ask for the password; pass it with --password-fd/);
  });

  test('open leads to the desktop, signed in; the ticket is spent and not kept', async () => {
    const { stdout, stderr } = await daemon.tsh(['desktop', 'open', 'work station', '--print']);
    const address = stdout.trim();
    assert.match(address, /^https:\/\/127\.0\.0\.1:\d+\/web\/ticket#ticket=[\w-]{43}&to=/, stderr);
    const context = await browser.newContext({ ignoreHTTPSErrors: true });
    const page = await context.newPage();
    await page.goto(address);
    await page.waitForURL(`https://${daemon.proxy}/web/desktop/work%20station/ann`);
    const session = await page.evaluate(async () => (await fetch('/v1/web/session')).text());
    assert.match(session, /"user":"alice"/);
    const other = await browser.newContext({ ignoreHTTPSErrors: true });
    const late = await other.newPage();
    await late.goto(address);
    await late.getByRole('alert').getByText('The ticket was used, or has expired.').waitFor();
    assert.deepEqual(await other.cookies(), []);
    // Who is signed in already is not made somebody else.
    const again = await daemon.tsh(['desktop', 'open', 'work station', '--print']);
    await page.goto('about:blank');
    await page.goto(again.stdout.trim());
    await page.waitForURL(`https://${daemon.proxy}/web/desktop/work%20station/ann`);
  });

  test('what is not there, and whom one may not be, is said', async () => {
    const unknown = await daemon.tsh(['desktop', 'open', 'nowhere']);
    assert.match(unknown.stderr, /^ERROR: desktop "nowhere" not found, use 'tsh desktop ls'/);
    await daemon.tctl(['users', 'update', 'alice', '--set-windows-logins=ann,bob']);
    const unclear = await daemon.tsh(['desktop', 'open', 'work station']);
    assert.match(unclear.stderr, /^ERROR: please say as whom, with --login \(allowed: ann, bob\)\n$/);
  });
});
