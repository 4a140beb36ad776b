// `npm start`, and every command that it and the README tell people to try, word for word.
import assert from 'node:assert/strict';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { chromium } from 'playwright-core';
import { whatContainersLack } from '../../scripts/demo/cluster/containers.ts';
import { kubectlPath } from '../fixtures/kube/kubectl.ts';
import { until } from '../fixtures/ssh/processes.ts';
import { Terminal } from '../fixtures/terminal.ts';
import { CHROMIUM, FLAGS } from '../fixtures/web/world.ts';

const ROOT = resolve(import.meta.dirname, '../..');
/** Many programs start here: what Node has compiled is kept. */
const cache = join(tmpdir(), 'node-compile-cache');
const LOGIN = userInfo().username;
/** All that it says at last. */
const RUNNING =
  /Nightlatch is running: https:\/\/localhost:(\d+) {2}\(Ctrl-C ends it; [\s\S]*kubectl exec -it web -- sh/;

describe('npm start', { timeout: 240_000 }, () => {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'nightlatch-demo-')));
  const data = join(folder, 'data');
  /** Where the demos make their temporary folders: the first, and the one that is ended while it starts. */
  const [scratch, secondScratch] = [join(folder, 't'), join(folder, 'u')];
  const opened: Terminal[] = [];
  let demo: Terminal;
  let port: string;

  /** A terminal in the checkout, with a home and nothing else of this machine's user. */
  const terminal = (command: string, env: Readonly<Record<string, string>> = {}): Terminal => {
    const own = {
      PATH: `${join(folder, 'bin')}:${process.env['PATH']}`,
      HOME: join(folder, 'home'),
      LANG: 'C.UTF-8',
      NODE_COMPILE_CACHE: cache,
      ...env,
    };
    const made = new Terminal(['/bin/sh', '-c', command], { cwd: ROOT, env: own });
    opened.push(made);
    return made;
  };
  /** `npm start` with options, or what it runs. */
  const startDemo = (options: string, start = 'npm start --', tmp = scratch): Terminal =>
    terminal(`exec ${start} ${options}`, { TMPDIR: tmp });
  /** A command of the banner, whose words it must have. */
  const advised = (command: RegExp, env?: Readonly<Record<string, string>>): Terminal => {
    const [, found] =
      new RegExp(`(?:^|\\n) +(?:\\d\\. |And: )? *(npx ${command.source})\\r?\\n`).exec(demo.shown) ?? [];
    assert.ok(found, `${command} is not in what the demo says:\n${demo.shown}`);
    return terminal(found, env);
  };

  const password = (): string => / {2}user {6}demo\r\n {2}password {2}(\S+) /.exec(demo.shown)![1]!;

  before(async () => {
    assert.equal(whatContainersLack(), undefined);
    for (const path of ['bin', 'home', 't', 'u']) mkdirSync(join(folder, path));
    symlinkSync(kubectlPath('1.35'), join(folder, 'bin/kubectl'));
    // As root the database runs under another user.
    chmodSync(folder, 0o755);
    demo = startDemo(`--port=0 --data-dir=${data}`);
    const help = startDemo('--help');
    port = (await demo.shows(RUNNING))[1]!;
    assert.equal(await help.ended, 0);
    for (const option of ['--port <port>', '--ssh-port <port>', '--data-dir <dir>', '--fresh'])
      assert.ok(help.shown.includes(option), help.shown);
  });

  after(async () => {
    // They end their containers and the mounts of these where they can.
    for (const each of opened) each.interrupt();
    const all = () => [...left(scratch), ...left(secondScratch)];
    await until(() => all().length === 0, 'the demos end', 20_000).catch(() => undefined);
    for (const each of opened) each.kill();
    for (const { pid } of all()) process.kill(pid, 'SIGKILL');
    await Promise.all(opened.map(({ ended }) => ended));
    rmSync(folder, { recursive: true, force: true });
  });

  /** Processes of a demo's, those in its containers too: its folder is in their command, their environment or their root. */
  function left(tmp: string): { pid: number; what: string }[] {
    const isRoot = new RegExp(` \\S*${tmp}/\\S* / `);
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map((name) => ({ pid: Number(name), what: ofProcess(Number(name), 'cmdline') }))
      .filter(
        ({ pid, what }) =>
          what.includes(`${tmp}/`) ||
          ofProcess(pid, 'environ').includes(`TMPDIR=${tmp} `) ||
          isRoot.test(ofProcess(pid, 'mountinfo')),
      );
  }

  async function nothingIsLeft(tmp: string): Promise<void> {
    await until(
      () => left(tmp).length === 0,
      'every process of the demo has ended',
      20_000,
      () => JSON.stringify(left(tmp)),
    );
    assert.deepEqual(readdirSync(tmp), []);
    assert.doesNotMatch(readFileSync('/proc/self/mountinfo', 'utf8'), new RegExp(`${tmp}/`));
  }

  test('tsh login, with the password that the demo shows', async () => {
    const login = advised(/tsh login --proxy=localhost:\d+ --user=demo --ca-pin=sha256:[0-9a-f]{64}/);
    await login.shows(/Enter password for user demo:/);
    login.type(password());
    assert.equal(await login.ended, 0, login.shown);
    assert.match(login.shown, /Logged in as: +demo/);
  });

  describe('at the same time', { concurrency: true }, () => {
    test('ended by a supervisor while it starts: nothing is left, and nothing is said to be running', async () => {
      const started = startDemo(`--port=0 --data-dir=${join(folder, 'second')}`, 'npm start --', secondScratch);
      const containers = () => readdirSync(secondScratch).some((name) => name.startsWith('nlk-'));
      await until(containers, 'containers are being started', 60_000, () => started.shown);
      process.kill(started.pid, 'SIGTERM');
      await started.ended;
      assert.doesNotMatch(started.shown, /Nightlatch is running|ERROR|goes without/);
      await nothingIsLeft(secondScratch);
    });

    test('a second one says that the first has the folder, or the port, and what to do', async () => {
      const start = (options: string) => startDemo(options, 'node scripts/demo.ts');
      const [folderTaken, portTaken, notIts] = [
        start(`--port=0 --data-dir=${data}`),
        start(`--port=${port} --ssh-port=0 --data-dir=${join(folder, 'other')}`),
        start(`--fresh --port=0 --data-dir=${join(folder, 'home')}`),
      ];
      for (const each of [folderTaken, portTaken, notIts]) assert.equal(await each.ended, 1, each.shown);
      assert.match(folderTaken.shown, /ERROR: the store \S+ is in use by another Nightlatch: stop that one first/);
      assert.match(portTaken.shown, new RegExp(`ERROR: cannot listen on 127\\.0\\.0\\.1:${port} .*already in use`));
      for (const { shown } of [folderTaken, portTaken])
        assert.match(shown, /ERROR: .*\r\nA second demo needs .*: npm start -- --data-dir=tmp\/demo --port=0\r\n/);
      assert.match(notIts.shown, /ERROR: \S+home is no data directory of Nightlatch: it stays as it is/);
    });

    test('the database', async () => {
      const psql = advised(/tsh db connect demo/);
      await psql.shows(/demo=[#>]/);
      psql.type("select current_user || '-' || 6 * 7 as answer;");
      await psql.shows(/demo-42/);
      psql.type('\\q');
      assert.equal(await psql.ended, 0, psql.shown);
    });

    test('the cluster, with the words of the README too', async () => {
      const login = advised(/tsh kube login demo/);
      assert.equal(await login.ended, 0, login.shown);
      const shell = advised(/tsh kubectl exec -it web -- sh/);
      await shell.shows(/[#$] /);
      shell.type('echo inside-$((6 * 7)); exit 3');
      await shell.shows(/inside-42/);
      assert.notEqual(await shell.ended, 0);
      assert.match(shell.shown, /exit code 3/);
      const readme = readFileSync(join(ROOT, 'README.md'), 'utf8');
      for (const command of ['tsh kube login demo', 'tsh kubectl exec -it web -- sh'])
        assert.ok(readme.includes(`\`${command}\``), command);
    });

    test('the web page', async () => {
      const browser = await chromium.launch({ executablePath: CHROMIUM, args: FLAGS });
      try {
        const page = await browser.newPage({ ignoreHTTPSErrors: true });
        await page.goto(`https://localhost:${port}`);
        await page.getByLabel('User name').fill('demo');
        await page.getByLabel('Password').fill(password());
        await page.getByRole('button', { name: 'Sign in', exact: true }).click();
        await page.getByRole('link', { name: `Connect to localhost as ${LOGIN}` }).waitFor();
      } finally {
        await browser.close();
      }
    });
  });

  test('a shell; the policy is changed meanwhile; Ctrl-C tells the shell, a second one ends it, and nothing is left behind', async () => {
    const shell = advised(new RegExp(`tsh ssh ${LOGIN}@localhost`));
    await shell.shows(/[#$] /);
    shell.type('echo open-$((6 * 7))');
    await shell.shows(/open-42/);
    const edit = advised(/tctl --data-dir=\S+ edit cnc/, { EDITOR: 'sed -i s/30s/25m/' });
    assert.equal(await edit.ended, 0, edit.shown);
    const list = advised(/tctl --data-dir=\S+ sessions ls/);
    assert.equal(await list.ended, 0, list.shown);
    assert.match(list.shown, /demo[\s\S]*25m/);
    demo.interrupt();
    await shell.shows(/The gateway is shutting down: this session ends in 5s\./);
    // Within a second it would be the same Ctrl-C, which npm passes on too.
    await new Promise((resolve) => setTimeout(resolve, 1_200));
    demo.interrupt();
    await shell.shows(/Session ended: the gateway is shutting down\./);
    assert.notEqual(await shell.ended, 0);
    assert.equal(await demo.ended, 0, demo.shown);
    assert.doesNotMatch(demo.shown, /goes without|has ended|ERROR/);
    await nothingIsLeft(scratch);
  });
});

/** A file of a process's, empty where the process has gone. */
function ofProcess(pid: number, name: string): string {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'utf8').replaceAll('\0', ' ');
  } catch {
    return '';
  }
}
