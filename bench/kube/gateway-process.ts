// The gateway in a process of its own, with its API server in another. Answers questions about what it uses.

import { type ApiProcess, startApiProcess } from '../../test/fixtures/kube/api-process.ts';
import { kubeResources, startKubeWorld } from '../../test/fixtures/kube/world.ts';
import { settledMemory } from '../settled-memory.ts';

let api: ApiProcess | undefined;
let serverCredential = { certPem: '', keyPem: '' };
const world = await startKubeWorld({
  resources: kubeResources({ idle: '1h' }),
  async api(credential) {
    serverCredential = credential;
    api = await startApiProcess(credential);
    return api;
  },
});
const { keyPem, certPem } = await world.credentials('alice', { cluster: 'prod' });
process.send!({
  ready: {
    port: world.port,
    apiPort: world.api.port,
    through: await world.kubeconfig('alice'),
    direct: await world.kubeconfig('alice', { direct: true }),
    keyPem,
    certPem,
    caPem: world.ca.tlsHostCa,
    serverKeyPem: serverCredential.keyPem,
    serverCertPem: serverCredential.certPem,
    echoPort: api!.echoPort,
    folder: world.folder,
  },
});

process.on('message', (question: string) => {
  if (question === 'stop') {
    void world.close().then(() => process.exit(0));
    return;
  }
  // Before the collection of garbage, which is not the gateway's work.
  const { user, system } = process.cpuUsage();
  setTimeout(() => {
    const { rss, heapUsed, external } = settledMemory();
    world.audit.events.length = 0;
    const after = process.cpuUsage();
    process.send!({
      cpuMs: (user + system) / 1000,
      cpuAfterMs: (after.user + after.system) / 1000,
      rss,
      heapUsed,
      external,
      sessions: world.sessions.list().length,
    });
  }, 50);
});
