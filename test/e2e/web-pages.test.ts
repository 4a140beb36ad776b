import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { BrowserContext } from 'playwright-core';
import { violations } from '../fixtures/web/axe.ts';
import { startWebWorld, type WebWorld } from '../fixtures/web/world.ts';

const PAGES = [
  ['resources', 'Resources'],
  ['sessions', 'My sessions'],
  ['live', 'Live sessions'],
  ['policy', 'Idle policy'],
  ['audit', 'Audit log'],
  ['report', 'Idle report'],
  ['users', 'Users'],
  ['roles', 'Roles'],
  ['desktops', 'Desktops'],
  ['locks', 'Locks'],
  ['nowhere', 'There is no such page'],
] as const;

describe('the pages of the web application', () => {
  let world: WebWorld;
  let context: BrowserContext;
  const problems: string[] = [];
  before(async () => {
    world = await startWebWorld();
    await world.addUser('alice', ['access', 'editor', 'shell']);
    await world.addUser('bob', ['access']);
    context = await world.context();
    context.on('weberror', (error) => problems.push(String(error.error())));
    context.on('console', (message) => {
      // The first question of a browser that nobody has signed in with.
      if (message.type() === 'error' && !message.text().includes('401')) problems.push(message.text());
    });
  });
  after(() => world.close());

  test('sign-in and invitation pass axe, light and dark', async () => {
    const link = await world.invite('carol', ['access']);
    const page = await context.newPage();
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme });
      await page.goto(`${world.url}/web/`);
      await page.getByRole('button', { name: 'Sign in' }).waitFor();
      assert.deepEqual(await violations(page), []);
      await page.goto(link);
      await page.getByLabel('New password').fill('nine gray herons');
      assert.deepEqual(await violations(page), []);
    }
    await page.close();
  });

  test('every page passes axe, wide and narrow, light and dark, and breaks no content policy', async () => {
    const page = await world.signIn(context, 'alice');
    await page.getByRole('heading', { name: 'Resources' }).waitFor();
    for (const [colorScheme, width] of [
      ['light', 1280],
      ['dark', 390],
    ] as const) {
      await page.emulateMedia({ colorScheme });
      await page.setViewportSize({ width, height: 800 });
      for (const [path, title] of PAGES) {
        await page.goto(`${world.url}/web/${path}`);
        await page.getByRole('heading', { name: title, level: 1 }).waitFor();
        await page.getByText('Loading…').waitFor({ state: 'detached' });
        assert.deepEqual(await violations(page), []);
        const overflow = await page.evaluate(
          'document.documentElement.scrollWidth - document.documentElement.clientWidth',
        );
        assert.ok((overflow as number) <= 0, `${path} is ${overflow} pixels too wide at ${width}`);
      }
    }
    assert.deepEqual(problems, []);
    await page.close();
  });

  test('who may not administer sees no administration, and is refused it', async () => {
    const other = await world.context();
    const page = await world.signIn(other, 'bob');
    await page.getByRole('heading', { name: 'Resources' }).waitFor();
    const menu = page.getByRole('navigation', { name: 'Main' });
    assert.deepEqual(await menu.getByRole('link').allTextContents(), ['Nightlatchexample', 'Resources', 'My sessions']);
    await page.goto(`${world.url}/web/policy`);
    await page
      .getByRole('alert')
      .getByText(/access denied/i)
      .waitFor();
    await other.close();
  });
});
