import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { StoredAuditEvent } from './events.ts';
import { idleReport } from './idle-report.ts';
import { formatIdleReport } from './idle-report-format.ts';

const DAY = Date.UTC(2026, 0, 15);
const MINUTE = 60_000;
let uid = 0;

function at(minute: number, event: string, fields: Record<string, unknown>): StoredAuditEvent {
  const time = new Date(DAY + minute * MINUTE).toISOString();
  return { event, code: 'T', time, uid: String(uid++), cluster_name: 'c', ...fields };
}

/** The events of one session, as the session layer writes them. */
function session(sid: string, from: number, to: number | null, more: Record<string, unknown> = {}): StoredAuditEvent[] {
  const { startLimit, overshoot_ms, ...fields } = {
    user: 'alice',
    login: 'root',
    session_kind: 'ssh',
    protocol: 'ssh',
    server_hostname: 'web',
    idle_timeout_ms: 10 * MINUTE,
    timeout_source: 'role dev',
    cause: 'client_closed',
    longest_idle_ms: MINUTE,
    ...more,
  } as Record<string, unknown>;
  const { cause, longest_idle_ms, ...start } = fields;
  const events = [
    at(from, 'session.start', { sid, ...start, idle_timeout_ms: startLimit ?? start['idle_timeout_ms'] }),
  ];
  if (to === null) return events;
  return [
    ...events,
    at(to, 'client.disconnect', { sid, ...start, cause, ...(overshoot_ms === undefined ? {} : { overshoot_ms }) }),
    at(to, 'session.end', { sid, ...start, cause, longest_idle_ms, duration_ms: (to - from) * MINUTE }),
  ];
}

const report = (events: StoredAuditEvent[], from = 0, to = 1440) =>
  idleReport(
    events.sort((a, b) => (a.time < b.time ? -1 : a.time > b.time ? 1 : 0)),
    { fromMs: DAY + from * MINUTE, toMs: DAY + to * MINUTE },
  );
const verdicts = (events: StoredAuditEvent[]) =>
  Object.fromEntries(report(events).sessions.map(({ sid, verdict }) => [sid, verdict]));

describe('idle report', () => {
  test('which sessions are of the period', () => {
    const events = [
      ...session('before', 10, 20),
      ...session('across-start', 50, 70),
      ...session('within', 80, 90),
      ...session('across-end', 110, 130),
      ...session('all-over', 5, 1000),
      ...session('after', 120, 121),
      ...session('open', 30, null),
      at(100, 'session.end', {
        sid: 'start-unknown',
        user: 'bob',
        session_start: new Date(DAY).toISOString(),
        idle_timeout_ms: 0,
        longest_idle_ms: 5,
      }),
      at(100, 'session.reject', { sid: 'rejected' }),
      at(100, 'exec', { sid: 'other' }),
    ];
    const found = report(events, 60, 120);
    assert.deepEqual(found.sessions.map(({ sid }) => sid).sort(), [
      'across-end',
      'across-start',
      'all-over',
      'open',
      'start-unknown',
      'within',
    ]);
    assert.deepEqual([found.from, found.to], ['2026-01-15T01:00:00.000Z', '2026-01-15T02:00:00.000Z']);
    const unknown = found.sessions.find(({ sid }) => sid === 'start-unknown');
    assert.deepEqual(
      [unknown?.startedAt, unknown?.durationMs, unknown?.verdict],
      ['2026-01-15T00:00:00.000Z', 100 * MINUTE, 'no_limit'],
    );
    assert.deepEqual(found.totals, { sessions: 6, endedForIdleness: 0, over: 0, limitChanged: 0, noLimit: 1, open: 1 });
    assert.equal(found.lateness, null);
  });

  test('limit, longest idle stretch, cause and verdict of each', () => {
    assert.deepEqual(
      verdicts([
        ...session('within', 0, 60),
        ...session('cut', 0, 60, { cause: 'idle', longest_idle_ms: 10 * MINUTE + 12 }),
        ...session('tolerated', 0, 60, { longest_idle_ms: 10 * MINUTE + 1_000 }),
        ...session('over', 0, 60, { longest_idle_ms: 10 * MINUTE + 1_001 }),
        ...session('none', 0, 60, { idle_timeout_ms: 0, longest_idle_ms: 50 * MINUTE }),
        ...session('was-longer', 0, 60, { startLimit: 30 * MINUTE, longest_idle_ms: 25 * MINUTE }),
        ...session('was-never', 0, 60, { startLimit: 0, longest_idle_ms: 50 * MINUTE }),
        ...session('over-both', 0, 60, { startLimit: 30 * MINUTE, longest_idle_ms: 45 * MINUTE }),
        ...session('open', 0, null),
      ]),
      {
        within: 'within',
        cut: 'within',
        tolerated: 'within',
        over: 'over',
        none: 'no_limit',
        'was-longer': 'limit_changed',
        'was-never': 'limit_changed',
        'over-both': 'over',
        open: 'open',
      },
    );
  });

  test('a limit that changed in between and back is no breach; another setting, or a change that failed, excuses nothing', () => {
    const over = session('s', 10, 60, { longest_idle_ms: 20 * MINUTE });
    const set = (minute: number, timeout: string, more = {}) =>
      at(minute, 'role.updated', { name: 'dev', user: 'admin', settings: { client_idle_timeout: timeout, ...more } });
    assert.deepEqual(verdicts([set(5, '10m0s'), ...over]), { s: 'over' });
    assert.deepEqual(verdicts([set(5, '10m0s'), set(20, '30m0s'), set(50, '10m0s'), ...over]), { s: 'limit_changed' });
    assert.deepEqual(verdicts([set(5, '10m0s'), set(20, '10m0s', { client_idle_warning: '30s' }), ...over]), {
      s: 'over',
    });
    assert.deepEqual(verdicts([set(5, '10m0s'), set(20, '30m0s'), { ...set(20, '30m0s'), success: false }, ...over]), {
      s: 'over',
    });
  });

  test('lateness of the cut: nearest rank, of idle ends only', () => {
    const cuts = Array.from({ length: 200 }, (_, n) =>
      session(`s${n}`, n, n + 11, { cause: 'idle', overshoot_ms: n + 0.5, longest_idle_ms: 10 * MINUTE + n }),
    ).flat();
    const found = report([...cuts, ...session('expired', 0, 60, { cause: 'cert_expired', overshoot_ms: 9_999 })]);
    assert.deepEqual(found.lateness, { count: 200, medianMs: 99.5, p99Ms: 197.5, maxMs: 199.5 });
    assert.equal(found.totals.endedForIdleness, 200);
    assert.equal(found.sessions.find(({ sid }) => sid === 'expired')?.overshootMs, null);
    assert.deepEqual(report(session('one', 0, 20, { cause: 'idle', overshoot_ms: 3 })).lateness, {
      count: 1,
      medianMs: 3,
      p99Ms: 3,
      maxMs: 3,
    });
  });

  test('settings in force at the start, and when they changed', () => {
    const found = report(
      [
        at(1, 'cluster_networking_config.update', {
          user: 'admin',
          settings: { client_idle_timeout: '15m0s', idle_timeout_message: 'bye' },
        }),
        at(2, 'role.created', { name: 'gone', user: 'admin', settings: { client_idle_timeout: '5m0s' } }),
        at(3, 'role.deleted', { name: 'gone', user: 'admin' }),
        at(70, 'role.created', {
          name: 'dev',
          user: 'eve',
          settings: { client_idle_timeout: '10m0s', port_forwarding: true },
        }),
        at(80, 'role.updated', {
          name: 'dev',
          user: 'eve',
          settings: { client_idle_timeout: '10m0s', port_forwarding: false },
        }),
        at(90, 'role.deleted', { name: 'dev', user: 'eve' }),
        at(95, 'auth_preference.update', {
          user: 'bob',
          settings: { type: 'local', options: { client_idle_timeout: '1h0m0s' } },
          previous_settings: { disconnect_expired_cert: true },
        }),
        at(500, 'cluster_networking_config.update', { user: 'late', settings: {} }),
      ],
      60,
      120,
    );
    assert.deepEqual(found.settingsAtStart, [
      {
        source: 'cluster_networking_config',
        at: '2026-01-15T00:01:00.000Z',
        by: 'admin',
        settings: { client_idle_timeout: '15m0s', idle_timeout_message: 'bye' },
      },
      { source: 'cluster_auth_preference', at: null, by: '', settings: { disconnect_expired_cert: true } },
    ]);
    assert.deepEqual(
      found.settingsChanges.map(({ source, by, settings }) => [source, by, settings]),
      [
        ['role dev', 'eve', { client_idle_timeout: '10m0s' }],
        ['role dev', 'eve', {}],
        ['cluster_auth_preference', 'bob', { client_idle_timeout: '1h0m0s' }],
      ],
    );
  });

  test('as text, JSON and CSV', () => {
    const found = report([
      at(1, 'cluster_networking_config.update', { user: 'admin', settings: { client_idle_timeout: '15m0s' } }),
      ...session('s1', 10, 30, { cause: 'idle', overshoot_ms: 4.25, longest_idle_ms: 600_004 }),
      ...session('s2', 10, 60, { longest_idle_ms: 20 * MINUTE, user: '=cmd()', server_hostname: 'a,"b"\u001b[2J' }),
      ...session('s3', 10, 60, { idle_timeout_ms: 0, timeout_source: '', idle_exempt: 'kubectl logs -f' }),
    ]);
    const text = formatIdleReport(found, 'text');
    assert.match(text, /Sessions +3\nEnded for idleness +1\nIdle longer than their limit +1 +<-- see below\n/);
    assert.match(text, /Lateness of the cut +median 4\.3 ms, p99 4\.3 ms, max 4\.3 ms\n/);
    assert.match(
      text,
      /cluster_networking_config: client_idle_timeout=15m0s {2}since 2026-01-15T00:01:00\.000Z by admin\n/,
    );
    assert.match(text, / {2}s1 .* 10m0s .*role dev .*10m0\.004s .*idle .*within\n/);
    assert.match(text, / {2}s3 .*exempt: kubectl logs -f.*no limit\n/);
    assert.equal(text.match(/ {2}s2 .*20m0s.* over\n/g)?.length, 2);
    assert.doesNotMatch(text, /\u001b/);
    assert.deepEqual(JSON.parse(formatIdleReport(found, 'json')), found);
    const rows = formatIdleReport(found, 'csv').split('\r\n');
    assert.equal(
      rows[0],
      'sid,user,login,session_kind,protocol,target,started_at,ended_at,duration_ms,idle_timeout_ms,timeout_source,idle_exempt,longest_idle_ms,cause,overshoot_ms,verdict',
    );
    assert.equal(
      rows[1],
      's1,alice,root,ssh,ssh,web,2026-01-15T00:10:00.000Z,2026-01-15T00:30:00.000Z,1200000,600000,role dev,,600004,idle,4.25,within',
    );
    assert.match(rows[2]!, /^s2,'=cmd\(\),root,ssh,ssh,"a,""b""/);
    const none = formatIdleReport(report([]), 'text');
    assert.match(none, /no session ended for idleness/);
    assert.equal(formatIdleReport(report([]), 'csv').split('\r\n').length, 2);
  });
});
