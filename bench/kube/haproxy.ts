import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { freePort } from '../../scripts/free-port.ts';

const PROGRAM = '/usr/sbin/haproxy';

/** HAProxy (Debian's package) with TLS on both sides, one thread, which looks at nothing that goes by: what relaying costs in C. */
export interface Haproxy {
  readonly port: number;
  /** Processor time up to now, in milliseconds. */
  cpuMs(): number;
  stop(): Promise<void>;
}

/** Undefined where it is not installed. */
export async function startHaproxy(options: {
  readonly folder: string;
  readonly apiPort: number;
  readonly keyPem: string;
  readonly certPem: string;
  readonly caPem: string;
}): Promise<Haproxy | undefined> {
  if (!existsSync(PROGRAM)) return undefined;
  const { folder, apiPort, keyPem, certPem, caPem } = options;
  const file = (name: string): string => join(folder, `haproxy.${name}`);
  const port = await freePort();
  writeFileSync(file('pem'), `${certPem}\n${keyPem}`, { mode: 0o600 });
  writeFileSync(file('ca'), caPem);
  writeFileSync(
    file('cfg'),
    `global
  nbthread 1
  maxconn 1000
defaults
  mode tcp
  timeout connect 5s
  timeout client 1h
  timeout server 1h
listen api
  bind 127.0.0.1:${port} ssl crt ${file('pem')}
  server api 127.0.0.1:${apiPort} ssl verify required verifyhost localhost sni str(localhost) ca-file ${file('ca')}
`,
  );
  const child = spawn(PROGRAM, ['-db', '-f', file('cfg')], { stdio: ['ignore', 'ignore', 'inherit'] });
  await listening(child, port);
  return {
    port,
    cpuMs() {
      // utime and stime (proc_pid_stat(5)), in hundredths of a second.
      const fields = readFileSync(`/proc/${child.pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
      return (Number(fields[11]) + Number(fields[12])) * 10;
    },
    async stop() {
      const exit = once(child, 'exit');
      child.kill('SIGKILL');
      await exit;
    },
  };
}

async function listening(child: ChildProcess, port: number): Promise<void> {
  for (let i = 0; i < 200; i += 1) {
    if (child.exitCode !== null) throw new Error('haproxy did not start');
    const socket = net.connect({ port, host: '127.0.0.1' });
    const connected = await new Promise<boolean>((resolve) => {
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    });
    socket.destroy();
    if (connected) return;
    await delay(25);
  }
  throw new Error('haproxy does not listen');
}
