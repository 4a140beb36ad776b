// kubectl exec -it in a real terminal: typing, resizing, the warning, the end, and what is left behind.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type IPty, spawn } from '@lydell/node-pty';
import { type Containers, type Pod, startContainers } from '../../scripts/demo/cluster/containers.ts';
import { CLIENTS, type KubeClient, NEW, OLD, until, withLimit } from '../fixtures/kube/clients.ts';
import { kubectlPath } from '../fixtures/kube/kubectl.ts';
import { type KubeWorld, kubeResources, startKubeWorld } from '../fixtures/kube/world.ts';

/** kubectl with a terminal of its own. */
class Terminal {
  readonly pty: IPty;
  output = '';
  exitCode: number | undefined;

  constructor(world: KubeWorld, client: KubeClient, kubeconfig: string, args: readonly string[]) {
    this.pty = spawn(kubectlPath(client.version), [...args], {
      cols: 100,
      rows: 30,
      env: { PATH: '/usr/bin:/bin', HOME: world.folder, KUBECONFIG: kubeconfig, TERM: 'xterm', ...client.env },
    });
    this.pty.onData((data) => {
      this.output += data;
      // A terminal answers where its cursor is; busybox's shell asks at every prompt. Nobody typed that.
      if (data.includes('\x1b[6n')) this.pty.write('\x1b[30;100R');
    });
    this.pty.onExit(({ exitCode }) => {
      this.exitCode = exitCode;
    });
  }

  see(pattern: RegExp): Promise<void> {
    return until(
      () => `seeing ${pattern} in ${JSON.stringify(this.output)}`,
      () => pattern.test(this.output),
    );
  }

  async exit(): Promise<number> {
    await until('the exit', () => this.exitCode !== undefined);
    return this.exitCode!;
  }
}

describe('kubectl exec -it through the gateway', { timeout: 110_000 }, () => {
  let containers: Containers;
  let world: KubeWorld;
  let tidy: KubeWorld;
  let pod: Pod;
  let kubeconfig: string;

  before(async () => {
    containers = await startContainers();
    world = await startKubeWorld({ containers });
    tidy = await startKubeWorld({ containers, resources: kubeResources({ cleanup: 'hangup' }) });
    pod = await containers.runPod('default', 'web', [
      { name: 'main' },
      { name: 'shell', command: ['sh'], stdin: true, tty: true },
    ]);
    world.api.addPod(pod);
    tidy.api.addPod(pod);
    kubeconfig = await world.kubeconfig('alice');
  });

  after(async () => {
    await world?.close();
    await tidy?.close();
    await containers?.close();
  });

  const shell = (client: KubeClient): Terminal =>
    new Terminal(world, client, kubeconfig, ['exec', '-it', 'web', '-c', 'main', '--', 'sh']);

  async function shellsIn(container: string): Promise<number> {
    const { stdout } = await containers.execSync(pod.containers.get(container)!, 'ps');
    return stdout.split('\n').filter((line) => /\bsh$/.test(line)).length;
  }

  for (const client of CLIENTS) {
    test(`${client.name}: typing, resizing and the exit code`, async () => {
      const terminal = shell(client);
      await terminal.see(/# /);
      terminal.pty.write('stty size; echo "sum $((40 + 2))"\r');
      await terminal.see(/30 100[\s\S]*sum 42/);
      terminal.pty.resize(80, 24);
      await until('the resize', () => {
        terminal.pty.write('stty size\r');
        return /24 80/.test(terminal.output);
      });
      terminal.pty.write('exit 3\r');
      assert.equal(await terminal.exit(), 3);
    });

    test(`${client.name}: the warning, a key that keeps the session, the end`, async () => {
      await withLimit(world, { client_idle_timeout: '4s', client_idle_warning: '1s' }, async () => {
        const terminal = shell(client);
        await terminal.see(/# /);
        await terminal.see(
          /No activity: this session ends in 1s \(cluster_networking_config[^)]*\)\. Press any key to keep it\.\r\n/,
        );
        terminal.pty.write('echo st""ill here\r');
        await terminal.see(/The session goes on\.\r\n/);
        await terminal.see(/still here/);
        await terminal.see(/[\r\n]error: Session ended: no activity for 4s \(cluster_networking_config[^)]*\)\.\r?\n/);
        assert.equal(await terminal.exit(), 1);
      });
    });
  }

  test('a terminal that prints for ever is ended in `auto`', async () => {
    await withLimit(world, { client_idle_timeout: '3s' }, async () => {
      const terminal = new Terminal(world, NEW, kubeconfig, [
        'exec',
        '-it',
        'web',
        '-c',
        'main',
        '--',
        'sh',
        '-c',
        'while :; do echo tick; sleep 0.2; done',
      ]);
      await terminal.see(/error: Session ended: no activity for 3s/);
      assert.equal(await terminal.exit(), 1);
    });
  });

  for (const client of [OLD, NEW]) {
    test(`${client.name}: a full-screen program is not garbled by the warning, and the terminal is given back`, async () => {
      await withLimit(world, { client_idle_timeout: '4s', client_idle_warning: '2s' }, async () => {
        const terminal = new Terminal(world, client, kubeconfig, [
          'exec',
          '-it',
          'web',
          '-c',
          'main',
          '--',
          'vi',
          '/etc/passwd',
        ]);
        await terminal.see(/\x1b\[\?1049h[\s\S]*root:x:0:0/);
        await terminal.see(/\x1b\[22;2t\x1b\]2;No activity: this session ends in 2s[^\x07\x1b]*\x1b\\\x07/);
        const before = terminal.output.indexOf('\x1b[22;2t');
        assert.doesNotMatch(terminal.output.slice(before + 7), /^[^\x1b]*No activity/);
        await terminal.see(/\x1b\[\?1049l[\s\S]*error: Session ended: no activity for 4s/);
        assert.equal(await terminal.exit(), 1);
      });
    });
  }

  test('attach to a shell, and leave it running', async () => {
    await withLimit(world, { client_idle_timeout: '3s' }, async () => {
      const terminal = new Terminal(world, NEW, kubeconfig, ['attach', '-it', 'web', '-c', 'shell']);
      terminal.pty.write('\r');
      await terminal.see(/# /);
      terminal.pty.write('echo at""tached\r');
      await terminal.see(/attached/);
      await terminal.see(/error: Session ended: no activity for 3s/);
      assert.equal(await terminal.exit(), 1);
    });
  });

  test('`hangup` ends the shell in the container, `none` leaves it', async () => {
    await withLimit(world, { client_idle_timeout: '2s' }, async () => {
      const before = await shellsIn('main');
      const terminal = shell(NEW);
      await terminal.see(/# /);
      await terminal.exit();
      assert.equal(await shellsIn('main'), before + 1);
    });
    for (const client of CLIENTS) {
      await withLimit(tidy, { client_idle_timeout: '2s' }, async () => {
        const before = await shellsIn('main');
        const terminal = new Terminal(tidy, client, await tidy.kubeconfig('alice'), [
          'exec',
          '-it',
          'web',
          '-c',
          'main',
          '--',
          'sh',
        ]);
        await terminal.see(/# /);
        await terminal.exit();
        const giveUp = Date.now() + 10_000;
        while ((await shellsIn('main')) > before)
          assert.ok(Date.now() < giveUp, `${client.name}: the shell is still there`);
      });
    }
  });
});
