// A real RDP server that demands network level authentication (FreeRDP's shadow server): the gateway signs in, the browser cannot.
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { openDesk, startBrowser, type TestBrowser } from '../fixtures/desktop/browser.ts';
import { until } from '../fixtures/desktop/processes.ts';
import { type NlaServer, startShadow } from '../fixtures/desktop/shadow.ts';
import { type DesktopWorld, desktopWorld } from '../fixtures/desktop/world.ts';

describe('RDP desktops with network level authentication', { timeout: 90_000 }, () => {
  let browser: TestBrowser;
  let server: NlaServer;
  let world: DesktopWorld;

  before(async () => {
    [browser, server] = await Promise.all([startBrowser(), startShadow()]);
    const fingerprint = `sha256:${new X509Certificate(server.cert).fingerprint256}`;
    const spec = { addr: `127.0.0.1:${server.port}`, tls: { mode: 'pinned', fingerprint } };
    world = await desktopWorld([{ name: 'nla', spec }], [server.login]);
  });

  after(async () => {
    await browser?.end();
    await world?.close();
    await server?.stop();
  });

  const desk = (password: string, page?: Awaited<ReturnType<typeof openDesk>>['page']) =>
    openDesk(browser, world.page.url, {
      protocol: 'rdp',
      desktop: 'nla',
      login: server.login,
      password,
      ...(page === undefined ? {} : { page }),
    });

  test('a wrong password is refused before anything is shown, the right one shows the desktop, a kept one as well', async () => {
    const wrong = await desk('not this one');
    const end = await wrong.hear('end');
    assert.equal(end.problem, 'password_wrong');
    assert.match(end.text ?? '', /user name or password/);

    const at = await desk(server.password, wrong.page);
    await at.hear('ready');
    await at.white();
    const first = await at.still();
    // The terminal has the keys where the desktop's own pointer is; the browser's needs no click.
    await at.page.mouse.move(300, 200);
    await at.page.keyboard.type('hello');
    await at.changed(first);
    await at.page.evaluate('view.close()');
    await until('the end', () => world.sessions.list().length === 0);

    world.kept.set(`nla ${server.login}`, server.password);
    const kept = await desk('', at.page);
    await kept.hear('ready');
    const [session] = world.sessions.list();
    await world.sessions.kill(session!.id, { by: 'carol', message: '' });
    assert.equal((await kept.hear('end')).cause, 'killed');
  });
});
