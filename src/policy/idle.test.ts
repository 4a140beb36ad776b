import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { snapshotOf } from '../../test/fixtures/test-policy.ts';
import { decodeResource, type Resource } from '../resources/index.ts';
import { effectiveIdlePolicy } from './idle.ts';
import type { EffectiveIdlePolicy } from './idle-policy.ts';

type Options = Record<string, unknown>;

/** Settings of one place, as a test generates them. */
interface Setup {
  readonly cap: Options;
  readonly cnc: Options;
  readonly roles: readonly Options[];
}

function policyOf({ cap, cnc, roles }: Setup, order?: readonly number[]): EffectiveIdlePolicy {
  const names = roles.map((_, at) => `r${at}`);
  const resources = [
    { kind: 'cluster_auth_preference', spec: { options: cap } },
    { kind: 'cluster_networking_config', spec: cnc },
    ...roles.map((options, at) => ({ kind: 'role', version: 'v3', metadata: { name: names[at] }, spec: { options } })),
    { kind: 'user', metadata: { name: 'u' }, spec: { roles: order?.map((at) => names[at]) ?? names } },
  ];
  return effectiveIdlePolicy(snapshotOf(resources.map((resource): Resource => decodeResource(resource))), 'u');
}

describe('effectiveIdlePolicy', () => {
  test('nothing set: sessions never end for idleness', () => {
    const policy = policyOf({ cap: {}, cnc: {}, roles: [{}] });
    assert.deepEqual(policy, {
      timeoutMs: 0,
      warningMs: 0,
      activity: 'auto',
      message: '',
      disconnectExpiredCert: false,
      maxSessionTtlMs: 0,
      timeoutSource: '',
      sources: [],
    });
  });

  test('the shortest of all places applies, and every place that gave a value is named', () => {
    const policy = policyOf({
      cap: { client_idle_timeout: '30m' },
      cnc: { client_idle_timeout: '20m', idle_timeout_message: 'Sign in again.' },
      roles: [
        { client_idle_timeout: '10m', max_session_ttl: '8h' },
        { client_idle_timeout: 'never', max_session_ttl: '4h' },
        {},
      ],
    });
    assert.equal(policy.timeoutMs, 600_000);
    assert.equal(policy.timeoutSource, 'role r0');
    assert.equal(policy.warningMs, 60_000);
    assert.equal(policy.message, 'Sign in again.');
    assert.equal(policy.maxSessionTtlMs, 4 * 3_600_000);
    assert.deepEqual(policy.sources, [
      { name: 'cluster_auth_preference', timeoutMs: 1_800_000, wins: false },
      { name: 'cluster_networking_config', timeoutMs: 1_200_000, wins: false },
      { name: 'role r0', timeoutMs: 600_000, wins: true },
      { name: 'role r1', timeoutMs: 0, wins: false },
    ]);
  });

  test('a setting from the configuration file says so', () => {
    const cnc = decodeResource({
      kind: 'cluster_networking_config',
      metadata: { labels: { 'teleport.dev/origin': 'config-file' } },
      spec: { client_idle_timeout: '5m' },
    });
    const policy = effectiveIdlePolicy(snapshotOf([cnc]), 'nobody');
    assert.equal(policy.timeoutSource, 'cluster_networking_config (config-file)');
  });

  test('the warning is at most a quarter of the timeout by default, at most half where it is set, and never turns it off', () => {
    const warning = (timeout: string, ...warnings: string[]) =>
      policyOf({
        cap: {},
        cnc: { client_idle_timeout: timeout },
        roles: warnings.map((text) => ({ client_idle_warning: text })),
      }).warningMs;
    assert.equal(warning('2m'), 30_000);
    assert.equal(warning('30s'), 7500);
    assert.equal(warning('1h'), 60_000);
    assert.equal(warning('1h', '5m'), 300_000);
    assert.equal(warning('1h', '5m', '2m', 'never'), 300_000);
    assert.equal(warning('1h', 'never'), 0);
    assert.equal(warning('1h', '0', 'never'), 0);
    assert.equal(warning('30s', '10s'), 10_000);
    assert.equal(warning('1m', '10m'), 30_000);
  });

  test('the strictest activity mode applies; disconnect_expired_cert holds if anybody says so', () => {
    const mode = (...modes: string[]) =>
      policyOf({ cap: {}, cnc: {}, roles: modes.map((one) => ({ client_idle_activity: one })) }).activity;
    assert.equal(mode(), 'auto');
    assert.equal(mode('traffic'), 'traffic');
    assert.equal(mode('traffic', 'auto'), 'auto');
    assert.equal(mode('traffic', 'input', 'auto'), 'input');
    assert.equal(
      policyOf({ cap: { disconnect_expired_cert: true }, cnc: {}, roles: [{}] }).disconnectExpiredCert,
      true,
    );
    assert.equal(
      policyOf({ cap: {}, cnc: {}, roles: [{ disconnect_expired_cert: false }, { disconnect_expired_cert: 'yes' }] })
        .disconnectExpiredCert,
      true,
    );
  });

  test('further roles count as if the user had them; unknown ones have no say', () => {
    const role = decodeResource({
      kind: 'role',
      version: 'v3',
      metadata: { name: 'strict' },
      spec: { options: { client_idle_timeout: '1m' } },
    });
    assert.equal(effectiveIdlePolicy(snapshotOf([role]), 'nobody', ['strict', 'missing']).timeoutMs, 60_000);
  });
});

describe('the merge, by property', () => {
  const duration = fc.oneof(
    fc.constantFrom('never', '0'),
    fc.integer({ min: 1, max: 100_000 }).map((seconds) => `${seconds}s`),
  );
  const some = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined });
  const place = (keys: Record<string, fc.Arbitrary<unknown>>) =>
    fc
      .record(Object.fromEntries(Object.entries(keys).map(([key, value]) => [key, some(value)])))
      .map((entries) => Object.fromEntries(Object.entries(entries).filter(([, value]) => value !== undefined)));
  const shared = {
    client_idle_timeout: duration,
    client_idle_warning: duration,
    client_idle_activity: fc.constantFrom('input', 'auto', 'traffic'),
  };
  const setup: fc.Arbitrary<Setup> = fc.record({
    cap: place({ client_idle_timeout: duration, disconnect_expired_cert: fc.boolean() }),
    cnc: place(shared),
    roles: fc.array(place({ ...shared, disconnect_expired_cert: fc.boolean(), max_session_ttl: duration }), {
      maxLength: 5,
    }),
  });
  const strictness = ['traffic', 'auto', 'input'];
  const orNever = (ms: number) => (ms === 0 ? Number.POSITIVE_INFINITY : ms);

  test('the order of the roles does not matter', () => {
    fc.assert(
      fc.property(
        setup.chain((one) =>
          fc.tuple(fc.constant(one), fc.shuffledSubarray([...one.roles.keys()], { minLength: one.roles.length })),
        ),
        ([one, order]) => assert.deepEqual(policyOf(one, order), policyOf(one)),
      ),
    );
  });

  test('one source wins, and its value is the timeout', () => {
    fc.assert(
      fc.property(setup, (one) => {
        const policy = policyOf(one);
        const winners = policy.sources.filter((source) => source.wins);
        assert.equal(winners.length, policy.timeoutMs === 0 ? 0 : 1);
        assert.equal(winners[0]?.timeoutMs ?? 0, policy.timeoutMs);
        assert.equal(winners[0]?.name ?? '', policy.timeoutSource);
        assert.ok(policy.warningMs <= policy.timeoutMs / 2);
      }),
    );
  });

  test('one more role never loosens', () => {
    fc.assert(
      fc.property(
        setup,
        place({ client_idle_timeout: duration, disconnect_expired_cert: fc.boolean(), max_session_ttl: duration }),
        (one, role) => {
          const before = policyOf(one);
          const after = policyOf({ ...one, roles: [...one.roles, role] });
          assert.ok(orNever(after.timeoutMs) <= orNever(before.timeoutMs));
          assert.ok(orNever(after.maxSessionTtlMs) <= orNever(before.maxSessionTtlMs));
          assert.ok(after.disconnectExpiredCert || !before.disconnectExpiredCert);
          assert.equal(after.activity, before.activity);
        },
      ),
    );
  });

  test('a stricter activity mode is never undone by another role', () => {
    fc.assert(
      fc.property(setup, fc.constantFrom('input', 'auto', 'traffic'), (one, mode) => {
        const after = policyOf({ ...one, roles: [...one.roles, { client_idle_activity: mode }] });
        assert.ok(strictness.indexOf(after.activity) >= strictness.indexOf(mode));
      }),
    );
  });

  test('a shorter timeout in any place never lengthens', () => {
    fc.assert(
      fc.property(setup, fc.nat(), fc.integer({ min: 1, max: 100_000 }), (one, pick, seconds) => {
        const before = policyOf(one);
        if (before.timeoutMs !== 0 && seconds * 1000 > before.timeoutMs) return;
        const text = { client_idle_timeout: `${seconds}s` };
        const places = [
          { ...one, cap: { ...one.cap, ...text } },
          { ...one, cnc: { ...one.cnc, ...text } },
          { ...one, roles: [...one.roles, text] },
        ];
        assert.equal(policyOf(places[pick % places.length]!).timeoutMs, seconds * 1000);
      }),
    );
  });

  test('never is neutral', () => {
    fc.assert(
      fc.property(setup, fc.constantFrom('never', '0', '0s'), (one, text) => {
        const before = policyOf(one);
        const after = policyOf({ ...one, roles: [...one.roles, { client_idle_timeout: text, max_session_ttl: text }] });
        const { sources: _before, ...rest } = before;
        const { sources: _after, ...restAfter } = after;
        assert.deepEqual(restAfter, rest);
      }),
    );
  });
});
