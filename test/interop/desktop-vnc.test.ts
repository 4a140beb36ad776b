// Real Xvnc, real Chromium with noVNC, the gateway between them with the real session layer.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { desktopLab, together } from '../fixtures/desktop/lab.ts';
import { until } from '../fixtures/desktop/processes.ts';
import { networking, user } from '../fixtures/desktop/world.ts';
import { startXvnc, type VncServer } from '../fixtures/desktop/xvnc.ts';

const PASSWORD = 'secret99';

describe('VNC desktops', { timeout: 110_000 }, () => {
  const spec = ({ port }: VncServer) => ({ protocol: 'vnc', addr: `127.0.0.1:${port}` });
  const lab = desktopLab({
    start: () =>
      together({
        withPassword: startXvnc({ security: 'VncAuth', password: PASSWORD }),
        open: startXvnc({ security: 'None' }),
      }),
    desktops: ({ withPassword, open }) => [
      { name: 'lab', spec: spec(withPassword) },
      { name: 'open', spec: spec(open) },
    ],
    usual: () => ({ protocol: 'vnc', desktop: 'lab', login: 'vnc', password: PASSWORD }),
    onePage: false,
  });

  test('typed into, idle, warned, kept by the pointer, warned again, cut with the picture gone first', async () => {
    const { desk, world } = lab;
    const at = await desk();
    await at.hear('ready');
    const first = await at.still();
    await at.page.mouse.move(300, 200);
    await at.page.keyboard.type('hello');
    await at.changed(first);
    assert.ok((await at.brightness()) > 200, 'a white terminal');

    world.policy.put(networking({ client_idle_timeout: '5s', client_idle_warning: '2500ms' }));
    const warning = await at.hear('warning');
    assert.match(warning.text ?? '', /this session ends in \ds \(cluster_networking_config\)/);
    await at.page.mouse.move(310, 210);
    const kept = await at.hear('kept');
    assert.match(kept.text ?? '', /goes on/);
    await at.page.keyboard.press('x');
    const end = await at.hear('end');
    world.policy.put(networking({}));
    assert.deepEqual(end, {
      type: 'end',
      cause: 'idle',
      text: 'Session ended: no activity for 5s (cluster_networking_config).',
      blank: true,
    });
    assert.ok((await at.brightness()) < 20, 'nothing of the terminal is left');
    const event = world.audit.last('client.disconnect')!;
    assert.equal(event['cause'], 'idle');
    assert.ok(Number(event['overshoot_ms']) >= 0);
    assert.equal(typeof event['warned_at'], 'string');
    await until('the end of the session', () => world.sessions.list().length === 0);
    const { sid } = event;
    assert.deepEqual(
      world.audit.query({ sid: String(sid) }).map((e) => `${e.event} ${e.code}`),
      [
        'session.start T2000I',
        'windows.desktop.session.start TDP00I',
        'client.disconnect T3006I',
        'windows.desktop.session.end TDP01I',
        'session.end T2004I',
      ],
    );
    await at.page.getByRole('button', { name: 'Reconnect' }).click();
    await until('another session', () => world.sessions.list().length === 1);
    await at.page.close();
    await until('the end of that', () => world.sessions.list().length === 0);
    assert.equal(world.audit.last('client.disconnect')!['cause'], 'client_closed');
  });

  test('screen updates, resizing and a pointer that rests are no activity', async () => {
    const { desk, world } = lab;
    const at = await desk({ desktop: 'open' });
    await at.hear('ready');
    await at.still();
    const { idleForMs: before } = world.sessions.list()[0]!;
    const shown = await at.picture();
    // A second client types into the same desktop: the screen changes under the first.
    const other = await desk({ desktop: 'open' });
    await other.hear('ready');
    await other.page.mouse.move(200, 200);
    await other.page.keyboard.type('noise');
    await at.changed(shown);
    await at.page.evaluate(() =>
      (globalThis as unknown as { resizeTestDesktop(w: number, h: number): void }).resizeTestDesktop(640, 480),
    );
    await until('the desktop of 640 by 480', async () => {
      const size = await at.page.evaluate(() => {
        const { document } = globalThis as unknown as {
          document: { querySelector(s: string): { width: number; height: number } | null };
        };
        const canvas = document.querySelector('#desktop canvas');
        return `${canvas?.width} ${canvas?.height}`;
      });
      return size === '640 480';
    });
    const first = world.sessions.list().find((session) => session.idleForMs > before + 500);
    assert.ok(first !== undefined, 'the first session was idle all the while');
  });

  test('killed, and a role taken away: told at once, with the picture gone', async () => {
    const { desk, world } = lab;
    const at = await desk();
    await at.hear('ready');
    await at.still();
    const [session] = world.sessions.list();
    await world.sessions.kill(session!.id, { by: 'carol', message: 'maintenance' });
    const killed = await at.hear('end');
    assert.equal(killed.cause, 'killed');
    assert.match(killed.text ?? '', /carol.*maintenance/);
    assert.ok((await at.brightness()) < 20);
    await at.page.close();

    const revoked = await desk();
    await revoked.hear('ready');
    world.policy.put(user('alice', 'nothing'));
    assert.equal((await revoked.hear('end')).cause, 'access_revoked');
    await revoked.page.close();
    world.policy.put(user('alice', 'desktops'));
  });
});
