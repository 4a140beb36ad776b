// An RDP desktop within the application; the gateway and the component themselves are tested in test/interop/desktop-rdp*.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { makeCertificate } from '../fixtures/desktop/certificate.ts';
import { pinnedDesktop } from '../fixtures/desktop/lab.ts';
import { type RdpServer, startXrdp } from '../fixtures/desktop/xrdp.ts';
import { violations } from '../fixtures/web/axe.ts';
import { keptThenCut, openFromList, registerDesktop } from '../fixtures/web/desktop.ts';
import { startWebWorld, type WebWorld } from '../fixtures/web/world.ts';

describe('an RDP desktop in the web application', () => {
  let rdp: RdpServer;
  let world: WebWorld;
  before(async () => {
    const certificate = makeCertificate();
    rdp = await startXrdp(certificate);
    world = await startWebWorld();
    await registerDesktop(world, pinnedDesktop('win', rdp, certificate.fingerprint), rdp.login);
    await world.addUser('carol', ['editor']);
  });
  after(async () => {
    await world?.close();
    await rdp?.stop();
  });

  test('a password that an administrator keeps is put in on the way; kept by input, and cut', async () => {
    const { login, password } = rdp;
    const office = await world.context();
    const desktops = await world.signIn(office, 'carol', '/web/desktops');
    await desktops.getByRole('button', { name: 'Keep a password for win' }).click();
    await desktops.getByLabel('Login').fill(login);
    await desktops.getByLabel('Password', { exact: true }).fill(password);
    assert.deepEqual(await violations(desktops), []);
    await desktops.getByRole('button', { name: 'Keep', exact: true }).click();
    const kept = desktops.getByRole('button', { name: `Forget the password of ${login}` });
    await kept.waitFor();
    assert.deepEqual(await violations(desktops), []);

    const context = await world.context();
    const heard: Buffer[] = [];
    context.on('page', (page) =>
      page.on('websocket', (ws) => {
        const keep = ({ payload }: { payload: string | Buffer }) => heard.push(Buffer.from(payload));
        ws.on('framereceived', keep);
        ws.on('framesent', keep);
      }),
    );
    const page = await openFromList(world, context, 'win', login);
    await keptThenCut(world, page);
    await page.getByText('no idle limit').waitFor();
    const all = Buffer.concat(heard);
    assert.ok(all.includes('"type":"ready"'), 'what the browser hears was watched');
    for (const encoding of ['utf8', 'utf16le'] as const) {
      assert.ok(!all.includes(Buffer.from(password, encoding)), 'the browser never holds the password');
    }
    await page.close();

    await kept.click();
    await desktops.getByRole('button', { name: 'Forget', exact: true }).click();
    await kept.waitFor({ state: 'detached' });
    const asked = await context.newPage();
    await asked.goto(`${world.url}/web/desktop/win/${login}`);
    await asked.getByLabel(`Password of ${login}`).waitFor();
    await Promise.all([context.close(), office.close()]);
  });
});
