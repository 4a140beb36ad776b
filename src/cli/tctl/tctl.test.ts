import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type {
  AuditEventMessage,
  ExplainResponse,
  LiveSessionMessage,
  RehearsedSessionMessage,
} from '../../wire/api/messages.ts';
import { ApiClient } from '../common/api-client.ts';
import { formatSessions } from '../common/sessions.ts';
import { formatEvents } from './audit.ts';
import { formatExplanation, formatRehearsal } from './idle.ts';
import { lock } from './lock.ts';
import { formatResources } from './resource-format.ts';
import { deletedText, writtenText } from './resource-text.ts';
import { parseRef, parseRefs } from './resources.ts';
import { withoutSetPrefix } from './users.ts';

const SESSION: LiveSessionMessage = {
  id: '6f0e2c1a-0000-4000-8000-000000000001',
  kind: 'ssh',
  protocol: 'ssh',
  user: 'ann',
  login: 'root',
  target: { kind: 'node', name: 'n1', displayName: 'web\u001b[31m', addr: 'h:22', labels: {} },
  clientAddr: '192.0.2.7:1',
  startedAtMs: 1_000_000,
  idleForMs: 65_400,
  endsInMs: 534_100,
  idleTimeoutMs: 600_000,
  timeoutSource: 'role tight',
  warned: false,
};

describe('references', () => {
  test('name kinds and resources', () => {
    assert.deepEqual(parseRef('cap'), { kind: 'cap' });
    assert.deepEqual(parseRef('role/x'), { kind: 'role', name: 'x' });
    assert.deepEqual(parseRef('lock/a/b'), { kind: 'lock', name: 'a/b' });
    assert.deepEqual(parseRef('role/'), { kind: 'role' });
    assert.deepEqual(parseRefs('roles,user/ann'), [{ kind: 'roles' }, { kind: 'user', name: 'ann' }]);
    assert.equal(parseRefs('all').length, 9);
    for (const bad of ['', '/x', '../x', 'a b', 'roles,,users'])
      assert.throws(() => parseRefs(bad), { code: 'bad_parameter' }, bad);
  });
});

describe('messages', () => {
  const response = (kind: string, existed = false) => ({ kind, name: 'x', existed, revision: 1, warnings: [] });

  test('of what was written are Teleport’s', () => {
    const said = (kind: string, mode: 'create' | 'upsert' | 'update', existed = false) =>
      writtenText(response(kind, existed), mode);
    assert.equal(said('cluster_auth_preference', 'create'), 'cluster auth preference has been created');
    assert.equal(said('cluster_auth_preference', 'upsert', true), 'cluster auth preference has been created');
    assert.equal(said('cluster_auth_preference', 'update', true), 'cluster auth preference has been updated');
    assert.equal(said('cluster_networking_config', 'create'), 'cluster networking configuration has been updated');
    assert.equal(said('role', 'create'), 'role "x" has been created');
    assert.equal(said('role', 'upsert', true), 'role "x" has been created');
    assert.equal(said('role', 'update', true), 'role "x" has been updated');
    assert.equal(said('user', 'upsert', true), 'user "x" has been updated');
    assert.equal(said('node', 'create'), 'node "x" has been created');
    assert.equal(said('db', 'create'), 'database "x" has been created');
    assert.equal(said('kube_cluster', 'upsert', true), 'kubernetes cluster "x" has been updated');
    assert.equal(said('windows_desktop', 'create'), 'windows desktop "x" has been updated');
    assert.equal(said('lock', 'create'), 'lock "x" has been created');
  });

  test('of what was deleted are Teleport’s', () => {
    assert.equal(deletedText('cluster_auth_preference', 'x'), 'cluster auth preference has been reset to defaults');
    assert.equal(
      deletedText('cluster_networking_config', 'x'),
      'cluster networking configuration has been reset to defaults',
    );
    assert.equal(deletedText('role', 'x'), 'role "x" has been deleted');
    assert.equal(deletedText('node', 'x\u001b'), 'node x\\u001b has been deleted');
  });
});

test('options of users update are those of users add', () => {
  assert.deepEqual(withoutSetPrefix({ setRoles: 'a', setLogins: 'b', setDbUsers: 'c' }), {
    setRoles: 'a',
    logins: 'b',
    dbUsers: 'c',
  });
});

describe('tables', () => {
  test('of sessions say when each ends, and have no power over the terminal', async () => {
    const table = await formatSessions(
      [
        SESSION,
        { ...SESSION, id: 'b', endsInMs: null, idleTimeoutMs: 0, timeoutSource: '' },
        { ...SESSION, id: 'c', endsInMs: 400, warned: true },
      ],
      1_090_000,
      true,
    );
    const lines = [
      'ID                                   Kind User Target             Since Idle For Ends In     Limit Source',
      '------------------------------------ ---- ---- ------------------ ----- -------- ----------- ----- ----------',
      '6f0e2c1a-0000-4000-8000-000000000001 ssh  ann  root@web\\u001b[31m 1m30s 1m5s     8m55s       10m0s role tight',
      'b                                    ssh  ann  root@web\\u001b[31m 1m30s 1m5s     never       never',
      'c                                    ssh  ann  root@web\\u001b[31m 1m30s 1m5s     1s (warned) 10m0s role tight',
    ];
    assert.equal(table, `${lines.join('\n')}\n`);
  });

  test('of resources, in every format', async () => {
    const role = {
      kind: 'role',
      version: 'v8',
      metadata: { name: 'x', labels: { 'teleport.dev/origin': 'dynamic' } },
      spec: {
        options: { client_idle_timeout: '10m0s' },
        allow: { logins: ['root'], node_labels: { env: ['prod', 'dev'] } },
      },
    };
    assert.equal(
      await formatResources([role], 'text'),
      'Role Version Idle Timeout Allowed to login as Node Labels\n---- ------- ------------ ------------------- ------------\nx    v8      10m0s        root                env:prod,dev\n',
    );
    assert.match(await formatResources([role, role], 'yaml'), /^kind: role\nmetadata:\n[\s\S]*\n---\nkind: role\n/);
    assert.equal(JSON.parse(await formatResources([role], 'json')).length, 1);
    assert.equal(await formatResources([], 'yaml'), '');
    assert.equal(await formatResources([], 'text'), '');
  });
});

const EXPLANATION: ExplainResponse = {
  user: 'ann',
  roles: ['access', 'tight'],
  idle: {
    timeoutMs: 600_000,
    warningMs: 60_000,
    activity: 'auto',
    message: 'Bye.',
    disconnectExpiredCert: true,
    maxSessionTtlMs: 0,
    timeoutSource: 'role tight',
    sources: [
      { name: 'cluster_networking_config (config-file)', timeoutMs: 900_000, wins: false },
      { name: 'role access', timeoutMs: 0, wins: false },
      { name: 'role tight', timeoutMs: 600_000, wins: true },
    ],
  },
};

test('an explanation names every place that had a say, and the one that won', async () => {
  assert.equal(
    await formatExplanation(EXPLANATION),
    `User:               ann
Roles:              access, tight
Idle timeout:       10m0s (role tight)
Warning:            1m0s before the end
Activity:           auto
Certificate expiry: ends the session
Longest session:    no limit
Message:            Bye.

  Source                                  Idle Timeout
- --------------------------------------- ------------
  cluster_networking_config (config-file) 15m0s
  role access                             never
* role tight                              10m0s
`,
  );
  const denied = await formatExplanation({
    ...EXPLANATION,
    resource: 'node/web',
    access: { allowed: false, reason: 'no' },
  });
  assert.match(denied, /Resource: +node\/web \(access denied: no\)\n/);
});

test('a rehearsal counts, and shows what would change', async () => {
  const one = (effect: RehearsedSessionMessage['effect']): RehearsedSessionMessage => ({
    session: SESSION,
    effect,
    newTimeoutMs: 60_000,
    newTimeoutSource: 'role tight',
    newEndsInMs: 15_000,
  });
  assert.equal(
    await formatRehearsal([one('unchanged')]),
    'Nothing has been changed. Of 1 live session: 0 would end after the warning, 0 would lose access, 0 would get a new deadline, 1 would not change.\n',
  );
  const text = await formatRehearsal([one('ends'), one('revoked'), one('deadline')]);
  assert.match(
    text,
    /Of 3 live sessions: 1 would end after the warning, 1 would lose access, 1 would get a new deadline, 0 would not change\./,
  );
  assert.match(text, / ends after its warning +1m0s \(role tight\) 15s\n/);
  assert.match(text, / loses access, ends at once 1m0s \(role tight\) now\n/);
});

test('a lock that would have ended already, and a bad duration, are refused before the server is asked', async () => {
  const api = new ApiClient({ kind: 'socket', path: '/nowhere' });
  await assert.rejects(lock(api, { user: 'ann', expires: '2020-01-01T00:00:00Z' }), {
    message: '--expires: 2020-01-01T00:00:00Z is in the past',
  });
  await assert.rejects(lock(api, { user: 'ann', ttl: '5x' }), { message: '--ttl: unknown unit "x" in duration "5x"' });
});

test('events fit the terminal', async () => {
  const event = { event: 'x', code: 'T1', time: '2026-01-01T00:00:00Z', uid: '1', user: 'ann', text: 'y'.repeat(500) };
  const lines = (await formatEvents([event as unknown as AuditEventMessage], 80)).trimEnd().split('\n');
  assert.equal(lines.length, 3);
  for (const line of lines) assert.ok(line.length <= 80, line);
  assert.match(lines[2]!, / ann {2}text=y+…$/);
});
