// The API under callers who may not, and bodies that are meant to hurt.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { ApiLab } from '../fixtures/api.ts';

/** What can be called without a sign-in; everything else that there is must refuse. */
const PUBLIC = /^(GET \/v1\/(ping|cas)|POST \/v1\/(login|invitations\/(lookup|accept)))$|\/v1\/(web|webauthn)\//;
/** What every signed-in user may call, whatever the roles: it is about the caller, or shows only what the caller may see. */
const ANYBODY =
  /^(GET \/v1\/(status|nodes|databases|kube-clusters|desktops|events|auth\/export|sessions)|POST \/v1\/(certificates|tickets|idle\/explain|sessions\/:id\/kill))$/;

describe('the API under attack', () => {
  let lab: ApiLab;
  before(async () => {
    lab = await ApiLab.start();
    await lab.putUser('nobody', []);
    await lab.putUser('editor', ['editor']);
  });
  after(() => lab.stop());

  /** Every route that the application has, as its method and path. */
  const routes = () => {
    const all = lab.api.routes.filter(({ method, path }) => method !== 'ALL' && !path.endsWith('*'));
    return [...new Set(all.map(({ method, path }) => `${method} ${path}`))];
  };
  const filled = (path: string) => path.replace(':kind', 'role').replace(':name', 'access').replace(/:\w+/g, 'x');

  test('every route but the few public ones refuses who has not signed in, before it reads anything', async () => {
    const closed = routes().filter((route) => !PUBLIC.test(route));
    assert.ok(closed.length >= 20, String(closed));
    for (const route of closed) {
      const [method, path] = route.split(' ') as [string, string];
      const body = method === 'GET' || method === 'DELETE' ? undefined : '{"no":"json';
      const answer = await lab.anonymous(method, filled(path), body);
      assert.equal(answer.status, 401, route);
    }
  });

  test('every route but those about oneself refuses who has no role', async () => {
    for (const route of routes().filter((one) => !PUBLIC.test(one) && !ANYBODY.test(one))) {
      const [method, path] = route.split(' ') as [string, string];
      const role = { kind: 'role', version: 'v7', metadata: { name: 'x' }, spec: {} };
      const bodies: Record<string, unknown> = {
        '/v1/resources': { resource: role, mode: 'create' },
        '/v1/users': { name: 'x', roles: [] },
        '/v1/locks': { target: { user: 'editor' } },
        '/v1/idle/rehearse': { resources: [role] },
        '/v1/auth/sign/user': { user: 'editor' },
        '/v1/auth/sign/database': { hosts: ['x'], ttlMs: 1_000 },
        '/v1/auth/sign/host': { hosts: ['x'], sshPublicKey: 'ssh-ed25519 AAAA', ttlMs: 1_000 },
      };
      const body = method === 'GET' || method === 'DELETE' ? undefined : (bodies[path] ?? {});
      const answer = await lab.as('nobody', method, filled(path), body);
      assert.equal(answer.status, 403, `${route}: ${JSON.stringify(answer.body)}`);
    }
    assert.equal(lab.ctx.policy.current.locks.length, 0);
  });

  test('what seems to change who calls changes nothing', async () => {
    for (const headers of [
      { 'x-forwarded-for': '127.0.0.1', 'x-real-ip': '127.0.0.1' },
      { 'x-forwarded-client-cert': 'Subject="CN=editor"', 'ssl-client-cert': 'x', 'x-user': 'editor' },
      { authorization: 'Basic ZWRpdG9yOmVkaXRvcg==' },
      { 'x-http-method-override': 'GET', 'x-original-url': '/v1/ping' },
      { cookie: `__Host-session=${'a'.repeat(4_000)}; user=editor` },
    ] as Record<string, string>[]) {
      assert.equal((await lab.anonymous('GET', '/v1/status', undefined, headers)).status, 401);
    }
  });

  test('JSON that is huge, deep, or no JSON is refused with a reason and never an error of our own', async () => {
    const role = (spec: string) =>
      `{"mode":"create","resource":{"kind":"role","version":"v7","metadata":{"name":"x"},"spec":${spec}}}`;
    for (const [body, status] of [
      [role(`"${'x'.repeat(2 * 1024 * 1024)}"`), 413],
      [role(`${'['.repeat(200_000)}${']'.repeat(200_000)}`), 400],
      [role(`${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`), 400],
      [role(`{"allow":${'{"a":'.repeat(5_000)}1${'}'.repeat(5_000)}}`), 400],
      [role(`{"options":{"client_idle_timeout":1e999}}`), 400],
      ['{"mode":"create","resource":', 400],
      ['\ufeff{}', 400],
      ['NaN', 400],
      ['null', 400],
      ['[]', 400],
      ['"x"', 400],
    ] as [string, number][]) {
      const start = performance.now();
      const answer = await lab.local('POST', '/v1/resources', body);
      const what = `${body.slice(0, 120)}: ${answer.status} ${JSON.stringify(answer.body).slice(0, 200)}`;
      assert.equal(answer.status, status, what);
      assert.ok(JSON.stringify(answer.body).length < 2_000, what);
      assert.ok(performance.now() - start < 10_000, what);
    }
    assert.deepEqual(
      lab.log.lines.filter((line) => line.includes('API call failed')),
      [],
    );
  });

  test('keys that reach for the prototype reach nothing', async () => {
    const clean = Object.keys(Object.prototype);
    for (const key of ['__proto__', 'constructor', 'prototype', 'hasOwnProperty', 'toString']) {
      const evil = `{"${key}":{"polluted":"yes","toString":"x"}}`;
      const wrap = (resource: string) => `{"mode":"upsert","resource":${resource}}`;
      const meta = `"version":"v7","metadata":{"name":"x","labels":{"${key}":"v"}}`;
      for (const body of [
        wrap(`{"kind":"role",${meta},"spec":${evil}}`),
        wrap(`{"kind":"role","${key}":{"spec":1},"version":"v7","metadata":{"name":"x"},"spec":{}}`),
        wrap(`{"kind":"role",${meta},"spec":{"allow":{"node_labels":${evil}}}}`),
        wrap(`{"kind":"role",${meta},"spec":{"options":${evil}}}`),
        wrap(
          `{"kind":"user","version":"v2","metadata":{"name":"${key}"},"spec":{"roles":["${key}"],"traits":${evil}}}`,
        ),
        wrap(`{"kind":"${key}",${meta},"spec":{}}`),
        `{"mode":"${key}","resource":{}}`,
        `{"${key}":{"mode":"create"},"resource":{},"mode":"create"}`,
      ]) {
        const answer = await lab.local('POST', '/v1/resources', body);
        assert.ok(answer.status < 500, `${body}: ${answer.status} ${JSON.stringify(answer.body)}`);
      }
      for (const path of [`/v1/resources/${key}`, `/v1/resources/role/${key}`, `/v1/resources/${key}/${key}`]) {
        const answer = await lab.local('GET', path);
        assert.ok([400, 404].includes(answer.status), `${path}: ${answer.status}`);
      }
      const explained = await lab.local('POST', '/v1/idle/explain', { user: `no-${key}`, roles: [key] });
      assert.ok([400, 404].includes(explained.status));
    }
    assert.equal(({} as Record<string, unknown>)['polluted'], undefined);
    assert.deepEqual(Object.keys(Object.prototype), clean);
    assert.equal(String({}), '[object Object]');
    assert.deepEqual(
      lab.log.lines.filter((line) => line.includes('API call failed')),
      [],
    );
  });

  test('names with control characters are refused, and stand in no log as they are', async () => {
    for (const name of [
      'a\u001b[2Jb',
      'a\nb',
      'a\u0000b',
      'a\u202eb',
      '\u2028',
      ' alice',
      '../alice',
      'a/b',
      'x'.repeat(300),
    ]) {
      const login = await lab.anonymous('POST', '/v1/login', { user: name, password: 'x' });
      assert.ok([400, 401, 429].includes(login.status), JSON.stringify(name));
      const added = await lab.local('POST', '/v1/users', { name, roles: ['access'] });
      assert.equal(added.status, 400, JSON.stringify(name));
      assert.doesNotMatch(JSON.stringify(added.body), /[\u001b\u0000\u202e\u2028]/);
      const reset = await lab.local('POST', `/v1/users/${encodeURIComponent(name)}/reset`, {});
      assert.ok([400, 404].includes(reset.status), JSON.stringify(name));
    }
    for (const line of lab.log.lines) assert.doesNotMatch(line, /[\u001b\u0000\u202e\u2028]/);
  });

  test('an invitation is accepted once, however many try at the same time', async () => {
    await lab.put({
      kind: 'cluster_auth_preference',
      version: 'v2',
      metadata: { name: 'cluster-auth-preference' },
      spec: { type: 'local', second_factor: 'off' },
    });
    const { body } = await lab.local('POST', '/v1/users', { name: 'bob', roles: ['access'] });
    const token = String(body.url).split('/').at(-1)!;
    const tries = Array.from({ length: 8 }, (_, n) =>
      lab.anonymous('POST', '/v1/invitations/accept', { token, password: `correct horse battery ${n}` }),
    );
    const accepted = (await Promise.all(tries))
      .map(({ status }, n) => ({ status, n }))
      .filter(({ status }) => status === 200);
    assert.equal(accepted.length, 1);
    const again = await lab.anonymous('POST', '/v1/invitations/accept', { token, password: 'correct horse battery 9' });
    assert.ok([401, 404, 429].includes(again.status));
    assert.notEqual((await lab.anonymous('POST', '/v1/invitations/lookup', { token })).status, 200);
    for (const n of [0, 1, 2]) {
      const login = { user: 'bob', password: `correct horse battery ${n}` };
      const { status } = await lab.anonymous('POST', '/v1/login', login);
      assert.equal(status === 200, n === accepted[0]!.n, String(status));
    }
  });
});
