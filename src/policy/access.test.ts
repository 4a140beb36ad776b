import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { decode, snapshotOf } from '../../test/fixtures/test-policy.ts';
import { type Database, decodeResource, type Node, type Role, type WindowsDesktop } from '../resources/index.ts';
import {
  allowedLogins,
  canSee,
  checkDbAccess,
  checkDesktopAccess,
  checkNodeAccess,
  checkRule,
  findLock,
  loginsOn,
} from './access.ts';
import { certificateTtlMs, desktopOptions, kubeOptions, lockingMode, sshOptions } from './options.ts';
import { presetRoles } from './presets.ts';

type Side = Record<string, unknown>;

function role(name: string, allow: Side, deny: Side = {}, more: { version?: string; options?: Side } = {}): Role {
  const { version = 'v7', options = {} } = more;
  return decode<Role>({ kind: 'role', version, metadata: { name }, spec: { allow, deny, options } });
}

function world(roles: readonly Role[], traits: Record<string, string[]> = {}) {
  const user = {
    kind: 'user',
    metadata: { name: 'alice' },
    spec: { roles: roles.map((one) => one.metadata.name), traits },
  };
  return snapshotOf([...roles, decodeResource(user)]);
}

function node(labels: Record<string, string> = {}): Node {
  return decode<Node>({
    kind: 'node',
    metadata: { name: 'n', labels },
    spec: { addr: '127.0.0.1:22', hostname: 'web' },
  });
}

function db(labels: Record<string, string> = {}): Database {
  return decode<Database>({
    kind: 'db',
    metadata: { name: 'd', labels },
    spec: { protocol: 'postgres', uri: 'h:5432' },
  });
}

/** '' when allowed, else the reason. */
function nodeReason(
  roles: readonly Role[],
  login: string,
  target: Node,
  traits: Record<string, string[]> = {},
): string {
  const answer = checkNodeAccess(world(roles, traits), { user: 'alice', login, node: target });
  return answer.allowed ? '' : answer.reason;
}

const everyNode = { '*': '*' };

describe('access to nodes', () => {
  test('denied unless allowed', () => {
    assert.match(nodeReason([], 'root', node()), /no role of user "alice" allows its labels/);
    assert.match(nodeReason([role('a', { logins: ['root'] })], 'root', node()), /labels \(node_labels\)/);
    assert.match(nodeReason([role('a', { node_labels: everyNode })], 'root', node()), /allows login "root" there/);
    assert.equal(nodeReason([role('a', { logins: ['root'], node_labels: everyNode })], 'root', node()), '');
  });

  test('labels and login must come from one role', () => {
    const roles = [
      role('a', { logins: ['root'], node_labels: { env: 'dev' } }),
      role('b', { logins: ['web'], node_labels: everyNode }),
    ];
    assert.equal(nodeReason(roles, 'root', node({ env: 'dev' })), '');
    assert.match(nodeReason(roles, 'root', node({ env: 'prod' })), /allows login "root" there/);
  });

  test('deny wins, by label or by login', () => {
    const open = role('open', { logins: ['root', 'web'], node_labels: everyNode });
    assert.match(
      nodeReason([open, role('no', {}, { logins: ['root'] })], 'root', node()),
      /role "no" denies login "root"/,
    );
    assert.match(
      nodeReason([open, role('no', {}, { node_labels: { env: 'prod' } })], 'web', node({ env: 'prod' })),
      /role "no" denies it by node_labels/,
    );
    assert.equal(nodeReason([open, role('no', {}, { node_labels: { env: 'prod' } })], 'web', node({ env: 'dev' })), '');
    assert.match(nodeReason([open, role('no', {}, { logins: ['*'] })], 'web', node()), /denies login/);
  });

  const selectors: [Record<string, unknown>, Record<string, string>, boolean][] = [
    [{ '*': '*' }, {}, true],
    [{}, { env: 'dev' }, false],
    [{ env: 'dev' }, { env: 'dev', x: 'y' }, true],
    [{ env: 'dev' }, { env: 'prod' }, false],
    [{ env: 'dev' }, {}, false],
    [{ env: '*' }, { env: 'anything' }, true],
    [{ env: '*' }, {}, false],
    [{ env: ['dev', 'test'] }, { env: 'test' }, true],
    [{ env: 'dev', team: 'x' }, { env: 'dev' }, false],
    [{ env: 'dev-*' }, { env: 'dev-3' }, true],
    [{ env: '^dev-[0-9]$' }, { env: 'dev-3' }, true],
    [{ env: '^dev-[0-9]$' }, { env: 'dev-33' }, false],
    [{ team: '{{external.team}}' }, { team: 'blue' }, true],
    [{ team: '{{external.team}}' }, { team: 'red' }, false],
    [{ team: '{{external.missing}}' }, { team: 'blue' }, false],
    [{ constructor: 'x' }, {}, false],
  ];
  for (const [selector, labels, expected] of selectors) {
    test(`${JSON.stringify(selector)} ${expected ? 'selects' : 'does not select'} ${JSON.stringify(labels)}`, () => {
      const roles = [role('a', { logins: ['root'], node_labels: selector })];
      assert.equal(nodeReason(roles, 'root', node(labels), { team: ['blue', 'green'] }) === '', expected);
    });
  }

  test('logins from traits; a wildcard trait opens no account', () => {
    const roles = [role('a', { logins: ['{{internal.logins}}'], node_labels: everyNode })];
    assert.equal(nodeReason(roles, 'web', node(), { logins: ['web'] }), '');
    assert.match(nodeReason(roles, 'root', node(), { logins: ['web'] }), /root/);
    assert.match(nodeReason(roles, 'root', node(), { logins: ['*'] }), /root/);
    assert.throws(() => role('b', { logins: ['*'] }), /'\*' is not allowed here/);
  });

  test('a trait that makes an unreadable matcher allows nothing and denies everything', () => {
    const traits = { team: ['^(a+)+$'] };
    const allow = role('a', { logins: ['root'], node_labels: { team: '{{external.team}}' } });
    assert.notEqual(nodeReason([allow], 'root', node({ team: 'a' }), traits), '');
    const open = role('open', { logins: ['root'], node_labels: everyNode });
    const deny = role('no', {}, { node_labels: { team: '{{external.team}}' } });
    assert.match(nodeReason([open, deny], 'root', node({ team: 'b' }), traits), /denies it/);
  });

  test('an unknown user, and a user with a role that does not exist, is refused', () => {
    const open = role('open', { logins: ['root'], node_labels: everyNode });
    const snapshot = snapshotOf([
      open,
      decodeResource({ kind: 'user', metadata: { name: 'bob' }, spec: { roles: ['open', 'gone'] } }),
    ]);
    assert.deepEqual(checkNodeAccess(snapshot, { user: 'eve', login: 'root', node: node() }), {
      allowed: false,
      reason: 'user "eve" does not exist',
    });
    assert.deepEqual(checkNodeAccess(snapshot, { user: 'bob', login: 'root', node: node() }), {
      allowed: false,
      reason: 'role "gone" of user "bob" does not exist',
    });
  });

  test('v3 with options alone grants nothing; v3 with logins reaches every node; v4 none', () => {
    assert.notEqual(
      nodeReason([role('t', {}, {}, { version: 'v3', options: { client_idle_timeout: '10m' } })], 'root', node()),
      '',
    );
    assert.equal(nodeReason([role('a', { logins: ['root'] }, {}, { version: 'v3' })], 'root', node({ a: 'b' })), '');
    assert.notEqual(nodeReason([role('a', { logins: ['root'] }, {}, { version: 'v4' })], 'root', node({ a: 'b' })), '');
  });

  test('a role with options alone changes no decision', () => {
    const base = [role('a', { logins: ['root'], node_labels: { env: 'dev' } })];
    const labels = fc.record({ env: fc.constantFrom('dev', 'prod') });
    fc.assert(
      fc.property(labels, fc.constantFrom('root', 'web'), fc.constantFrom('v3', 'v5', 'v8'), (one, login, version) => {
        const tight = role('tight', {}, {}, { version, options: { client_idle_timeout: '1m' } });
        assert.equal(nodeReason([...base, tight], login, node(one)) === '', nodeReason(base, login, node(one)) === '');
        assert.equal(
          checkDbAccess(world([...base, tight]), { user: 'alice', database: db(), dbUser: 'x' }).allowed,
          false,
        );
      }),
    );
  });
});

describe('access to databases and desktops', () => {
  const check = (roles: readonly Role[], request: { dbUser: string; dbName?: string; replication?: boolean }) => {
    const answer = checkDbAccess(world(roles, { db_users: ['app'] }), {
      user: 'alice',
      database: db({ env: 'dev' }),
      ...request,
    });
    return answer.allowed ? '' : answer.reason;
  };
  const labels = { db_labels: { env: 'dev' } };

  test('user, name and replication', () => {
    const roles = [role('a', { ...labels, db_users: ['{{internal.db_users}}'], db_names: ['shop'] })];
    assert.equal(check(roles, { dbUser: 'app', dbName: 'shop' }), '');
    assert.match(check(roles, { dbUser: 'root', dbName: 'shop' }), /database user "root"/);
    assert.match(check(roles, { dbUser: 'app', dbName: 'other' }), /database name "other"/);
    assert.equal(check(roles, { dbUser: 'app' }), '');
    assert.match(check(roles, { dbUser: 'app', dbName: 'shop', replication: true }), /replication protocol/);
    const any = [role('a', { ...labels, db_users: '*', db_names: '*', db_replication: true })];
    assert.equal(check(any, { dbUser: 'root', dbName: 'x', replication: true }), '');
    assert.match(
      check([...any, role('no', {}, { db_names: ['secret'] })], { dbUser: 'a', dbName: 'secret' }),
      /denies database name/,
    );
  });

  test('user and name from different roles are not enough', () => {
    const roles = [role('a', { ...labels, db_users: ['x'] }), role('b', { ...labels, db_names: ['y'] })];
    assert.match(check(roles, { dbUser: 'x', dbName: 'y' }), /no single role .* together/);
  });

  test('desktops', () => {
    const desktop = decode<WindowsDesktop>({
      kind: 'windows_desktop',
      metadata: { name: 'w' },
      spec: { addr: 'h:3389' },
    });
    const snapshot = world([role('a', { windows_desktop_labels: { '*': '*' }, windows_desktop_logins: ['admin'] })]);
    assert.equal(checkDesktopAccess(snapshot, { user: 'alice', login: 'admin', desktop }).allowed, true);
    assert.equal(checkDesktopAccess(snapshot, { user: 'alice', login: 'other', desktop }).allowed, false);
    assert.deepEqual(loginsOn(snapshot, 'alice', desktop), ['admin']);
  });
});

describe('lists for people', () => {
  const roles = [
    role('a', { logins: ['root', '{{internal.logins}}'], node_labels: { env: 'dev' } }),
    role('b', { logins: ['web'], node_labels: everyNode }, { logins: ['mallory'] }),
  ];
  const snapshot = world(roles, { logins: ['alice', 'mallory'] });

  test('what a user sees and may sign in as', () => {
    assert.deepEqual(loginsOn(snapshot, 'alice', node({ env: 'dev' })), ['root', 'alice', 'web']);
    assert.deepEqual(loginsOn(snapshot, 'alice', node({ env: 'prod' })), ['web']);
    assert.deepEqual(allowedLogins(snapshot, 'alice'), ['root', 'alice', 'web']);
    assert.equal(canSee(snapshot, 'alice', node()), true);
    assert.equal(canSee(snapshot, 'eve', node()), false);
    assert.equal(canSee(snapshot, 'alice', db()), false);
  });

  test('every login in the list is allowed', () => {
    for (const login of loginsOn(snapshot, 'alice', node({ env: 'dev' }))) {
      assert.equal(checkNodeAccess(snapshot, { user: 'alice', login, node: node({ env: 'dev' }) }).allowed, true);
    }
  });
});

describe('rules and presets', () => {
  const may = (roles: readonly Role[], kind: string, verb: string) =>
    checkRule(world(roles), 'alice', kind, verb).allowed;
  const [access, editor, auditor] = presetRoles();

  test('presets', () => {
    assert.equal(may([editor!], 'role', 'create'), true);
    assert.equal(may([auditor!], 'session', 'list'), true);
    assert.equal(may([auditor!], 'role', 'list'), false);
    assert.equal(may([access!], 'role', 'list'), false);
    assert.equal(nodeReason([access!], 'alice', node(), { logins: ['alice'] }), '');
    assert.notEqual(nodeReason([access!], 'root', node(), { logins: ['alice'] }), '');
  });

  test('verbs, read without secrets, deny', () => {
    const reader = role('reader', { rules: [{ resources: ['role'], verbs: ['read'] }] });
    assert.equal(may([reader], 'role', 'read'), true);
    assert.equal(may([reader], 'role', 'readnosecrets'), true);
    assert.equal(may([reader], 'role', 'delete'), false);
    assert.equal(
      may([editor!, role('no', {}, { rules: [{ resources: ['role'], verbs: ['*'] }] })], 'role', 'create'),
      false,
    );
  });
});

describe('locks', () => {
  const lock = (target: Side, more: Side = {}) => ({
    kind: 'lock',
    metadata: { name: JSON.stringify(target).slice(2, 9) },
    spec: { target, ...more },
  });
  const query = {
    user: 'alice',
    roles: ['dev'],
    login: 'root',
    serverId: 'n',
    sessionId: 's',
    nowMs: Date.parse('2026-01-01T00:00:00Z'),
  };
  const found = (one: unknown) => findLock(snapshotOf([decodeResource(one)]), query) !== undefined;

  test('each target, expiry', () => {
    for (const target of [
      { user: 'alice' },
      { role: 'dev' },
      { login: 'root' },
      { server_id: 'n' },
      { session: 's' },
    ]) {
      assert.equal(found(lock(target)), true, JSON.stringify(target));
      assert.equal(found(lock(target, { expires: '2025-12-31T23:59:59Z' })), false);
      assert.equal(found(lock(target, { expires: '2026-01-01T00:00:01Z' })), true);
    }
    assert.equal(found(lock({ user: 'bob' })), false);
    assert.equal(found(lock({ user: 'bob', login: 'root' })), true);
    assert.throws(() => decodeResource(lock({})), /names nothing/);
  });
});

describe('options of roles', () => {
  const withOptions = (...options: Side[]) => world(options.map((one, at) => role(`r${at}`, {}, {}, { options: one })));

  test('SSH', () => {
    const defaults = {
      forwardAgent: false,
      localForwarding: true,
      remoteForwarding: true,
      maxSessions: 0,
      maxConnections: 0,
    };
    assert.deepEqual(sshOptions(withOptions(), 'alice'), defaults);
    assert.deepEqual(
      sshOptions(
        withOptions({ port_forwarding: false, max_sessions: 5 }, { max_sessions: 3, forward_agent: true }),
        'alice',
      ),
      {
        forwardAgent: true,
        localForwarding: false,
        remoteForwarding: false,
        maxSessions: 3,
        maxConnections: 0,
      },
    );
    const byDirection = withOptions({ port_forwarding: false, ssh_port_forwarding: { local: { enabled: true } } });
    assert.equal(sshOptions(byDirection, 'alice').localForwarding, true);
    assert.equal(sshOptions(byDirection, 'alice').remoteForwarding, false);
  });

  test('desktops, Kubernetes, locking, life of certificates', () => {
    assert.equal(desktopOptions(withOptions({}, { desktop_clipboard: false }), 'alice').clipboard, false);
    assert.equal(desktopOptions(withOptions({}), 'alice').clipboard, true);
    assert.equal(kubeOptions(withOptions({}, { kubernetes_exec_cleanup: 'hangup' }), 'alice').execCleanup, 'hangup');
    assert.equal(lockingMode(withOptions({ lock: 'strict' }), 'alice'), 'strict');
    assert.equal(certificateTtlMs(withOptions({}), 'alice'), 12 * 3_600_000);
    assert.equal(certificateTtlMs(withOptions({ max_session_ttl: '1h' }), 'alice'), 3_600_000);
    assert.equal(certificateTtlMs(withOptions({ max_session_ttl: '1h' }), 'alice', 60_000), 60_000);
    assert.equal(certificateTtlMs(withOptions({ max_session_ttl: '30d' }), 'alice', 20 * 86_400_000), 20 * 86_400_000);
    assert.equal(certificateTtlMs(withOptions({}), 'alice', 20 * 86_400_000), 12 * 3_600_000);
  });
});
