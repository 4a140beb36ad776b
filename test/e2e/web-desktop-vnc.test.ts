// A VNC desktop within the application; the gateway and the component themselves are tested in test/interop/desktop-vnc*.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startXvnc, type VncServer } from '../fixtures/desktop/xvnc.ts';
import { violations } from '../fixtures/web/axe.ts';
import { keptThenCut, openFromList, registerDesktop } from '../fixtures/web/desktop.ts';
import { startWebWorld, type WebWorld } from '../fixtures/web/world.ts';

const PASSWORD = 'secret99';

describe('a VNC desktop in the web application', () => {
  let vnc: VncServer;
  let world: WebWorld;
  before(async () => {
    vnc = await startXvnc({ security: 'VncAuth', password: PASSWORD });
    world = await startWebWorld();
    await registerDesktop(world, { name: 'lab', spec: { protocol: 'vnc', addr: `127.0.0.1:${vnc.port}` } }, 'vnc');
  });
  after(async () => {
    await world?.close();
    await vnc?.stop();
  });

  test('the password is asked for, the desktop kept by input, and cut when its user has gone', async () => {
    const context = await world.context();
    const page = await openFromList(world, context, 'lab', 'vnc');
    const enter = async (password: string) => {
      await page.getByLabel('Password of vnc').fill(password);
      await page.getByRole('button', { name: 'Connect' }).click();
    };
    await page.getByLabel('Password of vnc').waitFor();
    assert.deepEqual(await violations(page), []);
    await enter('wrong');
    await page.locator('.problem').waitFor();
    await enter(PASSWORD);
    await keptThenCut(world, page);
    await page.getByLabel('Password of vnc').waitFor();
    await context.close();
  });
});
