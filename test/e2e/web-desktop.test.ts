// A desktop within the application; the gateway and the components themselves are tested in test/interop/desktop-*.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Page } from 'playwright-core';
import { until } from '../fixtures/desktop/processes.ts';
import { startXvnc, type VncServer } from '../fixtures/desktop/xvnc.ts';
import { violations } from '../fixtures/web/axe.ts';
import { startWebWorld, type WebWorld } from '../fixtures/web/world.ts';

const PASSWORD = 'secret99';

describe('a desktop in the web application', () => {
  let vnc: VncServer;
  let world: WebWorld;
  before(async () => {
    vnc = await startXvnc({ security: 'VncAuth', password: PASSWORD });
    world = await startWebWorld();
    await world.put({
      kind: 'windows_desktop',
      version: 'v3',
      metadata: { name: 'lab' },
      spec: { protocol: 'vnc', addr: `127.0.0.1:${vnc.port}` },
    });
    await world.put({
      kind: 'role',
      version: 'v7',
      metadata: { name: 'desktops' },
      spec: { allow: { windows_desktop_labels: { '*': '*' }, windows_desktop_logins: ['vnc'] } },
    });
    await world.addUser('alice', ['desktops']);
  });
  after(async () => {
    await world?.close();
    await vnc?.stop();
  });

  test('the password is asked for, the desktop kept by input, and cut when its user has gone', async () => {
    const context = await world.context();
    const resources = await world.signIn(context, 'alice');
    const opened = context.waitForEvent('page');
    await resources.getByRole('link', { name: 'Connect to lab as vnc' }).click();
    const page = await opened;
    const enter = async (password: string) => {
      await page.getByLabel('Password of vnc').fill(password);
      await page.getByRole('button', { name: 'Connect' }).click();
    };
    await page.getByLabel('Password of vnc').waitFor();
    assert.deepEqual(await violations(page), []);
    await enter('wrong');
    await page.locator('.problem').waitFor();
    await enter(PASSWORD);
    await page.getByText('no idle limit').waitFor();
    await page.locator('canvas').waitFor();
    const before = await picture(page);
    await page.mouse.move(400, 300);
    await page.mouse.click(400, 300);
    await page.keyboard.type('echo hello');
    await until('typing changed the picture', async () => (await picture(page)) !== before);

    await world.setLimits({ client_idle_timeout: '14s', client_idle_warning: '7s' });
    await page.getByText('ends after 14s without activity').waitFor();
    await page
      .getByRole('alert')
      .getByText(/this session ends in 7s/)
      .waitFor();
    await page.keyboard.press('a');
    await page.getByText('The session goes on.').waitFor();
    await page
      .getByRole('alertdialog')
      .getByText(/no activity for 14s \(cluster_networking_config\)/)
      .waitFor({ timeout: 40_000 });
    assert.equal(await page.locator('canvas').count(), 0, 'the picture is gone');
    assert.deepEqual(await violations(page), []);
    await world.setLimits({});
    await page.getByRole('button', { name: 'Reconnect' }).click();
    await page.getByLabel('Password of vnc').waitFor();
    await context.close();
  });
});

async function picture(page: Page): Promise<string> {
  return (await page.locator('.stage-screen').screenshot()).toString('base64');
}
