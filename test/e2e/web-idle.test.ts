import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startWebWorld, type WebWorld } from '../fixtures/web/world.ts';

describe('web_idle_timeout', () => {
  let world: WebWorld;
  before(async () => {
    world = await startWebWorld();
    await world.addUser('alice', ['access', 'editor']);
    await world.addUser('bob', ['access']);
  });
  after(() => world.close());

  test('all tabs together: input in one keeps the others, and without any all are signed out', async () => {
    await world.setLimits({});
    const context = await world.context();
    const first = await world.signIn(context, 'alice');
    await first.getByRole('heading', { name: 'Resources' }).waitFor();
    const second = await context.newPage();
    await second.goto(`${world.url}/web/sessions`);
    await second.getByRole('heading', { name: 'Signed in with' }).waitFor();
    // A limit that is set now reaches the pages by the event stream.
    await world.setLimits({ web_idle_timeout: '16s' });
    const countdown = 'You will be signed out in';
    await first.getByText(countdown).waitFor();
    await second.getByText(countdown).waitFor();
    await second.keyboard.press('Shift');
    await first.getByText(countdown).waitFor({ state: 'detached' });
    await second.getByText(countdown).waitFor({ state: 'detached' });

    await first.getByText(countdown).waitFor();
    const reason = 'You were signed out: no activity for 16s (web_idle_timeout).';
    await first.getByText(reason).waitFor();
    await second.getByText(reason).waitFor();
    assert.deepEqual(await world.daemon.context.identity.sessions.list('alice'), []);
    await context.close();
  });

  test('the gateway ends a session whose page reports nothing, whatever else it asks for', async () => {
    await world.setLimits({ web_idle_timeout: '4s' });
    const { identity } = world.daemon.context;
    const { token } = await identity.sessions.create('bob');
    const headers = { cookie: `__Host-session=${token.reveal()}`, origin: world.url, 'x-nightlatch-request': '1' };
    const report = (active: boolean) =>
      world.request('/v1/web/activity', {
        method: 'POST',
        headers: { ...headers, 'content-type': 'application/json' },
        body: JSON.stringify({ active }),
      });
    const answer = await report(true);
    assert.equal(answer.status, 200);
    assert.equal(((await answer.json()) as { timeoutMs: number }).timeoutMs, 4_000);
    const asked = performance.now();
    let status = 200;
    // Reading pages, and reports that nothing happened, are no activity.
    while (status === 200 && performance.now() - asked < 30_000) {
      status = (await world.request('/v1/web/session', { headers })).status;
      if (status === 200) await report(false);
    }
    assert.equal(status, 401);
    assert.ok(performance.now() - asked >= 3_500, 'not before its time');
    assert.deepEqual(await identity.sessions.list('bob'), []);
  });
});
