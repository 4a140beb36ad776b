// Ten thousand connections that say nothing, packets that are no packets, and what people may try with the commands.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { freePort } from '../../scripts/free-port.ts';
import { LOGIN, NODE, type SignedIn, startSignedIn } from '../fixtures/signed-in.ts';

const CONNECTIONS = 10_000;
/** Memory of the daemon with all of them open, in bytes: 60 kB for each. */
const MAX_GROWTH = 600 * 1024 * 1024;

describe('the daemon among people who mean no good', { timeout: 115_000 }, () => {
  let world: SignedIn;
  let sshPort: number;
  before(async () => {
    sshPort = await freePort();
    world = await startSignedIn({ proxy: `ssh_listen_addr: "127.0.0.1:${sshPort}"` });
  });
  after(() => world.stop());

  const memory = () => {
    const status = readFileSync(`/proc/${world.daemon.process.pid}/status`, 'utf8');
    return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)![1]) * 1024;
  };
  /** What a process may have open here, for this one is the attacker. */
  const count = () => {
    const limit = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))![1];
    return Math.min(CONNECTIONS, Number(limit) - 500);
  };

  for (const [what, port] of [
    ['the public port', () => world.daemon.port],
    ['the SSH port', () => sshPort],
  ] as const) {
    test(`connections that say nothing on ${what}: memory is bounded and a user gets in`, async (t) => {
      const before = memory();
      const sockets: net.Socket[] = [];
      let gone = 0;
      const wanted = count();
      for (let n = 0; n < wanted; n += 200) {
        const some = Array.from({ length: 200 }, (_, i) => {
          const localAddress = `127.1.${1 + Math.floor((n + i) / 200)}.1`;
          const socket = net.connect({ port: port(), host: '127.0.0.1', localAddress });
          socket
            .on('error', () => {})
            .on('close', () => {
              gone += 1;
            });
          socket.resume();
          return socket;
        });
        sockets.push(...some);
        await Promise.all(
          some.map((socket) => (socket.connecting ? once(socket, 'connect').catch(() => undefined) : undefined)),
        );
      }
      const grown = memory() - before;
      t.diagnostic(
        `${wanted} connections, ${gone} closed already; the daemon grew by ${(grown / 2 ** 20).toFixed(0)} MiB`,
      );
      assert.ok(grown < MAX_GROWTH, `grew by ${grown} bytes`);
      const ran = await world.daemon.tsh(['ssh', `${LOGIN}@${NODE}`, 'echo in']);
      assert.equal(ran.stdout, 'in\n', ran.stderr);
      for (const socket of sockets) socket.destroy();
    });
  }

  test('an SSH peer that sends what is no SSH is sent away at once', async () => {
    for (const bytes of [
      Buffer.from(`SSH-2.0-${'x'.repeat(5_000)}\r\n`),
      Buffer.from('SSH-1.5-old\r\n'),
      Buffer.alloc(100_000, 'a'),
      Buffer.from('GET / HTTP/1.1\r\n\r\n'),
      Buffer.concat([Buffer.from('SSH-2.0-x\r\n'), Buffer.from('7fffffff', 'hex'), Buffer.alloc(64)]),
      Buffer.concat([Buffer.from('SSH-2.0-x\r\n'), Buffer.alloc(64)]),
      Buffer.concat([Buffer.from('SSH-2.0-x\r\n'), Buffer.from('0000000c0a5a', 'hex'), Buffer.alloc(64, 1)]),
    ]) {
      const socket = net.connect(sshPort, '127.0.0.1');
      socket.on('error', () => {}).resume();
      const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
      socket.write(bytes);
      await closed;
    }
  });

  test('hosts and files that ssh would take for flags or commands never reach it', async () => {
    const { daemon } = world;
    const marker = join(daemon.dir, 'pwned');
    const touch = `touch ${marker}`;
    for (const args of [
      ['scp', `-oProxyCommand=${touch}:x`, '.'],
      ['scp', '--', `-oProxyCommand=${touch}:x`, '.'],
      ['scp', `alice@-oProxyCommand=${touch}:x`, '.'],
      ['scp', `$(${touch})@${NODE}:x`, '.'],
      ['scp', `\`${touch}\`@${NODE}:x`, '.'],
      ['scp', `${LOGIN}@$(${touch}):x`, '.'],
      ['scp', `${LOGIN}@demo;${touch}:x`, '.'],
      ['scp', `${LOGIN}@demo\n${touch}:x`, '.'],
      ['scp', `${LOGIN}@../../etc:x`, '.'],
      ['ssh', `-oProxyCommand=${touch}`],
      ['ssh', `${LOGIN}@-oProxyCommand=${touch}`, 'true'],
      ['ssh', `$(${touch})@${NODE}`, 'true'],
      ['ssh', `${LOGIN}@$(${touch})`, 'true'],
      ['ssh', '-l', `-oProxyCommand=${touch}`, NODE, 'true'],
    ]) {
      const result = await daemon.tsh(args);
      assert.notEqual(result.status, 0, args.join(' '));
      assert.throws(() => readFileSync(marker), { code: 'ENOENT' }, args.join(' '));
      assert.doesNotMatch(result.stderr, /[\u001b\u0000]/);
    }
  });

  test('YAML that explodes, nests or is too large is refused by tctl, quickly and by name', async () => {
    const file = join(world.daemon.dir, 'bomb.yaml');
    const laughs = Array.from({ length: 30 }, (_, n) =>
      n === 0 ? 'l0: &l0 [x, x, x, x, x, x, x, x, x]' : `l${n}: &l${n} [${`*l${n - 1}, `.repeat(9)}x]`,
    );
    for (const text of [
      laughs.join('\n'),
      `a: ${'['.repeat(50_000)}`,
      `${'- '.repeat(50_000)}x`,
      `kind: role\nspec: ${'{a: '.repeat(10_000)}1${'}'.repeat(10_000)}`,
      `kind: role\nx: "${'y'.repeat(3_000_000)}"`,
      'kind: !!js/function "function(){}"',
      'kind: &a\n  b: *a',
      '\u0000\u001b[2J: x',
      '? [a, b]\n: x',
      'kind: role\nversion: v7\nmetadata: {name: "a\\x1b[2J"}\nspec: {}',
      'kind: role\nversion: v7\nmetadata: {name: __proto__}\nspec: {__proto__: {x: 1}}',
    ]) {
      writeFileSync(file, text);
      const start = performance.now();
      const { status, stderr } = await world.daemon.tctl(['create', '-f', file]);
      assert.equal(status, 1, text.slice(0, 60));
      assert.match(stderr, /bomb\.yaml/, text.slice(0, 60));
      assert.doesNotMatch(stderr, /[\u001b\u0000]|at .*\.ts:\d/);
      assert.ok(stderr.length < 10_000);
      assert.ok(performance.now() - start < 30_000);
    }
  });

  test('a name with terminal escapes moves no cursor, wherever it is shown', async () => {
    const file = join(world.daemon.dir, 'node.yaml');
    const evil = '\\u001b]0;owned\\u0007\\u001b[2J\\u202e';
    for (const node of [
      `kind: node\nsub_kind: openssh\nversion: v2\nmetadata: {name: "e${evil}"}\nspec: {hostname: evil, addr: "127.0.0.1:1"}`,
      `kind: node\nsub_kind: openssh\nversion: v2\nmetadata: {name: e1}\nspec: {hostname: "e${evil}", addr: "127.0.0.1:1"}`,
      `kind: node\nsub_kind: openssh\nversion: v2\nmetadata: {name: e2, labels: {env: "e${evil}"}}\nspec: {hostname: e2, addr: "127.0.0.1:1"}`,
      `kind: node\nsub_kind: openssh\nversion: v2\nmetadata: {name: e3, description: "e${evil}"}\nspec: {hostname: e3, addr: "127.0.0.1:1"}`,
    ]) {
      writeFileSync(file, `${node}\n`);
      const { stdout, stderr } = await world.daemon.tctl(['create', '-f', file]);
      assert.doesNotMatch(stdout + stderr, /[\u001b\u0007\u202e]/);
    }
    for (const [program, ...args] of [
      ['tsh', 'ls'],
      ['tctl', 'get', 'nodes'],
      ['tctl', 'get', 'nodes', '--format=text'],
      ['tctl', 'get', 'nodes', '--format=json'],
    ] as const) {
      const { stdout, stderr } = await world.daemon[program as 'tctl' | 'tsh'](args);
      assert.doesNotMatch(stdout + stderr, /[\u001b\u0007\u202e]/, `${program} ${args.join(' ')}`);
    }
  });

  test('and its own log holds no escape and no error that nobody handled', () => {
    assert.doesNotMatch(world.daemon.log(), /\u001b|\u202e|nobody handled/);
  });
});
