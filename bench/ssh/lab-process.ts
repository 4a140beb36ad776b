// The gateway in a process of its own, so that its CPU and memory can be told from everything else's. Speaks with bench/ssh/run.ts by IPC.
import { Lab } from '../../test/fixtures/ssh/lab.ts';

const lab = await Lab.start();

process.on('message', (message: { ask: 'usage' | 'memory' | 'stop' }) => {
  if (message.ask === 'stop') {
    void lab.stop().then(() => process.exit(0));
    return;
  }
  if (message.ask === 'memory') globalThis.gc?.();
  const { user, system } = process.cpuUsage();
  const { rss, heapUsed, external } = process.memoryUsage();
  process.send!({
    usage: { cpuUs: user + system, systemUs: system, rss, heapUsed, external, sessions: lab.sessions.list().length },
  });
});
process.send!({ ready: { dir: lab.dir, nodePort: lab.nodePort, jumpPort: lab.jumpPort, sshdPort: lab.sshdPort } });
