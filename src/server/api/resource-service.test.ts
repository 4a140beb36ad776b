import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { ApiLab } from '../../../test/fixtures/api.ts';

const ORIGIN = 'teleport.dev/origin';

const cap = (spec: object = {}, labels: object = {}) => ({
  kind: 'cluster_auth_preference',
  version: 'v2',
  metadata: { name: 'cluster-auth-preference', labels },
  spec: { type: 'local', second_factor: 'off', ...spec },
});

const role = (name: string, options: object = {}, metadata: object = {}) => ({
  kind: 'role',
  version: 'v3',
  metadata: { name, ...metadata },
  spec: { options },
});

describe('resources over the API', () => {
  let lab: ApiLab;

  before(async () => {
    lab = await ApiLab.start();
  });

  beforeEach(() => {
    lab.audit.events.length = 0;
  });

  afterEach(async () => {
    lab.audit.broken = false;
    for (const kind of ['cluster_auth_preference', 'role', 'user', 'node'] as const) {
      for (const { name } of await lab.ctx.store.list(kind)) await lab.ctx.store.delete(kind, name);
    }
  });

  after(() => lab.stop());

  const write = (resource: unknown, mode = 'create', more: object = {}) =>
    lab.local('POST', '/v1/resources', { resource, mode, ...more });

  const current = async (path: string) => (await lab.local('GET', `/v1/resources/${path}`)).body.resources[0];

  test('what there is one of is there from the start, by default', async () => {
    const found = await current('cap');
    assert.equal(found.metadata.labels[ORIGIN], 'defaults');
    assert.equal(found.metadata.revision, undefined);
    assert.equal((await current('networking-config')).kind, 'cluster_networking_config');
  });

  test('create, then create again, then with force; the origin is dynamic whatever the file says', async () => {
    const made = await write(cap({}, { [ORIGIN]: 'defaults' }));
    assert.equal(made.status, 200, JSON.stringify(made.body));
    assert.deepEqual(
      { ...made.body, revision: 0 },
      { kind: 'cluster_auth_preference', name: 'cluster-auth-preference', existed: false, revision: 0, warnings: [] },
    );
    assert.equal((await current('cap')).metadata.labels[ORIGIN], 'dynamic');
    const again = await write(cap());
    assert.equal(again.status, 409);
    assert.deepEqual(again.body.error, {
      code: 'already_exists',
      message: 'non-default cluster auth preference already exists',
    });
    assert.equal((await write(cap({ options: { client_idle_timeout: '30m' } }), 'upsert')).status, 200);
    assert.equal((await current('cap')).spec.options.client_idle_timeout, '30m0s');
    assert.equal(lab.ctx.policy.current.authPreference.spec.options?.client_idle_timeout, '30m0s');
  });

  test('what the configuration file sets is refused, and written when insisted upon', async () => {
    await lab.put(cap({}, { [ORIGIN]: 'config-file' }));
    const refused = await write(cap(), 'upsert');
    assert.equal(refused.status, 400);
    assert.equal(
      refused.body.error.message,
      'The cluster auth preference resource is managed by static configuration. We recommend removing configuration from nightlatch.yaml, restarting the servers and trying this command again.\n\nIf you would still like to proceed, re-run the command with both --force and --confirm flags.',
    );
    const edited = await write(cap(), 'update');
    assert.match(edited.body.error.message, /re-run the command with the --confirm flag\.$/);
    const deleted = await lab.local('DELETE', '/v1/resources/cap');
    assert.equal(
      deleted.body.error.message,
      'This resource is managed by static configuration. In order to reset it to defaults, remove relevant configuration from nightlatch.yaml and restart the servers.',
    );
    assert.equal((await write(cap(), 'create', { confirm: true })).status, 409);
    const warnings = ['The cluster auth preference is set in nightlatch.yaml: the next start puts back what it says.'];
    assert.deepEqual((await write(cap(), 'upsert', { confirm: true })).body.warnings, warnings);
    assert.equal((await current('cap')).metadata.labels[ORIGIN], 'dynamic');
    assert.deepEqual((await write(cap(), 'upsert')).body.warnings, warnings);
  });

  test('what the configuration file registers can be seen, not changed', async () => {
    const node = {
      kind: 'node',
      sub_kind: 'teleport',
      version: 'v2',
      metadata: { name: 'here' },
      spec: { hostname: 'here' },
    } as const;
    lab.ctx.policy.setStatic('node', [{ ...node, metadata: { name: 'here', labels: { [ORIGIN]: 'config-file' } } }]);
    assert.equal((await current('node/here')).spec.hostname, 'here');
    assert.equal((await lab.local('GET', '/v1/resources/nodes')).body.resources.length, 1);
    const mine = { ...node, sub_kind: 'openssh', spec: { hostname: 'elsewhere', addr: 'h:22' } };
    for (const confirm of [false, true]) {
      assert.match((await write(mine, 'upsert', { confirm })).body.error.message, /managed by static configuration/);
    }
    assert.match(
      (await lab.local('DELETE', '/v1/resources/node/here')).body.error.message,
      /managed by static configuration/,
    );
    lab.ctx.policy.setStatic('node', []);
  });

  test('an update demands presence and, with a revision, that nothing changed since', async () => {
    assert.equal((await write(role('r'), 'update')).status, 404);
    await write(role('r'));
    const seen = await current('role/r');
    assert.equal(
      (await write(role('r', { client_idle_timeout: '1m' }, { revision: seen.metadata.revision }), 'update')).status,
      200,
    );
    const stale = await write(role('r', { client_idle_timeout: '2m' }, { revision: seen.metadata.revision }), 'update');
    assert.equal(stale.status, 409);
    assert.equal(stale.body.error.code, 'conflict');
    assert.equal((await current('role/r')).spec.options.client_idle_timeout, '1m0s');
    assert.equal(lab.audit.events.at(-1)!['success'], false);
    assert.equal(
      (await write(role('r', { client_idle_timeout: '3m' }, { revision: seen.metadata.revision }), 'upsert')).status,
      200,
    );
  });

  test('a user has roles that are there, and a name that can sign in; a role in use stays', async () => {
    const user = (name: string, roles: string[]) => ({
      kind: 'user',
      version: 'v2',
      metadata: { name },
      spec: { roles },
    });
    assert.equal((await write(user('ann', ['missing']))).body.error.message, 'role "missing" is not found');
    for (const name of ['a\u0000b', ' ann', 'a\u200db', 'cafe\u0301']) {
      assert.equal((await write(user(name, []))).status, 400, JSON.stringify(name));
    }
    await write(role('r'));
    assert.equal((await write(user('ann', ['r']))).status, 200);
    assert.match((await lab.local('DELETE', '/v1/resources/role/r')).body.error.message, /still in use by user "ann"/);
    assert.equal((await lab.local('DELETE', '/v1/resources/user/ann')).status, 200);
    assert.equal((await lab.local('DELETE', '/v1/resources/role/r')).status, 200);
    assert.equal((await lab.local('DELETE', '/v1/resources/role/r')).status, 404);
  });

  test('a user who is removed cannot come back with the old password', async () => {
    await write(cap());
    await write({ kind: 'user', version: 'v2', metadata: { name: 'ann' }, spec: {} });
    await lab.setPassword('ann', 'correct horse battery staple');
    const login = () => lab.anonymous('POST', '/v1/login', { user: 'ann', password: 'correct horse battery staple' });
    assert.equal((await login()).status, 200);
    await lab.local('DELETE', '/v1/resources/user/ann');
    await write({ kind: 'user', version: 'v2', metadata: { name: 'ann' }, spec: {} });
    assert.equal((await login()).status, 401);
  });

  test('a node goes by its hostname where that is unique', async () => {
    const node = (name: string) => ({
      kind: 'node',
      version: 'v2',
      metadata: { name },
      spec: { hostname: 'web', addr: 'h:22' },
    });
    await write(node('n1'));
    assert.equal((await current('node/web')).metadata.name, 'n1');
    await write(node('n2'));
    assert.match(
      (await lab.local('GET', '/v1/resources/node/web')).body.error.message,
      /several nodes are called web: name one of n1, n2/,
    );
    assert.equal((await lab.local('DELETE', '/v1/resources/node/n1')).status, 200);
    assert.deepEqual((await lab.local('DELETE', '/v1/resources/node/web')).body, { kind: 'node', name: 'n2' });
  });

  test('a Kubernetes cluster that cannot be used is written, with a warning', async () => {
    const cluster = (spec: object) => ({ kind: 'kube_cluster', version: 'v3', metadata: { name: 'c' }, spec });
    const kubeconfig = Buffer.from('{"contexts": []}').toString('base64');
    const wrong = await write(cluster({ kubeconfig, context: 'missing' }), 'upsert');
    assert.equal(wrong.status, 200);
    assert.deepEqual(wrong.body.warnings, [
      'The kubernetes cluster "c" cannot be used as it stands: kubeconfig of kube_cluster "c": there is no context "missing"',
    ]);
    const absent = await write(cluster({ kubeconfig_file: '/nonexistent/kubeconfig' }), 'upsert');
    assert.match(absent.body.warnings[0], /\/nonexistent\/kubeconfig cannot be read: ENOENT/);
    await lab.local('DELETE', '/v1/resources/kube_cluster/c');
  });

  test('every change is in the audit log before it is made, with the settings and what they were', async () => {
    await write(role('r', { client_idle_timeout: '10m' }));
    await write(role('r', { client_idle_timeout: '5m' }), 'upsert');
    await lab.local('DELETE', '/v1/resources/role/r');
    await write(cap({ options: { client_idle_timeout: '1h' } }));
    await lab.local('DELETE', '/v1/resources/cap');
    const shown = lab.audit.events.map(
      ({ event, code, user, name, settings, previous_settings: previous, success }) => [
        event,
        code,
        user,
        name,
        (settings as { client_idle_timeout?: string })?.client_idle_timeout,
        (previous as { client_idle_timeout?: string })?.client_idle_timeout,
        success,
      ],
    );
    assert.deepEqual(shown, [
      ['role.created', 'T9000I', 'local/admin', 'r', '10m0s', undefined, true],
      ['role.updated', 'T9002I', 'local/admin', 'r', '5m0s', '10m0s', true],
      ['role.deleted', 'T9001I', 'local/admin', 'r', undefined, undefined, true],
      ['auth_preference.update', 'TCAUTH001I', 'local/admin', 'cluster-auth-preference', undefined, undefined, true],
      ['auth_preference.update', 'TCAUTH001I', 'local/admin', 'cluster-auth-preference', undefined, undefined, true],
    ]);
    lab.audit.broken = true;
    const refused = await write(role('unheard'));
    assert.equal(refused.status, 503);
    assert.equal(refused.body.error.code, 'audit_unavailable');
    lab.audit.broken = false;
    assert.equal((await lab.local('GET', '/v1/resources/role/unheard')).status, 404);
  });

  test('what is wrong with a resource is said by key', async () => {
    for (const [resource, message] of [
      [null, /expected a resource/],
      [{ kind: 'rolle' }, /kind: unknown kind "rolle": did you mean role\?/],
      [
        role('r', { client_idle_timeout: 15 }),
        /spec\.options\.client_idle_timeout: time: missing unit in duration "15"/,
      ],
      [
        { ...cap(), spec: { client_idle_timeout: '5m' } },
        /spec\.client_idle_timeout: does not belong here: it belongs in spec\.options\.client_idle_timeout/,
      ],
      [{ ...role('r'), version: 'v99' }, /version: must be one of/],
      [role('../r'), /metadata\.name/],
    ] as const) {
      const answer = await write(resource);
      assert.equal(answer.status, 400);
      assert.match(answer.body.error.message, message);
    }
    assert.equal((await lab.local('GET', '/v1/resources/unheard')).status, 400);
    assert.deepEqual(lab.audit.events, []);
  });
});
