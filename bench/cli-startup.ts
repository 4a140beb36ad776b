// How much longer the command lines take than Node itself: node bench/cli-startup.ts [rounds]
import { spawnSync } from 'node:child_process';
import { startTestDaemon } from '../test/fixtures/daemon.ts';

const PASSWORD = 'correct horse battery staple';
const rounds = Number(process.argv[2] ?? 25);

const daemon = await startTestDaemon({
  config: () =>
    'auth_service: {cluster_name: example.com, authentication: {second_factor: off}}\nproxy_service: {web_listen_addr: "127.0.0.1:0"}\n',
});
try {
  const added = await daemon.tctl(['users', 'add', 'alice', '--roles=access', '--logins=root', '--format=json']);
  const url = (JSON.parse(added.stdout) as { url: string }).url.replace(/^https:\/\/[^/]+/, `https://${daemon.proxy}`);
  const pin = ['--ca-pin', daemon.caPin, '--password-fd', '3'];
  await daemon.tsh(['invite', url, ...pin], { fds: [PASSWORD] });
  await daemon.tsh(['login', `--proxy=${daemon.proxy}`, '--user=alice', ...pin], { fds: [PASSWORD] });

  const env = { ...process.env, ...daemon.tshEnv() };
  const commands: readonly (readonly [name: string, args: readonly string[]])[] = [
    ['node -e 0', ['-e', '0']],
    ['tsh --help', ['bin/tsh.js', '--help']],
    ['tsh status', ['bin/tsh.js', 'status']],
    ['tsh ls', ['bin/tsh.js', 'ls']],
    ['tctl --help', ['bin/tctl.js', '--help']],
    ['tctl get cap', ['bin/tctl.js', '-c', daemon.configFile, 'get', 'cap']],
  ];
  const times = new Map(commands.map(([name]) => [name, [] as number[]]));
  // Interleaved, so that what else the machine does meets all of them.
  for (let round = 0; round < rounds; round++) {
    for (const [name, args] of commands) {
      const begun = performance.now();
      const { status } = spawnSync(process.execPath, args, { env, stdio: 'ignore' });
      if (status !== 0) throw new Error(`${name} ended with ${status}`);
      times.get(name)!.push(performance.now() - begun);
    }
  }
  const median = (values: readonly number[]) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!;
  const base = median(times.get('node -e 0')!);
  console.log('command        median ms   more than node');
  for (const [name, values] of times) {
    const ms = median(values);
    console.log(`${name.padEnd(14)} ${ms.toFixed(0).padStart(9)} ${`+${(ms - base).toFixed(0)}`.padStart(16)}`);
  }
} finally {
  await daemon.stop();
}
