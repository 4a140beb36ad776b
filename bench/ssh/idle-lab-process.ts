// A gateway whose node is a light SSH server in another process (bench/ssh/peers-process.ts), for thousands of sessions that do nothing.
import { writeFileSync } from 'node:fs';
import { Lab } from '../../test/fixtures/ssh/lab.ts';

const [addr, hostKey, publicKey] = process.argv.slice(2);
const node = {
  kind: 'node',
  version: 'v2',
  metadata: { name: 'web' },
  spec: { hostname: 'web', addr, host_keys: [hostKey] },
};
const role = {
  kind: 'role',
  version: 'v7',
  metadata: { name: 'ssh' },
  spec: { options: { client_idle_timeout: '1h' }, allow: { logins: ['worker'], node_labels: { '*': '*' } } },
};
const lab = await Lab.start({ node, resources: [role] });
writeFileSync(lab.path('id.pub'), `${publicKey}\n`);
await lab.certify('id', 'alice', ['worker']);

process.on('message', (message: { ask: 'usage' | 'memory' | 'stop' }) => {
  if (message.ask === 'stop') {
    void lab.stop().then(() => process.exit(0));
    return;
  }
  if (message.ask === 'memory') globalThis.gc?.();
  const { user, system } = process.cpuUsage();
  const { rss, heapUsed, external } = process.memoryUsage();
  process.send!({ usage: { cpuUs: user + system, rss, heapUsed, external, sessions: lab.sessions.list().length } });
});
process.send!({ ready: { dir: lab.dir, nodePort: lab.nodePort, jumpPort: lab.jumpPort, sshdPort: 0 } });
