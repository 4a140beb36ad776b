import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { BrowserContext, Page } from 'playwright-core';
import { WebSocket } from 'ws';
import { until } from '../fixtures/desktop/processes.ts';
import { giveToAccount, LOGIN, openTerminal, startAdministeredWorld, type WebWorld } from '../fixtures/web/world.ts';

describe('terminals in a browser: files, access, signing out', () => {
  let world: WebWorld;
  let context: BrowserContext;
  let admin: Page;
  before(async () => {
    ({ world, context, admin } = await startAdministeredWorld());
  });
  after(() => world?.close());

  test('files go both ways by sftp, within the session of the terminal', async () => {
    await world.setLimits({});
    const page = await openTerminal(admin);
    const dir = mkdtempSync(join(os.tmpdir(), 'nightlatch-files-'));
    const content = Buffer.alloc(700_001, 'abcdefg');
    const local = join(dir, 'source.bin');
    writeFileSync(local, content);
    const folder = join(dir, 'up');
    const upload = page.getByRole('button', { name: 'Upload', exact: true }).and(page.locator('button'));
    try {
      await page.getByRole('button', { name: 'Files' }).click();
      await page.locator('input[type=file]').setInputFiles(local);
      await page.getByLabel('Into the folder').fill(folder);
      await upload.click();
      await page
        .getByRole('alert')
        .getByText(/There is no .*up\/source\.bin on the node|does not allow/)
        .waitFor();
      mkdirSync(folder);
      chmodSync(dir, 0o755);
      giveToAccount(folder);
      await upload.click();
      await page.getByText('source.bin was uploaded.').waitFor();
      assert.deepEqual(readFileSync(join(folder, 'source.bin')), content);
      const download = page.waitForEvent('download');
      await page.getByLabel('Download', { exact: true }).fill(join(folder, 'source.bin'));
      await page.getByRole('button', { name: 'Download' }).and(page.locator('button')).click();
      assert.deepEqual(readFileSync(await (await download).path()), content);
      assert.equal(world.daemon.context.sessions.list().length, 1, 'files need no session of their own');
    } finally {
      rmSync(dir, { recursive: true });
      await page.close();
    }
  });

  test('a WebSocket needs the own origin and a session, and a user without the login is told', async () => {
    const [cookie] = await context.cookies();
    const ws = (headers: Record<string, string>, path = `/v1/web/terminal?node=testnode&login=${LOGIN}`) =>
      new Promise<number>((resolve) => {
        const socket = new WebSocket(world.url.replace('https', 'wss') + path, { headers, rejectUnauthorized: false });
        socket.on('unexpected-response', (_request, response) => resolve(response.statusCode ?? 0));
        socket.on('open', () => {
          socket.close();
          resolve(101);
        });
        socket.on('error', () => undefined);
      });
    const signedIn = { cookie: `${cookie!.name}=${cookie!.value}` };
    assert.equal(await ws({ ...signedIn, origin: world.url }), 101);
    assert.equal(await ws(signedIn), 403);
    assert.equal(await ws({ ...signedIn, origin: 'https://elsewhere.example' }), 403);
    assert.equal(await ws({ origin: world.url }), 401);
    assert.equal(await ws({ cookie: '__Host-session=nonsense', origin: world.url }), 401);
    assert.equal(await ws({ ...signedIn, origin: world.url }, '/v1/web/elsewhere'), 404);
    const page = await context.newPage();
    await page.goto(`${world.url}/web/terminal/testnode/nobody-we-know`);
    await page.getByRole('alertdialog').getByText('your roles do not allow the login "nobody-we-know"').waitFor();
    await page.goto(`${world.url}/web/terminal/10.0.0.1/${LOGIN}`);
    await page.getByRole('alertdialog').getByText('there is no node "10.0.0.1"').waitFor();
    await page.close();
  });

  test('signing out in one tab ends the other tabs and what they have open', async () => {
    await world.setLimits({});
    const page = await openTerminal(admin);
    const other = await context.newPage();
    await other.goto(`${world.url}/web/sessions`);
    await other.getByRole('button', { name: 'Sign out everywhere', exact: true }).click();
    await other.getByRole('button', { name: 'Sign out everywhere now' }).click();
    await other.getByText('You were signed out everywhere.').waitFor();
    await admin.getByRole('heading', { name: 'Sign in to Nightlatch' }).waitFor();
    await page.getByRole('heading', { name: 'Sign in to Nightlatch' }).waitFor();
    await until('the terminal ended', () => world.daemon.context.sessions.list().length === 0);
  });
});
