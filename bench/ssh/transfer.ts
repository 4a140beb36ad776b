import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { type GatewayProcess, median } from './gateway-process.ts';

/** How a client reaches the target. */
export const WAYS = {
  direct: ['target'],
  gateway: ['web'],
  jump: ['-J', 'target', 'target'],
} as const;
export type Way = keyof typeof WAYS;

export interface Transfer {
  /** MB/s (10^6 bytes), median. */
  readonly rate: Readonly<Record<Way, number>>;
  /** Seconds of the gateway's CPU for a GB (10^9 bytes), median. */
  readonly cpuPerGb: number;
}

/** The same key exchange on every way; without it each uses its own first choice. */
const SAME_KEX = ['-o', 'KexAlgorithms=curve25519-sha256'];

/** Runs `ssh` to its end and returns the seconds it took. */
export async function runSsh(
  gateway: GatewayProcess,
  args: readonly string[],
  input = '/dev/null',
  kex: readonly string[] = SAME_KEX,
): Promise<number> {
  const stdin = openSync(input, 'r');
  const sink = openSync('/dev/null', 'w');
  const start = performance.now();
  const child = spawn('ssh', ['-F', join(gateway.ready.dir, 'config'), '-o', 'LogLevel=ERROR', ...kex, ...args], {
    stdio: [stdin, sink, 'inherit'],
  });
  const code = await new Promise<number | null>((resolve) => child.once('exit', resolve));
  const seconds = (performance.now() - start) / 1000;
  closeSync(stdin);
  closeSync(sink);
  if (code !== 0) throw new Error(`ssh ${args.join(' ')} ended with ${code}`);
  return seconds;
}

/** Moves `bytes` through each way `rounds` times, the ways taking turns. `file` holds as many bytes, for the way up. */
export async function measureTransfer(
  gateway: GatewayProcess,
  options: { direction: 'down' | 'up'; cipher: string; bytes: number; rounds: number; file: string },
): Promise<Transfer> {
  const { direction, cipher, bytes, rounds, file } = options;
  const rates: Record<Way, number[]> = { direct: [], gateway: [], jump: [] };
  const cpu: number[] = [];
  for (let round = 0; round < rounds; round++) {
    for (const way of Object.keys(WAYS) as Way[]) {
      const before = await gateway.usage();
      const args = ['-c', cipher, ...WAYS[way]];
      const seconds =
        direction === 'down'
          ? await runSsh(gateway, [...args, `head -c ${bytes} /dev/zero`])
          : await runSsh(gateway, [...args, 'cat > /dev/null'], file);
      rates[way].push(bytes / 1e6 / seconds);
      if (way === 'gateway') {
        const after = await gateway.usage();
        cpu.push((after.cpuUs - before.cpuUs) / 1e6 / (bytes / 1e9));
      }
    }
  }
  return {
    rate: { direct: median(rates.direct), gateway: median(rates.gateway), jump: median(rates.jump) },
    cpuPerGb: median(cpu),
  };
}

/** Milliseconds of `ssh host true`, medians, the ways taking turns. */
export async function measureLogin(
  gateway: GatewayProcess,
  rounds: number,
  sameKex: boolean,
): Promise<Record<Way, number>> {
  const kex = sameKex ? SAME_KEX : [];
  const times: Record<Way, number[]> = { direct: [], gateway: [], jump: [] };
  for (let round = 0; round < rounds; round++) {
    for (const way of Object.keys(WAYS) as Way[]) {
      times[way].push((await runSsh(gateway, [...WAYS[way], 'true'], '/dev/null', kex)) * 1000);
    }
  }
  return { direct: median(times.direct), gateway: median(times.gateway), jump: median(times.jump) };
}
