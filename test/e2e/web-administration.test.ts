import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { BrowserContext } from 'playwright-core';
import { violations } from '../fixtures/web/axe.ts';
import { startAdministeredWorld, type WebWorld } from '../fixtures/web/world.ts';

describe('administration in the web application', () => {
  let world: WebWorld;
  let context: BrowserContext;
  before(async () => {
    ({ world, context } = await startAdministeredWorld());
  });
  after(() => world?.close());

  test('a user is invited, locked and removed in the page', async () => {
    const page = await context.newPage();
    await page.goto(`${world.url}/web/users`);
    await page.getByRole('button', { name: 'Invite a user' }).click();
    await page.getByLabel('User name').fill('dora');
    await page.getByRole('checkbox', { name: 'access', exact: true }).check();
    await page.getByRole('button', { name: 'Invite', exact: true }).click();
    const link = await page.getByRole('dialog').locator('code').textContent();
    assert.match(link!, /^https:\/\/localhost:\d+\/web\/invite\/[\w-]{43}$/);
    assert.deepEqual(await violations(page), []);
    await page.keyboard.press('Escape');
    await page.getByRole('row', { name: /dora/ }).waitFor();

    await page.goto(`${world.url}/web/locks`);
    await page.getByRole('button', { name: 'New lock' }).click();
    await page.getByLabel('Name').fill('dora');
    await page.getByLabel('For how long').fill('1h');
    await page.getByRole('button', { name: 'Lock', exact: true }).click();
    await page.getByRole('row', { name: /user dora/ }).waitFor();
    assert.equal(world.daemon.context.policy.current.locks.length, 1);

    await page.goto(`${world.url}/web/audit?events=lock.created`);
    await page.getByRole('button', { name: 'Details of lock.created' }).click();
    const event = await page.getByLabel('The event as it stands in the log').inputValue();
    assert.equal((JSON.parse(event) as { user: string }).user, 'alice');

    await page.goto(`${world.url}/web/users`);
    await page.getByRole('button', { name: 'Remove dora' }).click();
    await page.getByRole('button', { name: 'Remove', exact: true }).click();
    await page.getByRole('row', { name: /dora/ }).waitFor({ state: 'detached' });
    assert.equal(world.daemon.context.policy.current.users.has('dora'), false);
    await page.close();
  });

  test('a role is made from YAML, with what is wrong said where it is', async () => {
    const page = await context.newPage();
    await page.goto(`${world.url}/web/roles`);
    await page.getByRole('button', { name: 'New role' }).click();
    const yaml = page.getByLabel('YAML');
    const text = await yaml.inputValue();
    await yaml.fill(text.replace('15m', '15'));
    await page.getByRole('button', { name: 'Review the change' }).click();
    await page
      .getByRole('alert')
      .getByText(/missing unit in duration "15"/)
      .waitFor();
    await page.getByRole('button', { name: 'Cancel' }).click();
    await yaml.fill(text.replace('new-role', 'night'));
    await page.getByRole('button', { name: 'Review the change' }).click();
    await page.getByText('unchanged').waitFor();
    await page.getByRole('button', { name: 'Apply' }).click();
    await page.getByRole('button', { name: 'Edit night' }).waitFor();
    assert.equal(world.daemon.context.policy.current.roles.get('night')!.spec.options.client_idle_timeout, '15m0s');
    await page.close();
  });
});
