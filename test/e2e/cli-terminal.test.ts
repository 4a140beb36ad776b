// What people see in a terminal: trust on first use, questions, the QR code, the editor.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Secret, TOTP } from 'otpauth';
import { startTestDaemon, type TestDaemon } from '../fixtures/daemon.ts';
import { Terminal } from '../fixtures/terminal.ts';

const PASSWORD = 'correct horse battery staple';
const BIN = resolve(import.meta.dirname, '../../bin');

describe('in a terminal', () => {
  let daemon: TestDaemon;
  const terminals: Terminal[] = [];
  let totp: TOTP;

  const open = (program: string, args: readonly string[], env: Readonly<Record<string, string>> = {}) => {
    const terminal = new Terminal([process.execPath, join(BIN, `${program}.js`), ...args], {
      env: { ...(process.env as Record<string, string>), ...daemon.tshEnv(), ...env },
    });
    terminals.push(terminal);
    return terminal;
  };

  before(async () => {
    daemon = await startTestDaemon({
      config: () => 'auth_service: {cluster_name: example.com}\nproxy_service: {web_listen_addr: "127.0.0.1:0"}\n',
    });
    mkdirSync(join(daemon.dir, 'home'));
  });

  after(async () => {
    for (const terminal of terminals) terminal.kill();
    await daemon.stop();
  });

  test('an invitation is accepted: password twice, a QR code, the first code', async () => {
    const added = await daemon.tctl(['users', 'add', 'alice', '--roles=access', '--logins=root']);
    const url = /https:\S+/.exec(added.stdout)![0].replace(/^https:\/\/[^/]+/, `https://${daemon.proxy}`);
    const terminal = open('tsh', ['invite', url]);
    await terminal.shows(
      /signed by the cluster's own authority[\s\S]*sha256:[0-9a-f]{64}[\s\S]*Trust it from now on\? \(yes\/no\)/,
    );
    assert.ok(terminal.shown.includes(daemon.caPin));
    terminal.type('yes');
    await terminal.shows(/Welcome to example\.com, alice\.[\s\S]*New password \(at least 12 characters\):/);
    terminal.type('short');
    await terminal.shows(/the password is too short[\s\S]*New password \(/);
    terminal.type(PASSWORD);
    await terminal.shows(/Once more:/);
    terminal.type(PASSWORD);
    const [, secret] = await terminal.shows(
      /[▀▄█]{10}[\s\S]*type in its secret: ([A-Z2-7]+)[\s\S]*Code that the app shows:/,
    );
    totp = new TOTP({ secret: Secret.fromBase32(secret!) });
    terminal.type('wrong');
    await terminal.shows(/the code is wrong[\s\S]*Code that the app shows:/);
    terminal.type(totp.generate());
    await terminal.shows(
      /Your account is ready\. Sign in with:\r?\n {2}tsh login --proxy=127\.0\.0\.1:\d+ --user=alice\r?\nThat sign-in needs the next code/,
    );
    assert.equal(await terminal.ended, 0);
    assert.ok(!terminal.shown.includes(PASSWORD));
  });

  test('tsh login: who says no to an unknown authority sends nothing', async () => {
    const terminal = open('tsh', ['login', `--proxy=${daemon.proxy}`, '--user=alice']);
    await terminal.shows(/Trust it from now on/);
    terminal.type('no');
    await terminal.shows(/ERROR: not trusted; nothing was sent/);
    assert.equal(await terminal.ended, 1);
  });

  test('tsh login --proxy=HOST:PORT asks for trust, password and code, and trusts from then on', async () => {
    const terminal = open('tsh', ['login', `--proxy=${daemon.proxy}`, '--user=alice']);
    await terminal.shows(/Trust it from now on/);
    terminal.type('yes');
    await terminal.shows(/Enter password for user alice:/);
    terminal.type(PASSWORD);
    await terminal.shows(/Enter an OTP code from a device:/);
    // The code of the invitation's time step is spent; the next one is good already.
    terminal.type(totp.generate({ timestamp: Date.now() + 30_000 }));
    await terminal.shows(
      /> Profile URL: {8}https:\/\/127\.0\.0\.1:\d+[\s\S]*Logged in as: {7}alice[\s\S]*Valid until:/,
    );
    assert.equal(await terminal.ended, 0);
    assert.ok(!terminal.shown.includes(PASSWORD));
    const again = open('tsh', ['login', `--proxy=${daemon.proxy}`, '--user=alice', '--ttl=60']);
    await again.shows(/Enter password for user alice:/);
    assert.doesNotMatch(again.shown, /Trust it/);
    again.kill();
    const still = await daemon.tsh(['login', `--proxy=${daemon.proxy}`]);
    assert.match(still.stdout, /^> Profile URL/);
  });

  test('tctl edit opens the editor, and writes back what was changed', async () => {
    const editor = (script: string) => ({ EDITOR: `sed -i ${script}` });
    const edit = (script: string, ref: string) => daemon.tctl(['edit', ref], { env: editor(script) });
    writeFileSync(
      join(daemon.dir, 'role.yaml'),
      'kind: role\nversion: v8\nmetadata: {name: quick}\nspec: {options: {client_idle_timeout: 10m}}\n',
    );
    await daemon.tctl(['create', join(daemon.dir, 'role.yaml')]);
    assert.equal((await edit('s/10m0s/5m/', 'role/quick')).stdout, 'role "quick" has been updated\n');
    assert.match((await daemon.tctl(['get', 'role/quick'])).stdout, /client_idle_timeout: 5m0s/);
    assert.equal((await edit('s/nothing/else/', 'role/quick')).stdout, 'edit canceled, no changes made\n');
    const renamed = await edit('s/quick/slow/', 'role/quick');
    const [, kept] =
      /^ERROR: renaming resources is not supported with tctl edit\nyour changes are kept in (\S+\.yaml); correct them, then tctl create -f \1\n$/.exec(
        renamed.stderr,
      )!;
    assert.match(readFileSync(kept!, 'utf8'), /name: slow/);
    rmSync(dirname(kept!), { recursive: true });
    const malformed = await edit('s/5m0s/5/', 'role/quick');
    const [, file] =
      /(\S+resource\.yaml):\d+: spec\.options\.client_idle_timeout: time: missing unit in duration "5"/.exec(
        malformed.stderr,
      )!;
    rmSync(dirname(file!), { recursive: true });
    const failed = await daemon.tctl(['edit', 'role/quick'], { env: { EDITOR: 'false' } });
    assert.equal(
      failed.stderr,
      'ERROR: skipping resource update, editor did not complete successfully: exit status 1\n',
    );
    const none = await daemon.tctl(['edit', 'role/quick'], { env: { EDITOR: '/nowhere/vi' } });
    assert.match(none.stderr, /^ERROR: could not start editor \/nowhere\/vi: /);
    assert.equal((await edit('s/best_effort/strict/', 'cap')).stdout, 'cluster auth preference has been updated\n');
  });

  test('tctl edit writes back also when the server has closed the connection meanwhile', async () => {
    const editor = join(daemon.dir, 'slow-editor');
    // Longer than the server keeps an idle connection (5 s).
    writeFileSync(editor, '#!/bin/sh\nsleep 6\nsed -i s/strict/best_effort/ "$1"\n', { mode: 0o755 });
    const edited = await daemon.tctl(['edit', 'cap'], { env: { EDITOR: editor } });
    assert.equal(edited.stderr, '');
    assert.equal(edited.stdout, 'cluster auth preference has been updated\n');
  });
});
