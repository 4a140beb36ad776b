import { execFileSync, spawn } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { decodeAuthorizedKey, encodeAuthorizedKey, encodePublicKey } from '../../src/wire/ssh/keys.ts';
import { GatewayProcess } from './gateway-process.ts';
import { HOST_KEY_LINE, listenLight, openSession } from './peers.ts';

const AT_ONCE = 32;

export interface MemoryResult {
  readonly sessions: number;
  /** Bytes of resident memory that a session adds to the gateway, both legs. */
  readonly perSession: number;
  /** Seconds of CPU to set one up. */
  readonly cpuPerSession: number;
}

/** Opens sessions that do nothing, and compares the gateway's memory before and after. */
export async function measureMemory(sessions: number): Promise<MemoryResult> {
  const target = await listenLight();
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const keyLine = encodeAuthorizedKey(encodePublicKey(publicKey));
  const gateway = await GatewayProcess.start('idle-lab-process.ts', [], [target.addr, HOST_KEY_LINE, keyLine]);
  try {
    const certificate = decodeAuthorizedKey(readFileSync(join(gateway.ready.dir, 'id-cert.pub'), 'utf8')).blob;
    const credential = { privateKey, certificate };
    const open = async (count: number) => {
      let left = count;
      const worker = async () => {
        while (left-- > 0) transports.push(await openSession(gateway.ready.nodePort, credential));
      };
      await Promise.all(Array.from({ length: AT_ONCE }, worker));
    };
    const transports: Awaited<ReturnType<typeof openSession>>[] = [];
    // What is there once and for all: code, buffers, pools.
    await open(200);
    const before = await settled(gateway);
    await open(sessions);
    const after = await settled(gateway);
    if (after.sessions !== sessions + 200) throw new Error(`${after.sessions} sessions are open`);
    for (const transport of transports) transport.abort();
    return {
      sessions,
      perSession: (after.rss - before.rss) / sessions,
      cpuPerSession: (after.cpuUs - before.cpuUs) / 1e6 / sessions,
    };
  } finally {
    await gateway.stop();
    target.close();
  }
}

/** Memory once garbage is gone and its pages are given back. */
async function settled(gateway: GatewayProcess) {
  let usage = await gateway.usage('memory');
  for (let i = 0; i < 5; i++) {
    await new Promise((resolve) => setTimeout(resolve, 300));
    usage = await gateway.usage('memory');
  }
  return usage;
}

/** Bytes of proportional memory that a session through `ssh -J` costs the jump host: the sshd that serves its outer connection. */
export async function measureJumpMemory(gateway: GatewayProcess, sessions: number): Promise<number> {
  const config = join(gateway.ready.dir, 'config');
  const clients = Array.from({ length: sessions }, () =>
    spawn('ssh', ['-F', config, '-W', `127.0.0.1:${gateway.ready.sshdPort}`, 'target'], {
      stdio: ['pipe', 'pipe', 'ignore'],
    }),
  );
  try {
    // The inner server's greeting says that the way stands.
    await Promise.all(clients.map((client) => new Promise((resolve) => client.stdout.once('data', resolve))));
    const servers = execFileSync('pgrep', ['-f', `^sshd: .*@notty|^sshd: .*\\[priv\\]|^sshd: [a-z]+$`], {
      encoding: 'utf8',
    });
    const bytes = servers
      .trim()
      .split('\n')
      .reduce((sum, pid) => sum + proportionalBytes(pid), 0);
    return bytes / sessions;
  } finally {
    for (const client of clients) client.kill();
  }
}

function proportionalBytes(pid: string): number {
  try {
    const match = /^Pss:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'));
    return Number(match?.[1] ?? 0) * 1024;
  } catch {
    return 0;
  }
}
