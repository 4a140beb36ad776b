// A real RDP server that demands network level authentication (FreeRDP's shadow server): the gateway signs in, the browser cannot.
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { describe, test } from 'node:test';
import { desktopLab, pinnedDesktop } from '../fixtures/desktop/lab.ts';
import { until } from '../fixtures/desktop/processes.ts';
import { startShadow } from '../fixtures/desktop/shadow.ts';

describe('RDP desktops with network level authentication', { timeout: 90_000 }, () => {
  const lab = desktopLab({
    start: startShadow,
    desktops: (server) => [pinnedDesktop('nla', server, `sha256:${new X509Certificate(server.cert).fingerprint256}`)],
    usual: ({ login, password }) => ({ protocol: 'rdp', desktop: 'nla', login, password }),
    onePage: true,
  });

  test('a wrong password is refused before anything is shown, the right one shows the desktop, a kept one as well', async () => {
    const { desk, world, servers: server } = lab;
    const wrong = await desk({ password: 'not this one' });
    const end = await wrong.hear('end');
    assert.equal(end.problem, 'password_wrong');
    assert.match(end.text ?? '', /user name or password/);

    const at = await desk();
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
    const kept = await desk({ password: '' });
    await kept.hear('ready');
    const [session] = world.sessions.list();
    await world.sessions.kill(session!.id, { by: 'carol', message: '' });
    assert.equal((await kept.hear('end')).cause, 'killed');
  });
});
