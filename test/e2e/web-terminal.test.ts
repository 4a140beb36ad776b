import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { BrowserContext, Page } from 'playwright-core';
import { until } from '../fixtures/desktop/processes.ts';
import {
  openTerminal,
  startAdministeredWorld,
  terminalShows,
  typeCommand,
  type WebWorld,
} from '../fixtures/web/world.ts';

const LIMITS = { client_idle_timeout: '12s', client_idle_warning: '6s' };

describe('terminals in a browser', () => {
  let world: WebWorld;
  let context: BrowserContext;
  let admin: Page;
  before(async () => {
    ({ world, context, admin } = await startAdministeredWorld());
  });
  after(() => world?.close());

  function disconnects(sid: string) {
    return world.daemon.context.audit.find({ events: ['client.disconnect'], sid });
  }

  test('typed into, idle, warned, kept, idle, cut: the picture is gone and the reason is told', async () => {
    await world.setLimits({});
    const page = await openTerminal(admin);
    await page.getByText('no idle limit').waitFor();
    const [session] = world.daemon.context.sessions.list();
    assert.equal(session!.user, 'alice');

    await world.setLimits({ ...LIMITS, idle_timeout_message: 'Ask the night shift.' });
    await page.getByText('ends after 12s without activity').waitFor();
    const warning = page.getByRole('alert');
    await warning
      .getByText(/this session ends in 6s \(cluster_networking_config\)\. Press any key to keep it\./)
      .waitFor();
    await page.keyboard.press('Space');
    await page.getByText('The session goes on.').waitFor();
    assert.equal(world.daemon.context.sessions.list().length, 1);

    await warning.waitFor();
    const end = page.getByRole('alertdialog');
    await end
      .getByText('Session ended: no activity for 12s (cluster_networking_config). Ask the night shift.')
      .waitFor({ timeout: 20_000 });
    assert.equal(await page.locator('.xterm').count(), 0, 'nothing of the terminal is left in the page');
    assert.doesNotMatch(await page.content(), /begin-42/);
    const [event] = await disconnects(session!.id);
    assert.equal(event!['cause'], 'idle');
    assert.ok((event!['overshoot_ms'] as number) >= 0);

    await world.setLimits({});
    await end.getByRole('button', { name: 'Reconnect' }).click();
    await page.getByRole('button', { name: 'Files' }).waitFor();
    await typeCommand(page, 'echo again-$((1+1))');
    await terminalShows(page, 'again-2');
    await page.close();
    await until('the session of the closed page ended', () => world.daemon.context.sessions.list().length === 0);
  });

  test('a limit changed in the page is rehearsed, and reaches an open terminal; a second tab sees it end', async () => {
    await world.setLimits({});
    const page = await openTerminal(admin);
    const watching = await context.newPage();
    await watching.goto(`${world.url}/web/live`);
    const row = watching.getByRole('row', { name: /alice/ });
    await row.waitFor();
    assert.match((await row.textContent())!, /no limit/);

    await admin.goto(`${world.url}/web/policy`);
    const field = admin.getByLabel('End a session after').first();
    await field.fill('12');
    await admin.getByText('time: missing unit in duration "12"').waitFor();
    const review = admin.getByRole('button', { name: 'Review the change' }).first();
    assert.ok(await review.isDisabled());
    await field.fill('12s');
    await admin.getByLabel('Warn before the end').first().fill('4s');
    await review.click();
    const dialog = admin.getByRole('dialog');
    await dialog.getByText(/1 session (ends in|gets another deadline)/).waitFor();
    await dialog.getByRole('button', { name: 'Apply' }).click();
    await dialog.waitFor({ state: 'detached' });
    await page.getByText('ends after 12s without activity').waitFor();
    await watching.getByText('12s cluster_networking_config').waitFor();
    await admin.getByRole('row', { name: /alice .* 12s/ }).waitFor();

    await page
      .getByRole('alertdialog')
      .getByText(/no activity for 12s/)
      .waitFor({ timeout: 40_000 });
    await watching.getByText('Nobody is connected.').waitFor();
    await watching.close();
    await page.close();
  });

  test('an administrator ends a session, and its user reads why', async () => {
    await world.setLimits({});
    const page = await openTerminal(admin);
    const [session] = world.daemon.context.sessions.list();
    await admin.goto(`${world.url}/web/live`);
    await admin.getByRole('button', { name: /^End… the session of alice on testnode/ }).click();
    await admin.getByLabel('Message to the user').fill('Maintenance at noon');
    await admin.getByRole('button', { name: 'End session' }).click();
    await page.getByRole('alertdialog').getByText('Session ended by alice: Maintenance at noon.').waitFor();
    await admin.getByText('Nobody is connected.').waitFor();
    const [event] = await disconnects(session!.id);
    assert.equal(event!['cause'], 'killed');
    await page.close();
  });
});
