// Real Xvnc, real Chromium with noVNC, the gateway between them with the real session layer.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { makeCertificate } from '../fixtures/desktop/certificate.ts';
import { desktopLab, together } from '../fixtures/desktop/lab.ts';
import { until } from '../fixtures/desktop/processes.ts';
import { role } from '../fixtures/desktop/world.ts';
import { startXvnc, type VncServer } from '../fixtures/desktop/xvnc.ts';

const PASSWORD = 'secret99';
const ALLOW = { windows_desktop_labels: { '*': '*' }, windows_desktop_logins: ['vnc'] };

describe('VNC desktops: passwords, certificates, refusals, the clipboard', { timeout: 110_000 }, () => {
  const { fingerprint, ...tls } = makeCertificate();
  const spec = ({ port }: VncServer) => ({ protocol: 'vnc', addr: `127.0.0.1:${port}` });
  const lab = desktopLab({
    start: () =>
      together({
        withPassword: startXvnc({ security: 'VncAuth', password: PASSWORD }),
        open: startXvnc({ security: 'None' }),
        encrypted: startXvnc({ security: 'X509Vnc', password: PASSWORD, tls }),
      }),
    desktops: ({ withPassword, open, encrypted }) => [
      { name: 'lab', spec: spec(withPassword) },
      { name: 'open', spec: spec(open) },
      { name: 'pinned', spec: { ...spec(encrypted), tls: { mode: 'pinned', fingerprint } } },
      { name: 'impostor', spec: { ...spec(encrypted), tls: { mode: 'pinned', fingerprint: 'ab'.repeat(32) } } },
      { name: 'gone', spec: { protocol: 'vnc', addr: '127.0.0.1:1' } },
    ],
    usual: () => ({ protocol: 'vnc', desktop: 'lab', login: 'vnc', password: PASSWORD }),
    onePage: false,
  });

  test('a password that the gateway keeps, one that is wrong, and none', async () => {
    const { desk, world } = lab;
    world.kept.set('lab vnc', PASSWORD);
    const kept = await desk({ password: '' });
    await kept.hear('ready');
    await kept.page.close();
    world.kept.delete('lab vnc');
    const wrong = await desk({ password: 'guess' });
    assert.equal((await wrong.hear('end')).problem, 'password_wrong');
    assert.equal(world.audit.last('windows.desktop.session.start')!.code, 'TDP00W');
    const none = await desk({ password: '', page: wrong.page });
    assert.equal((await none.hear('end')).problem, 'password_required');
  });

  test('VeNCrypt: the pinned certificate and no other', async () => {
    const { desk } = lab;
    const at = await desk({ desktop: 'pinned' });
    await at.hear('ready');
    const first = await at.still();
    await at.page.mouse.move(200, 200);
    await at.page.keyboard.type('over TLS');
    await at.changed(first);
    const impostor = await desk({ desktop: 'impostor', page: at.page });
    const end = await impostor.hear('end');
    assert.equal(end.problem, 'untrusted');
    assert.match(end.text ?? '', new RegExp(fingerprint));
  });

  test('refusals: no role, a login not granted, an unknown desktop, one that does not answer', async () => {
    const { desk } = lab;
    let at = await desk({ user: 'mallory' });
    for (const [options, problem, text] of [
      [{ user: 'mallory' }, 'denied', /access/],
      [{ login: 'root' }, 'denied', /access/],
      [{ desktop: 'nowhere' }, 'denied', /no desktop "nowhere"/],
      [{ desktop: 'gone' }, 'unreachable', /ECONNREFUSED/],
    ] as const) {
      at = await desk({ ...options, page: at.page });
      const end = await at.hear('end');
      assert.equal(end.problem, problem);
      assert.match(end.text ?? '', text);
    }
  });

  test('the clipboard: text both ways, recorded; with the role option off, neither', async () => {
    const { desk, world } = lab;
    const at = await desk({ desktop: 'open' });
    await at.hear('ready');
    await at.still();
    await at.page.evaluate("navigator.clipboard.writeText('from the browser\\n')");
    await at.page.mouse.move(100, 100);
    await at.page.mouse.move(900, 690);
    await at.page.mouse.move(100, 100);
    const before = await at.picture();
    // Xvnc asks for the text when something there wants to paste it.
    await until('the text in the terminal', async () => {
      await at.page.mouse.click(100, 300, { button: 'middle' });
      return (await at.picture()) !== before && world.audit.last('desktop.clipboard.send') !== undefined;
    });
    assert.ok(Number(world.audit.last('desktop.clipboard.send')!['length']) > 0);
    await at.page.mouse.click(20, 8, { clickCount: 3 });
    await until('the selection, recorded', () => world.audit.last('desktop.clipboard.receive') !== undefined);
    assert.match(String(await at.page.evaluate('navigator.clipboard.readText()')), /from the browser/);
    world.policy.put(role('desktops', ALLOW, { desktop_clipboard: false }));
    await at.page.close();

    const events = () => world.audit.names.filter((name) => name.startsWith('desktop.clipboard')).length;
    const count = events();
    const shut = await desk({ desktop: 'open' });
    await shut.hear('ready');
    const picture = await shut.still();
    await shut.page.evaluate("navigator.clipboard.writeText('must stay here')");
    await shut.page.mouse.move(100, 100);
    await shut.page.mouse.move(900, 690);
    await shut.page.mouse.move(100, 100);
    await shut.page.keyboard.type('done');
    await shut.changed(picture);
    assert.equal(events(), count);
    await shut.page.close();
    world.policy.put(role('desktops', ALLOW));
  });
});
