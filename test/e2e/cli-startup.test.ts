// The command lines start quickly because they load little. Their time depends on the machine (bench/cli-startup.ts measures it); what they load does not.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { after, before, test } from 'node:test';
import { runCommand, startTestDaemon, type TestDaemon } from '../fixtures/daemon.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const PASSWORD = 'correct horse battery staple';

let daemon: TestDaemon;

before(async () => {
  daemon = await startTestDaemon({
    config: () =>
      'auth_service: {cluster_name: example.com, authentication: {second_factor: off}}\nproxy_service: {web_listen_addr: "127.0.0.1:0"}\n',
  });
  const added = await daemon.tctl(['users', 'add', 'alice', '--roles=access', '--logins=root', '--format=json']);
  const url = (JSON.parse(added.stdout) as { url: string }).url.replace(/^https:\/\/[^/]+/, `https://${daemon.proxy}`);
  const pin = ['--ca-pin', daemon.caPin, '--password-fd', '3'];
  await daemon.tsh(['invite', url, ...pin], { fds: [PASSWORD] });
  const { status, stderr } = await daemon.tsh(['login', `--proxy=${daemon.proxy}`, '--user=alice', ...pin], {
    fds: [PASSWORD],
  });
  assert.equal(status, 0, stderr);
});

after(() => daemon?.stop());

interface Loaded {
  readonly stdout: string;
  /** Files of ours, from the root of the tree. */
  readonly ours: readonly string[];
  readonly packages: readonly string[];
  /** Node's own, by their internal names: `tls`, `internal/deps/undici/undici`. */
  readonly internal: ReadonlySet<string>;
}

async function load(program: string, args: readonly string[]): Promise<Loaded> {
  const list = join(daemon.dir, 'loaded-modules');
  const preload = join(ROOT, 'test/fixtures/loaded-modules.mjs');
  const command = [process.execPath, '--import', preload, join(ROOT, 'bin', `${program}.js`), ...args];
  const { status, stdout, stderr } = await runCommand(command, {
    env: { ...daemon.tshEnv(), LOADED_MODULES: list },
  });
  assert.equal(status, 0, stderr);
  const lines = readFileSync(list, 'utf8').split('\n');
  const files = lines.filter((line) => line.startsWith('file://')).map((url) => url.slice(`file://${ROOT}/`.length));
  const packageOf = (file: string) => /^node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(file)?.[1];
  return {
    stdout,
    ours: files.filter((file) => packageOf(file) === undefined),
    packages: [...new Set(files.map(packageOf).filter((name) => name !== undefined))].sort(),
    internal: new Set(
      lines.filter((line) => line.startsWith('NativeModule ')).map((line) => line.slice('NativeModule '.length)),
    ),
  };
}

test('help loads the list of commands and nothing that runs them', async () => {
  for (const program of ['tsh', 'tctl']) {
    const { stdout, ours, packages, internal } = await load(program, ['--help']);
    assert.match(stdout, new RegExp(`Usage: ${program}`));
    assert.deepEqual(packages, ['commander']);
    assert.ok(ours.length <= 9, ours.join('\n'));
    assert.ok(!internal.has('tls') && !internal.has('http'));
  }
});

test('tsh status loads a TLS client beside that, and no package but the parser of command lines', async () => {
  const { stdout, ours, packages, internal } = await load('tsh', ['status']);
  assert.match(stdout, /Logged in as:\s+alice\n[\s\S]*Idle timeout:\s+never\n/);
  assert.deepEqual(packages, ['commander']);
  assert.ok(ours.length <= 15, ours.join('\n'));
  assert.ok(internal.has('tls') && !internal.has('internal/deps/undici/undici'));
});

test('tsh ls adds what lays out a table', async () => {
  const { ours, packages, internal } = await load('tsh', ['ls']);
  assert.ok(packages.includes('cli-table3') && packages.length <= 7, packages.join('\n'));
  assert.ok(ours.length <= 16, ours.join('\n'));
  assert.ok(!internal.has('internal/deps/undici/undici'));
});

test('tctl get prints YAML and loads neither the schemas of resources nor TLS', async () => {
  const { stdout, ours, packages, internal } = await load('tctl', ['-c', daemon.configFile, 'get', 'cap']);
  assert.match(stdout, /^kind: cluster_auth_preference\n/);
  assert.deepEqual(packages, ['commander', 'yaml']);
  assert.ok(ours.length <= 22, ours.join('\n'));
  assert.ok(!internal.has('internal/deps/undici/undici') && !internal.has('tls'));
});
