// The gateway under measurement, in a process of its own: a native listener (TLS with client certificates) and a plain one, as inside a tunnel.
import net from 'node:net';
import type { AuditEvent } from '../../src/audit/events.ts';
import { openAuditLog } from '../../src/audit/file-audit-log.ts';
import { FastPathSearch } from '../../src/gateways/common/fast-path-search.ts';
import { createPostgresGateway } from '../../src/gateways/postgres/gateway.ts';
import { loadCertAuthority } from '../../src/identity/certificate-authority.ts';
import type { Identity } from '../../src/identity/types.ts';
import { systemClock as clock } from '../../src/server/system-clock.ts';
import { Sessions } from '../../src/session/manager.ts';
import { memoryStore, testMasterKey } from '../../test/fixtures/identity.ts';
import { MemoryLogger } from '../../test/fixtures/memory-logger.ts';
import { TestPolicy } from '../../test/fixtures/test-policy.ts';
import { settledMemory } from '../settled-memory.ts';
import type { GatewayReady, GatewaySettings } from './lab.ts';

const settings = JSON.parse(process.argv[2]!) as GatewaySettings;
const DAY = 24 * 3_600_000;
const log = new MemoryLogger();
const ca = await loadCertAuthority({
  store: memoryStore(clock),
  masterKey: testMasterKey,
  clock,
  clusterName: 'bench',
});
const policy = new TestPolicy([
  {
    kind: 'role',
    version: 'v7',
    metadata: { name: 'bench' },
    spec: {
      options:
        settings.idleTimeout === undefined
          ? {}
          : { client_idle_timeout: settings.idleTimeout, client_idle_warning: 'never' },
      allow: { db_labels: { '*': '*' }, db_users: ['*'], db_names: ['*'] },
    },
  },
  { kind: 'user', version: 'v2', metadata: { name: 'bench' }, spec: { roles: ['bench'] } },
  {
    kind: 'db',
    version: 'v3',
    metadata: { name: 'bench' },
    spec: {
      protocol: 'postgres',
      uri: `127.0.0.1:${settings.serverPort}`,
      tls: { mode: 'disable' },
      audit_queries: settings.auditQueries,
    },
  },
]);
/** How late idle sessions were found to be due, and how late both sides of them were closed, by the gateway's own clock; milliseconds. */
const lateness = { found: [] as number[], closed: [] as number[] };
const deadlines = new Map<unknown, number>();
function watch(event: AuditEvent): void {
  if (event.event === 'client.disconnect' && event['cause'] === 'idle') {
    const late = Number(event['overshoot_ms']);
    lateness.found.push(late);
    deadlines.set(event['sid'], clock.now() - late);
  }
  const deadline = event.event === 'session.end' ? deadlines.get(event['sid']) : undefined;
  if (deadline !== undefined) lateness.closed.push(clock.now() - deadline);
}
const onDisk =
  settings.auditDir === undefined
    ? undefined
    : await openAuditLog({ dir: settings.auditDir, clock, clusterName: 'bench', log });
const audit = {
  healthy: true,
  query: () => [],
  emit: async (event: AuditEvent) => {
    watch(event);
    return onDisk === undefined ? (event as never) : onDisk.emit(event);
  },
};
const sessions = new Sessions({ clock, log, audit, policy });
const gateway = createPostgresGateway({
  clock,
  log,
  sessions,
  policy,
  ca,
  tls: { current: await ca.mintTlsServer(['localhost']), onChange: () => () => undefined },
  refused: async () => {},
  ...(settings.dataPath === 'auto' ? { fastPath: new FastPathSearch({ clock, log }) } : {}),
});
const identity: Identity = {
  user: 'bench',
  serial: '01',
  expiresAtMs: clock.wallMs() + DAY,
  principals: [],
  extensions: [],
  route: { kind: 'db', name: 'bench' },
};
const listen = async (accept: (socket: net.Socket) => void): Promise<number> => {
  const server = net.createServer({ noDelay: true }, accept).listen({ port: 0, host: '127.0.0.1', backlog: 4096 });
  await new Promise((resolve) => server.once('listening', resolve));
  return (server.address() as net.AddressInfo).port;
};
const tlsPort = await listen((socket) => gateway.accept(socket, { clientAddr: `127.0.0.1:${socket.remotePort}` }));
const plainPort = await listen((socket) =>
  gateway.acceptTunnel(socket, { clientAddr: `127.0.0.1:${socket.remotePort}`, identity }),
);
const { generateKeyPairSync } = await import('node:crypto');
const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const issued = await ca.issueUserCertificates({
  user: 'bench',
  principals: [],
  extensions: [],
  tlsPublicKeySpkiDer: pair.publicKey.export({ format: 'der', type: 'spki' }),
  ttlMs: DAY,
  route: { kind: 'db', name: 'bench' },
});
const ready: GatewayReady = {
  tlsPort,
  plainPort,
  hostCa: ca.tlsHostCa,
  certPem: issued.tlsCertPem!,
  keyPem: pair.privateKey.export({ format: 'pem', type: 'pkcs8' }) as string,
};
process.on('message', (message: { ask: string }) => {
  if (message.ask === 'collect') globalThis.gc?.();
  else if (message.ask === 'lateness') process.send!(lateness);
  else if (message.ask === 'memory') process.send!(settledMemory());
  else process.send!({ ...process.memoryUsage(), sessions: sessions.list().length });
});
// The self-test of the fast path is done before the first connection.
setTimeout(() => process.send!({ ready }), 500);
