// Real xrdp with xorgxrdp, real Chromium with IronRDP, the gateway between them with the real session layer.
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import type { Page } from 'playwright-core';
import { openDesk, startBrowser, type TestBrowser } from '../fixtures/desktop/browser.ts';
import { makeCertificate } from '../fixtures/desktop/certificate.ts';
import { until } from '../fixtures/desktop/processes.ts';
import { type DesktopWorld, desktopWorld, role } from '../fixtures/desktop/world.ts';
import { type RdpServer, startXrdp } from '../fixtures/desktop/xrdp.ts';

describe('RDP desktops: passwords, refusals, the clipboard', { timeout: 115_000 }, () => {
  const certificate = makeCertificate();
  const { fingerprint, cert } = certificate;
  let browser: TestBrowser;
  let server: RdpServer;
  let world: DesktopWorld;
  let page: Page | undefined;

  before(async () => {
    [browser, server] = await Promise.all([startBrowser(), startXrdp(certificate)]);
    const addr = `127.0.0.1:${server.port}`;
    world = await desktopWorld(
      [
        { name: 'win', spec: { addr, tls: { mode: 'pinned', fingerprint } } },
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
    // The page stays: loading the component anew takes seconds.
    await page?.evaluate('view?.close()');
    await until('the end of all sessions', () => world.sessions.list().length === 0);
  });

  const desk = async (options: Partial<Parameters<typeof openDesk>[2]> = {}) => {
    const at = await openDesk(browser, world.page.url, {
      ...(page === undefined ? {} : { page }),
      protocol: 'rdp',
      desktop: 'win',
      login: server.login,
      password: server.password,
      ...options,
    });
    page = at.page;
    return at;
  };

  test('a password that the gateway keeps; refusals: no role, certificates, no password', async () => {
    world.kept.set(`win ${server.login}`, server.password);
    let at = await desk({ password: 'wrong, and not used' });
    await at.hear('ready');
    await at.white();
    world.kept.clear();
    await at.page.evaluate('view.close()');

    // Refusals, on the same page: no role, certificates, no password.
    at = await desk({ user: 'mallory' });
    assert.equal((await at.hear('end')).problem, 'denied');
    for (const [options, problem, text] of [
      [{ desktop: 'unknown-ca' }, 'untrusted', /self-signed/],
      [{ desktop: 'other-name' }, 'untrusted', /example\.com/],
      [{ password: '' }, 'password_required', /password/],
    ] as const) {
      at = await desk({ ...options });
      const end = await at.hear('end');
      assert.equal(end.problem, problem);
      assert.match(end.text ?? '', text);
    }
  });

  test('the clipboard: text both ways, recorded; with the role option off, neither', async () => {
    const allow = { windows_desktop_labels: { '*': '*' }, windows_desktop_logins: [server.login] };
    const at = await desk();
    await at.hear('ready');
    await at.white();
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
    const shut = await desk();
    await shut.hear('ready');
    await shut.white();
    const picture = await shut.still();
    await shut.page.mouse.move(100, 100);
    await shut.page.keyboard.type('done');
    await shut.changed(picture);
    assert.equal(events(), count);
    world.policy.put(role('desktops', allow));
  });
});
