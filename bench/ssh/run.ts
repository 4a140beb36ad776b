// `npm run bench:ssh [-- --quick]`: the gateway beside OpenSSH on the same machine, the ways taking turns. Writes bench/results/ssh.md.
import { mkdirSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { GatewayProcess } from './gateway-process.ts';
import { measureJumpMemory, measureMemory } from './memory.ts';
import { measureLogin, measureTransfer, type Transfer } from './transfer.ts';

const quick = process.argv.includes('--quick');
const BYTES = quick ? 2 ** 28 : 2 ** 30;
const ROUNDS = quick ? 3 : 5;
const LOGINS = quick ? 7 : 21;
const SESSIONS = quick ? 500 : 2000;
const CIPHERS = quick ? ['aes128-gcm@openssh.com'] : ['aes128-gcm@openssh.com', 'chacha20-poly1305@openssh.com'];

const load = loadavg().map((value) => value.toFixed(1));
const lines: string[] = [];
const say = (line = '') => {
  lines.push(line);
  console.log(line);
};
const verdict = (met: boolean) => (met ? 'met' : '**not met**');

function zeros(bytes: number): string {
  const path = join(tmpdir(), `nightlatch-bench-${process.pid}`);
  const file = openSync(path, 'w');
  const block = Buffer.alloc(1 << 20);
  for (let left = bytes; left > 0; left -= block.length) writeSync(file, block, 0, Math.min(left, block.length));
  return path;
}

function transferRow(direction: string, cipher: string, { rate, cpuPerGb }: Transfer): string {
  const ratio = rate.gateway / rate.jump;
  const cells = [direction, cipher.replace('@openssh.com', ''), rate.direct, rate.jump, rate.gateway];
  const numbers = cells.map((cell) => (typeof cell === 'number' ? cell.toFixed(0) : cell));
  const goals = cipher.startsWith('aes128') ? `${verdict(ratio >= 1.5)} / ${verdict(cpuPerGb <= 1)}` : '';
  return `| ${numbers.join(' | ')} | ${ratio.toFixed(2)} × | ${cpuPerGb.toFixed(2)} | ${goals} |`;
}

say('# SSH: side by side with OpenSSH');
say();
say(
  `${new Date().toISOString().slice(0, 16)}Z, ${cpus().length} × ${cpus()[0]?.model ?? 'CPU'}, Node ${process.version}, load ${load.join(' ')} at the start;`,
);
say(
  `medians of ${ROUNDS} (transfers of ${BYTES / 2 ** 20} MiB) and ${LOGINS} (logins), the ways taking turns. Compare within a row only.`,
);

const file = zeros(BYTES);
const gateway = await GatewayProcess.start();
try {
  say();
  say(
    '| direction | cipher | direct MB/s | `ssh -J` MB/s | gateway MB/s | gateway : `ssh -J` | gateway CPU s/GB | goals (≥ 1.5 ×, ≤ 1.0 s/GB) |',
  );
  say('|---|---|---|---|---|---|---|---|');
  for (const cipher of CIPHERS) {
    for (const direction of ['down', 'up'] as const) {
      const result = await measureTransfer(gateway, { direction, cipher, bytes: BYTES, rounds: ROUNDS, file });
      say(transferRow(direction, cipher, result));
    }
  }
  say();
  say('| `ssh host true` | direct | `ssh -J` | gateway | gateway : direct | gateway : `ssh -J` | goals (≤ 1, ≤ 0.4) |');
  say('|---|---|---|---|---|---|---|');
  const ms = (value: number) => `${value.toFixed(0)} ms`;
  for (const sameKex of [true, false]) {
    const login = await measureLogin(gateway, LOGINS, sameKex);
    const [toDirect, toJump] = [login.gateway / login.direct, login.gateway / login.jump];
    const kex = sameKex ? 'curve25519 on every way' : 'each with its first choice of key exchange';
    const times = [login.direct, login.jump, login.gateway].map(ms).join(' | ');
    say(
      `| ${kex} | ${times} | ${toDirect.toFixed(2)} | ${toJump.toFixed(2)} | ${verdict(toDirect <= 1)} / ${verdict(toJump <= 0.4)} |`,
    );
  }
  const jumpMemory = await measureJumpMemory(gateway, 20);
  const memory = await measureMemory(SESSIONS);
  const kb = (bytes: number) => `${(bytes / 1000).toFixed(1)} kB`;
  say();
  say(
    '| memory of an idle session | gateway, both legs | `ssh -J`, the sshd of the jump host (PSS) | goal (≤ 50 kB) |',
  );
  say('|---|---|---|---|');
  say(
    `| ${memory.sessions} sessions | ${kb(memory.perSession)} | ${kb(jumpMemory)} | ${verdict(memory.perSession <= 50_000)} |`,
  );
  say();
  say(`Setting a session up took ${(memory.cpuPerSession * 1000).toFixed(1)} ms of the gateway's CPU.`);
} finally {
  await gateway.stop();
  rmSync(file, { force: true });
}
const results = new URL('../results/', import.meta.url);
mkdirSync(results, { recursive: true });
writeFileSync(new URL('ssh.md', results), `${lines.join('\n')}\n`);
process.exit(0);
