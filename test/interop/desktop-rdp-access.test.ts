// Real xrdp with xorgxrdp, real Chromium with IronRDP, the gateway between them with the real session layer.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { xrdpLab } from '../fixtures/desktop/lab.ts';
import { until } from '../fixtures/desktop/processes.ts';
import { role } from '../fixtures/desktop/world.ts';

describe('RDP desktops: passwords, refusals, the clipboard', { timeout: 115_000 }, () => {
  const lab = xrdpLab(({ port, cert }) => {
    const addr = `127.0.0.1:${port}`;
    return [
      { name: 'other-name', spec: { addr, tls: { mode: 'verify-full', ca_cert: cert, server_name: 'example.com' } } },
      { name: 'unknown-ca', spec: { addr } },
    ];
  });

  test('a password that the gateway keeps; refusals: no role, certificates, no password', async () => {
    const { desk, world, servers: server } = lab;
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
    const { desk, world, servers: server } = lab;
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
    // xterm takes clicks within a quarter of a second for one multiple click, wherever they were: all above would be selected.
    await at.still();
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
