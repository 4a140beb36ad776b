import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { TOTP } from 'otpauth';
import { codeFor, PASSWORD, startWebWorld, type WebWorld } from '../fixtures/web/world.ts';

describe('invitations and sign-in in a browser', () => {
  let world: WebWorld;
  before(async () => {
    world = await startWebWorld({ secondFactor: 'on' });
  });
  after(() => world.close());

  test('an invitation with an authenticator app, then a sign-in with password and code', async () => {
    const link = await world.invite('alice', ['access']);
    const context = await world.context();
    const page = await context.newPage();
    await page.goto(link);
    await page.getByLabel('New password').fill('short');
    await page.getByText('Strength: far too short').waitFor();
    await page.getByLabel('New password').fill(PASSWORD);
    await page.getByLabel('The same again').fill(`${PASSWORD}!`);
    await page.getByText('The two passwords differ.').waitFor();
    await page.getByLabel('The same again').fill(PASSWORD);
    await page.getByRole('img', { name: /QR code/ }).waitFor();
    const secret = (await page.locator('.enrol code').textContent())!.replace(/\s/g, '');
    await page.getByLabel('Code of your authenticator').fill('000000');
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page
      .getByRole('alert')
      .getByText(/code is wrong/)
      .waitFor();
    await page.getByLabel('Code of your authenticator').fill(codeFor(secret));
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('heading', { name: 'Resources' }).waitFor();

    const [cookie] = await context.cookies();
    assert.equal(cookie!.name, '__Host-session');
    assert.deepEqual([cookie!.httpOnly, cookie!.secure, cookie!.sameSite, cookie!.path], [true, true, 'Strict', '/']);

    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByRole('heading', { name: 'Sign in to Nightlatch' }).waitFor();
    await page.getByLabel('User name').fill('alice');
    await page.getByLabel('Password').fill('not the password');
    await page.getByLabel('Code of your authenticator').fill('123456');
    await page.getByRole('button', { name: 'Sign in', exact: true }).click();
    await page.getByText('Invalid user name, password or second factor.').waitFor();
    await page.getByLabel('Password').fill(PASSWORD);
    // The code of the enrolment is spent: the next one counts, half a minute later at most.
    const failed = page.getByText('Invalid user name, password or second factor.');
    const arrived = page.getByRole('heading', { name: 'Resources' });
    await page
      .getByLabel('Code of your authenticator')
      .fill(new TOTP({ secret }).generate({ timestamp: Date.now() + 30_000 }));
    await page.getByRole('button', { name: 'Sign in', exact: true }).click();
    await arrived.waitFor();
    assert.equal(await failed.count(), 0);
    await page.goto(link);
    await page
      .getByRole('alert')
      .getByText(/invitation is not valid/)
      .waitFor();
    await context.close();
  });

  test('an invitation with a security key, then a sign-in with it', async () => {
    const link = await world.invite('bob', ['access']);
    const context = await world.context();
    const page = await context.newPage();
    const devtools = await context.newCDPSession(page);
    await devtools.send('WebAuthn.enable');
    await devtools.send('WebAuthn.addVirtualAuthenticator', {
      options: {
        protocol: 'ctap2',
        transport: 'usb',
        hasResidentKey: false,
        hasUserVerification: false,
        automaticPresenceSimulation: true,
      },
    });
    await page.goto(link);
    await page.getByLabel('New password').fill(PASSWORD);
    await page.getByLabel('The same again').fill(PASSWORD);
    await page.getByRole('button', { name: 'Passkey', exact: true }).click();
    await page.getByRole('button', { name: 'Register a passkey and sign in' }).click();
    await page.getByRole('heading', { name: 'Resources' }).waitFor();
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByLabel('User name').fill('bob');
    await page.getByLabel('Password').fill(PASSWORD);
    await page.getByRole('button', { name: 'Sign in with a passkey' }).click();
    await page.getByRole('heading', { name: 'Resources' }).waitFor();
    await context.close();
  });

  test('what another site sends is refused, with or without its own header', async () => {
    const post = (headers: Record<string, string>) =>
      world.request('/v1/web/login', {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body: JSON.stringify({ user: 'alice', password: PASSWORD }),
      });
    const own = { origin: world.url, 'x-nightlatch-request': '1' };
    assert.equal((await post(own)).status, 401);
    assert.equal((await post({ origin: world.url })).status, 403);
    assert.equal((await post({ ...own, origin: 'https://elsewhere.example' })).status, 403);
    assert.equal((await post({ 'x-nightlatch-request': '1' })).status, 403);
  });

  test('the application is served compressed, hashed, for ever, and under a strict policy', async () => {
    const index = await world.request('/web/resources', { headers: { 'accept-encoding': 'br' } });
    assert.equal(index.status, 200);
    assert.equal(index.headers.get('cache-control'), 'no-cache');
    const policy = index.headers.get('content-security-policy')!;
    assert.match(policy, /default-src 'none'/);
    assert.match(policy, /script-src 'self';/);
    assert.match(policy, /style-src 'self';/);
    assert.match(policy, /frame-ancestors 'none'/);
    assert.doesNotMatch(policy, /unsafe/);
    assert.match(index.headers.get('strict-transport-security')!, /max-age=\d{7,}/);
    assert.equal(index.headers.get('x-content-type-options'), 'nosniff');
    assert.equal(index.headers.get('referrer-policy'), 'no-referrer');
    const html = await index.text();
    assert.doesNotMatch(html, /<script(?![^>]*src=)/);
    const script = /src="(\/web\/assets\/[\w-]+\.js)"/.exec(html)![1]!;
    for (const coding of ['br', 'gzip']) {
      const asset = await world.request(script, { headers: { 'accept-encoding': coding } });
      assert.equal(asset.headers.get('content-encoding'), coding);
      assert.match(asset.headers.get('cache-control')!, /immutable/);
      await asset.arrayBuffer();
    }
    for (const path of [
      '/web/assets/none.js',
      '/web/assets/../../package.json',
      '/etc/passwd',
      '/web/%2e%2e/package.json',
    ]) {
      const body = await (await world.request(path)).text();
      assert.doesNotMatch(body, /"name": "nightlatch"|root:/);
    }
  });

  test('the first load is under 250 kB compressed', async () => {
    const context = await world.context();
    const page = await context.newPage();
    let bytes = 0;
    page.on('response', async (response) => {
      const sizes = await response
        .request()
        .sizes()
        .catch(() => undefined);
      bytes += sizes?.responseBodySize ?? 0;
    });
    await page.goto(`${world.url}/web/`, { waitUntil: 'networkidle' });
    await page.getByRole('heading', { name: 'Sign in to Nightlatch' }).waitFor();
    assert.ok(bytes > 5_000 && bytes < 250_000, `${bytes} bytes`);
    await context.close();
  });
});
