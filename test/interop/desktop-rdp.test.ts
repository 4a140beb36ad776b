// Real xrdp with xorgxrdp, real Chromium with IronRDP, the gateway between them with the real session layer.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { xrdpLab } from '../fixtures/desktop/lab.ts';
import { until } from '../fixtures/desktop/processes.ts';
import { networking, user } from '../fixtures/desktop/world.ts';

describe('RDP desktops: xrdp with xorgxrdp', { timeout: 115_000 }, () => {
  const lab = xrdpLab(({ port, cert }) => [
    {
      name: 'by-ca',
      spec: {
        addr: `127.0.0.1:${port}`,
        tls: { mode: 'verify-full', ca_cert: cert, server_name: 'localhost' },
      },
    },
  ]);

  test('typed into, idle, warned, kept by a key, cut with the picture gone first', async () => {
    const { desk, world } = lab;
    const at = await desk();
    await at.hear('ready');
    await at.white();
    const first = await at.still();
    await at.page.mouse.move(300, 200);
    await at.page.keyboard.type('hello');
    await at.changed(first);

    world.policy.put(networking({ client_idle_timeout: '5s', client_idle_warning: '2500ms' }));
    const warning = await at.hear('warning');
    assert.match(warning.text ?? '', /this session ends in \ds \(cluster_networking_config\)/);
    await at.page.keyboard.press('x');
    assert.match((await at.hear('kept')).text ?? '', /goes on/);
    const end = await at.hear('end');
    world.policy.put(networking({}));
    assert.deepEqual(end, {
      type: 'end',
      cause: 'idle',
      text: 'Session ended: no activity for 5s (cluster_networking_config).',
      blank: true,
    });
    assert.ok((await at.brightness()) < 20, 'nothing of the terminal is left');
    await until('the end of the session', () => world.sessions.list().length === 0);
    const { sid } = world.audit.last('client.disconnect')!;
    assert.deepEqual(
      world.audit
        .query({ sid: String(sid) })
        .map((e) => `${e.event} ${e.code}`)
        .filter((name) => !name.startsWith('desktop.clipboard')),
      [
        'session.start T2000I',
        'windows.desktop.session.start TDP00I',
        'client.disconnect T3006I',
        'windows.desktop.session.end TDP01I',
        'session.end T2004I',
      ],
    );
  });

  test('by CA; resizing, blur and a pointer that rests are no activity', async () => {
    const { desk, world } = lab;
    const at = await desk({ desktop: 'by-ca' });
    await at.hear('ready');
    await at.white();
    assert.equal(world.sessions.list()[0]!.target.name, 'by-ca');
    const before = await at.picture();
    await at.page.evaluate(() =>
      (globalThis as unknown as { resizeTestDesktop(w: number, h: number): void }).resizeTestDesktop(640, 480),
    );
    await at.page.evaluate("window.dispatchEvent(new Event('blur')); window.dispatchEvent(new Event('focus'))");
    await at.changed(before);
    await until('half a second without activity', () => world.sessions.list()[0]!.idleForMs > 500);
    await at.page.evaluate('view.close()');
    await until('the end', () => world.sessions.list().length === 0);
    assert.equal(world.audit.last('client.disconnect')!['cause'], 'client_closed');
  });

  test('killed, and locked: told at once, with the picture gone', async () => {
    const { desk, world } = lab;
    const at = await desk();
    await at.hear('ready');
    await at.white();
    const [session] = world.sessions.list();
    await world.sessions.kill(session!.id, { by: 'carol', message: 'maintenance' });
    const killed = await at.hear('end');
    assert.equal(killed.cause, 'killed');
    assert.match(killed.text ?? '', /carol.*maintenance/);
    assert.ok((await at.brightness()) < 20);

    const locked = await desk();
    await locked.hear('ready');
    world.policy.put({
      kind: 'lock',
      version: 'v2',
      metadata: { name: 'l1' },
      spec: { target: { user: 'alice' }, message: 'laptop stolen' },
    });
    assert.match((await locked.hear('end')).text ?? '', /laptop stolen/);
    world.policy.remove('lock', 'l1');
    world.policy.put(user('alice', 'desktops'));
  });
});
