// Real xrdp with xorgxrdp, real Chromium with IronRDP, the gateway between them with the real session layer.
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { openDesk, startBrowser, type TestBrowser } from '../fixtures/desktop/browser.ts';
import { makeCertificate } from '../fixtures/desktop/certificate.ts';
import { until } from '../fixtures/desktop/processes.ts';
import { type DesktopWorld, desktopWorld, networking, role, user } from '../fixtures/desktop/world.ts';
import { type RdpServer, startXrdp } from '../fixtures/desktop/xrdp.ts';

describe('RDP desktops: xrdp with xorgxrdp', { timeout: 115_000 }, () => {
  const certificate = makeCertificate();
  const { fingerprint, cert } = certificate;
  let browser: TestBrowser;
  let server: RdpServer;
  let world: DesktopWorld;

  before(async () => {
    [browser, server] = await Promise.all([startBrowser(), startXrdp(certificate)]);
    const addr = `127.0.0.1:${server.port}`;
    world = await desktopWorld(
      [
        { name: 'win', spec: { addr, tls: { mode: 'pinned', fingerprint } } },
        { name: 'by-ca', spec: { addr, tls: { mode: 'verify-full', ca_cert: cert, server_name: 'localhost' } } },
        { name: 'other-name', spec: { addr, tls: { mode: 'verify-full', ca_cert: cert, server_name: 'example.com' } } },
        { name: 'unknown-ca', spec: { addr } },
      ],
      [server.login],
    );
  });

  after(async () => {
    await browser?.end();
    await world?.close();
    await server?.stop();
  });

  // What one test leaves open is none of the next one's business.
  afterEach(async () => {
    for (const page of browser.pages()) await page.close();
    await until('the end of all sessions', () => world.sessions.list().length === 0);
  });

  const desk = (options: Partial<Parameters<typeof openDesk>[2]> = {}) =>
    openDesk(browser, world.page.url, {
      protocol: 'rdp',
      desktop: 'win',
      login: server.login,
      password: server.password,
      ...options,
    });

  test('typed into, idle, warned, kept by a key, cut with the picture gone first', async () => {
    const at = await desk();
    await at.hear('ready');
    await until('the white terminal', async () => (await at.brightness()) > 200);
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
    const at = await desk({ desktop: 'by-ca' });
    await at.hear('ready');
    await until('the white terminal', async () => (await at.brightness()) > 200);
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

  test('a password that the gateway keeps; refusals: no role, certificates, no password', async () => {
    world.kept.set(`win ${server.login}`, server.password);
    let at = await desk({ password: 'wrong, and not used' });
    await at.hear('ready');
    await until('the white terminal', async () => (await at.brightness()) > 200);
    world.kept.clear();
    await at.page.evaluate('view.close()');

    // Refusals, on the same page: no role, certificates, no password.
    at = await desk({ user: 'mallory', page: at.page });
    assert.equal((await at.hear('end')).problem, 'denied');
    for (const [options, problem, text] of [
      [{ desktop: 'unknown-ca' }, 'untrusted', /self-signed/],
      [{ desktop: 'other-name' }, 'untrusted', /example\.com/],
      [{ password: '' }, 'password_required', /password/],
    ] as const) {
      at = await desk({ ...options, page: at.page });
      const end = await at.hear('end');
      assert.equal(end.problem, problem);
      assert.match(end.text ?? '', text);
    }
  });

  test('the clipboard: text both ways, recorded; with the role option off, neither', async () => {
    const allow = { windows_desktop_labels: { '*': '*' }, windows_desktop_logins: [server.login] };
    const at = await desk();
    await at.hear('ready');
    await until('the white terminal', async () => (await at.brightness()) > 200);
    await at.page.evaluate("navigator.clipboard.writeText('from the browser\\n')");
    await at.page.mouse.move(100, 100);
    const before = await at.picture();
    await until('the text in the terminal', async () => {
      await at.page.mouse.click(100, 300);
      await at.page.keyboard.press('Shift+Insert');
      return (await at.picture()) !== before && world.audit.last('desktop.clipboard.send') !== undefined;
    });
    await at.page.mouse.click(20, 8, { clickCount: 3 });
    await until('the selection, recorded', () => world.audit.last('desktop.clipboard.receive') !== undefined);
    assert.match(String(await at.page.evaluate('navigator.clipboard.readText()')), /from the browser/);
    await at.page.evaluate('view.close()');

    world.policy.put(role('desktops', allow, { desktop_clipboard: false }));
    const events = () => world.audit.names.filter((name) => name.startsWith('desktop.clipboard')).length;
    const count = events();
    const shut = await desk({ page: at.page });
    await shut.hear('ready');
    await until('the white terminal', async () => (await shut.brightness()) > 200);
    const picture = await shut.still();
    await shut.page.mouse.move(100, 100);
    await shut.page.keyboard.type('done');
    await shut.changed(picture);
    assert.equal(events(), count);
    world.policy.put(role('desktops', allow));
  });

  test('killed, and locked: told at once, with the picture gone', async () => {
    const at = await desk();
    await at.hear('ready');
    await until('the white terminal', async () => (await at.brightness()) > 200);
    const [session] = world.sessions.list();
    await world.sessions.kill(session!.id, { by: 'carol', message: 'maintenance' });
    const killed = await at.hear('end');
    assert.equal(killed.cause, 'killed');
    assert.match(killed.text ?? '', /carol.*maintenance/);
    assert.ok((await at.brightness()) < 20);

    const locked = await desk({ page: at.page });
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
