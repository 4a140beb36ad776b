// The gateway under measurement, in a process of its own. Started with the desktops as JSON; answers `usage` with its CPU time and memory.
import { Secret } from '../../src/core/secret.ts';
import { createDesktopGateway } from '../../src/gateways/desktop/gateway.ts';
import { systemClock as clock } from '../../src/server/system-clock.ts';
import { Sessions } from '../../src/session/manager.ts';
import { openDoor } from '../../test/fixtures/desktop/peers.ts';
import type { TestDesktop } from '../../test/fixtures/desktop/world.ts';
import { MemoryAuditLog } from '../../test/fixtures/memory-audit-log.ts';
import { MemoryLogger } from '../../test/fixtures/memory-logger.ts';
import { TestPolicy } from '../../test/fixtures/test-policy.ts';

const desktops = JSON.parse(process.argv[2]!) as readonly TestDesktop[];
const log = new MemoryLogger();
const audit = new MemoryAuditLog(clock);
const policy = new TestPolicy([
  ...desktops.map(({ name, spec }) => ({ kind: 'windows_desktop', version: 'v3', metadata: { name }, spec })),
  {
    kind: 'role',
    version: 'v7',
    metadata: { name: 'desktops' },
    spec: {
      options: { client_idle_timeout: '15m' },
      allow: { windows_desktop_labels: { '*': '*' }, windows_desktop_logins: ['desk'] },
    },
  },
  { kind: 'user', version: 'v2', metadata: { name: 'alice' }, spec: { roles: ['desktops'] } },
]);
const sessions = new Sessions({ clock, log, audit, policy });
const gateway = createDesktopGateway({ clock, log, policy, sessions, credentials: async () => new Secret('-') });
const door = await openDoor(gateway);
process.on('message', () => {
  globalThis.gc?.();
  const { rss, heapUsed, external } = process.memoryUsage();
  const { user, system } = process.cpuUsage();
  process.send!({ cpuMs: (user + system) / 1000, rss, heapUsed, external, sessions: sessions.list().length });
});
process.send!({ port: door.port });
