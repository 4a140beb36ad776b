import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { TOTP } from 'otpauth';
import { SoftAuthenticator } from '../../test/fixtures/authenticator.ts';
import { FakeClock, settle } from '../../test/fixtures/fake-clock.ts';
import { memoryStore, testMasterKey } from '../../test/fixtures/identity.ts';
import { MemoryAuditLog } from '../../test/fixtures/memory-audit-log.ts';
import { Secret } from '../core/secret.ts';
import { createLocalIdentity } from './local-identity.ts';
import { DEFAULT_LOGIN_LIMITS } from './login.ts';
import type { SecondFactor } from './users.ts';

const PASSWORD = 'correct horse battery';
const IP = '192.0.2.1';
const ORIGIN = 'https://gw.example.com';
const silent = { debug() {}, info() {}, warn() {}, error() {} };

/** A cluster with the users alice and bob, who have not accepted an invitation yet. */
function cluster(secondFactor: SecondFactor = 'on') {
  const clock = new FakeClock();
  const store = memoryStore(clock);
  const audit = new MemoryAuditLog(clock);
  const users = new Set(['alice', 'bob']);
  const setting = { secondFactor };
  const identity = createLocalIdentity({
    store,
    masterKey: testMasterKey,
    clock,
    audit,
    log: silent,
    clusterName: 'example.com',
    secondFactor: () => setting.secondFactor,
    userExists: (user) => users.has(user),
    relyingParty: () => ({ id: 'gw.example.com', name: 'example.com', origins: [ORIGIN] }),
    webIdleTimeoutMs: () => 0,
    hashing: { parameters: { memory: 64, passes: 1, parallelism: 1 } },
  });
  const codeFor = (uri: string, atMs = clock.wallMs()) => {
    const secret = new URL(uri).searchParams.get('secret')!;
    return new TOTP({ secret }).generate({ timestamp: atMs });
  };
  /** Accepts an invitation with a code; returns how to make the next ones. */
  const enrol = async (user: string) => {
    const { token } = await identity.invitations.create(user);
    const { otpUri } = await identity.invitations.view(token);
    await identity.invitations.accept({ token, password: new Secret(PASSWORD), otp: codeFor(otpUri!), clientIp: IP });
    await clock.advance(60_000);
    return (atMs?: number) => codeFor(otpUri!, atMs);
  };
  const signIn = (user: string, otp: string | undefined, more: object = {}) =>
    identity.login.signIn({
      user,
      password: new Secret(PASSWORD),
      clientIp: IP,
      ...(otp !== undefined && { otp }),
      ...more,
    });
  const failures = () => audit.events.filter(({ code }) => code === 'T1000W');
  return { ...identity, clock, store, audit, users, setting, codeFor, enrol, signIn, failures };
}

const refused = { code: 'unauthenticated', message: 'invalid user name, password or second factor' };
const tooMany = { code: 'limit_exceeded' };
const unknown = { code: 'not_found' };

describe('invitations', () => {
  test('enrol password and code, once', async () => {
    const { invitations, enrol, signIn, codeFor, audit, clock } = cluster();
    const { token, expiresAtMs } = await invitations.create('alice');
    assert.equal(expiresAtMs, clock.wallMs() + 3_600_000);
    assert.match(token.reveal(), /^[A-Za-z0-9_-]{43}$/);
    const { user, otpUri } = await invitations.view(token);
    assert.equal(user, 'alice');
    assert.match(
      otpUri!,
      /^otpauth:\/\/totp\/example.com:alice\?issuer=example.com&secret=[A-Z2-7]{32}&algorithm=SHA1&digits=6&period=30$/,
    );
    assert.equal((await invitations.view(token)).otpUri, otpUri, 'looking twice shows the same');
    const accept = (password: string, otp?: string) =>
      invitations.accept({ token, password: new Secret(password), clientIp: IP, ...(otp !== undefined && { otp }) });
    await assert.rejects(accept('short', codeFor(otpUri!)), { code: 'bad_parameter', message: /too short/ });
    await assert.rejects(accept(PASSWORD), { code: 'bad_parameter', message: /second factor is demanded/ });
    await assert.rejects(accept(PASSWORD, '000000'), { code: 'bad_parameter', message: /code is wrong/ });
    const code = codeFor(otpUri!);
    const both = await Promise.allSettled([accept(PASSWORD, code), accept(PASSWORD, code)]);
    assert.deepEqual(both.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
    await assert.rejects(accept(PASSWORD, code), unknown);
    await assert.rejects(invitations.view(token), unknown);
    await assert.rejects(signIn('alice', code), refused, 'the code of the enrolment is spent');
    await clock.advance(60_000);
    assert.equal(await signIn('alice', codeFor(otpUri!)), 'alice');
    assert.deepEqual(
      audit.events.map(({ code }) => code),
      ['T1005I', 'T1006I', 'T1000W', 'T1000I'],
    );
    await enrol('bob');
  });

  test('expire, are void after a newer one, and for a user who is gone', async () => {
    const { invitations, clock, users } = cluster();
    const first = await invitations.create('alice');
    const second = await invitations.create('alice', 60_000);
    await assert.rejects(invitations.view(first.token), unknown);
    await clock.advance(59_999);
    await invitations.view(second.token);
    await clock.advance(1);
    await assert.rejects(invitations.view(second.token), unknown);
    const third = await invitations.create('alice');
    users.delete('alice');
    await assert.rejects(invitations.view(third.token), unknown);
    await assert.rejects(invitations.create('alice'), unknown);
    await assert.rejects(invitations.create('bob', 8 * 86_400_000), { code: 'bad_parameter' });
    for (const text of ['', 'x', '../../alice', 'a'.repeat(43), 'a'.repeat(1e6)]) {
      await assert.rejects(invitations.view(new Secret(text)), unknown);
    }
  });

  test('the store has neither token nor secret in the clear', async () => {
    const { invitations, store, enrol } = cluster();
    const { token } = await invitations.create('bob');
    const { otpUri } = await invitations.view(token);
    await enrol('alice');
    const secret = new URL(otpUri!).searchParams.get('secret')!;
    for (const [bucket, records] of store.buckets) {
      for (const [key, { value }] of records) {
        const bytes = Buffer.from(value);
        for (const text of [token.reveal(), secret, 'argon2id']) {
          assert.equal(bytes.includes(text) || key.includes(text), false, `${bucket} shows ${text}`);
        }
      }
    }
  });

  test('a reset forgets what there was and signs out everywhere', async () => {
    const { invitations, sessions, enrol, signIn } = cluster();
    const code = await enrol('alice');
    const { token } = await sessions.create('alice');
    const reset = await invitations.create('alice', 3_600_000, 'reset');
    assert.equal((await sessions.verify(token)).ok, false);
    await assert.rejects(signIn('alice', code()), refused);
    assert.equal((await invitations.view(reset.token)).kind, 'reset');
  });

  test('what is demanded follows the setting', async () => {
    const { invitations, setting, signIn } = cluster('off');
    const { token } = await invitations.create('alice');
    assert.equal((await invitations.view(token)).otpUri, undefined);
    await invitations.accept({ token, password: new Secret(PASSWORD), clientIp: IP });
    assert.equal(await signIn('alice', undefined), 'alice');
    setting.secondFactor = 'on';
    await assert.rejects(signIn('alice', undefined), refused, 'a factor is demanded that alice has not');
    setting.secondFactor = 'webauthn';
    const bob = await invitations.create('bob');
    await assert.rejects(
      invitations.accept({ token: bob.token, password: new Secret(PASSWORD), otp: '000000', clientIp: IP }),
      {
        code: 'bad_parameter',
        message: /a security key$/,
      },
    );
  });
});

describe('signing in', () => {
  test('with password and code; the audit log says so', async () => {
    const { enrol, signIn, audit } = cluster();
    const code = await enrol('alice');
    assert.equal(await signIn('alice', code()), 'alice');
    const { event, user, success, method, second_factor } = audit.events.at(-1)!;
    assert.deepEqual(
      { event, user, success, method, second_factor },
      { event: 'user.login', user: 'alice', success: true, method: 'local', second_factor: 'otp' },
    );
    assert.equal(audit.events.at(-1)!['addr.remote'], IP);
  });

  test('everything wrong is told alike', async () => {
    const { enrol, signIn, failures, clock } = cluster();
    const code = await enrol('alice');
    const wrong = { password: new Secret('wrong horse battery') };
    await assert.rejects(signIn('alice', code(), wrong), refused);
    await assert.rejects(signIn('alice', '000000'), refused);
    await assert.rejects(signIn('alice', undefined), refused);
    await assert.rejects(signIn('mallory', code()), refused);
    await assert.rejects(signIn('bob', code()), refused);
    for (const name of [
      '',
      'al\u0000ice',
      'al\nice',
      'a'.repeat(65),
      '../alice',
      ' alice',
      'alice\u202e',
      'a'.repeat(1e6),
    ]) {
      await assert.rejects(signIn(name, code()), refused, JSON.stringify(name.slice(0, 80)));
    }
    assert.deepEqual(
      failures().map(({ error }) => error),
      [
        'wrong password, or no such user',
        'wrong or missing second factor',
        'wrong or missing second factor',
        'wrong password, or no such user',
        'wrong password, or no such user',
        ...Array(8).fill('not a user name'),
      ],
    );
    await clock.advance(30_000);
    assert.equal(await signIn('alice', code()), 'alice', 'four failures do not bar');
  });

  test('a wrong password does not spend the code', async () => {
    const { enrol, signIn } = cluster();
    const code = await enrol('alice');
    await assert.rejects(signIn('alice', code(), { password: new Secret('wrong horse battery') }), refused);
    assert.equal(await signIn('alice', code()), 'alice');
  });

  test('a code is good once, also twice at a time; an earlier one not after a later one', async () => {
    const { enrol, signIn, clock } = cluster();
    const code = await enrol('alice');
    const both = await Promise.allSettled([signIn('alice', code()), signIn('alice', code())]);
    assert.deepEqual(both.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
    await assert.rejects(signIn('alice', code(clock.wallMs() - 30_000)), refused);
    assert.equal(await signIn('alice', code(clock.wallMs() + 30_000)), 'alice', 'one step ahead is in the window');
    await assert.rejects(signIn('alice', code()), refused);
    await clock.advance(90_000);
    await assert.rejects(signIn('alice', code(clock.wallMs() - 60_000)), refused, 'two steps back are not');
    assert.equal(await signIn('alice', code()), 'alice');
  });

  test('names are one in NFC', async () => {
    const { users, enrol, signIn } = cluster();
    users.add('j\u00f6rg');
    const code = await enrol('j\u00f6rg');
    assert.equal(await signIn('jo\u0308rg', code()), 'j\u00f6rg');
  });

  test('five failures bar the name for twenty minutes, whether it exists or not', async () => {
    const { enrol, signIn, clock, failures } = cluster();
    const code = await enrol('alice');
    for (const name of ['alice', 'mallory']) {
      for (let i = 0; i < 5; i++) await assert.rejects(signIn(name, '000000'), refused);
      await assert.rejects(signIn(name, code()), {
        code: 'limit_exceeded',
        message: 'too many attempts to sign in; try again in 20 minutes',
      });
    }
    assert.match(String(failures()[4]!['error']), /locked out for 20 minutes after 5 failed attempts/);
    await clock.advance(DEFAULT_LOGIN_LIMITS.lockOutMs - 1);
    await assert.rejects(signIn('alice', code()), tooMany);
    await clock.advance(1);
    assert.equal(await signIn('alice', code()), 'alice');
  });

  test('attempts all at once are no way around', async () => {
    const { enrol, signIn } = cluster();
    await enrol('alice');
    const results = await Promise.allSettled(
      Array.from({ length: 12 }, (_, i) => signIn('alice', String(i).padStart(6, '0'))),
    );
    const codes = results.map((result) => (result.status === 'rejected' ? result.reason.code : 'in'));
    assert.equal(codes.filter((code) => code === 'unauthenticated').length, 5);
    assert.equal(codes.filter((code) => code === 'limit_exceeded').length, 7);
  });

  test('an address has its own limit; the audit log is not flooded', async () => {
    const { signIn, failures, clock } = cluster();
    const from = (ip: string, i: number) => signIn(`user${i}`, '000000', { clientIp: ip });
    for (let i = 0; i < 30; i++) await assert.rejects(from('2001:db8::1', i), refused);
    for (let i = 30; i < 60; i++) await assert.rejects(from(`2001:db8::${i}`, i), tooMany);
    assert.equal(failures().length, 31);
    await assert.rejects(from('2001:db8:0:1::1', 60), refused, 'another network');
    await clock.advance(2_000);
    await assert.rejects(from('2001:db8::1', 61), refused);
    await assert.rejects(from('2001:db8::1', 62), tooMany);
  });

  test('nobody gets in without an audit event, and its failure bars nobody', async () => {
    const { enrol, signIn, audit, clock } = cluster();
    const code = await enrol('alice');
    audit.broken = true;
    for (let i = 0; i < 6; i++) {
      await assert.rejects(signIn('alice', code()), { code: 'audit_unavailable' });
      await clock.advance(30_000);
    }
    audit.broken = false;
    assert.equal(await signIn('alice', code()), 'alice');
  });

  test('a hash with old costs is made anew', async () => {
    const { enrol, signIn, credentials } = cluster();
    const code = await enrol('alice');
    const { PasswordHasher } = await import('./passwords.ts');
    const old = await new PasswordHasher({ parameters: { memory: 8, passes: 1, parallelism: 1 } }).hash(
      new Secret(PASSWORD),
    );
    await credentials.passwords.set('alice', old, 0);
    await signIn('alice', code());
    assert.match((await credentials.passwords.hashOf('alice'))!, /m=64,t=1/);
  });
});

describe('security keys', () => {
  test('register by invitation, sign in, and answer each challenge once', async () => {
    const { invitations, login, signIn, audit } = cluster();
    const key = new SoftAuthenticator(ORIGIN, 'gw.example.com');
    const { token } = await invitations.create('alice');
    const options = await invitations.beginPasskey(token);
    assert.equal(options.rp.id, 'gw.example.com');
    const passkey = key.create(options);
    await invitations.accept({ token, password: new Secret(PASSWORD), passkey, clientIp: IP });
    assert.equal(audit.events.at(-1)!['mfa_device_type'], 'WebAuthn');
    const begin = () => login.beginWebauthn({ user: 'alice', password: new Secret(PASSWORD), clientIp: IP });
    const request = await begin();
    assert.deepEqual(
      request.allowCredentials?.map(({ id }) => id),
      [key.id.toString('base64url')],
    );
    const answer = key.get(request);
    assert.equal(await signIn('alice', undefined, { passkey: answer }), 'alice');
    await assert.rejects(signIn('alice', undefined, { passkey: answer }), refused, 'the challenge is spent');
    const again = key.get(await begin());
    assert.equal(await signIn('alice', undefined, { passkey: again }), 'alice');
  });

  test('refused: another page, another key, another user’s challenge, a late answer, a cloned key, nonsense', async () => {
    const { invitations, login, signIn, clock } = cluster('webauthn');
    const keys = new Map<string, SoftAuthenticator>();
    for (const user of ['alice', 'bob']) {
      const key = new SoftAuthenticator(ORIGIN, 'gw.example.com');
      keys.set(user, key);
      const { token } = await invitations.create(user);
      await invitations.accept({
        token,
        password: new Secret(PASSWORD),
        passkey: key.create(await invitations.beginPasskey(token)),
        clientIp: IP,
      });
    }
    const [alice, bob] = [keys.get('alice')!, keys.get('bob')!];
    const begin = async (user = 'alice') => {
      await clock.advance(20 * 60_000);
      return login.beginWebauthn({ user, password: new Secret(PASSWORD), clientIp: IP });
    };
    const tryWith = (passkey: unknown) => assert.rejects(signIn('alice', undefined, { passkey }), refused);
    const phishing = new SoftAuthenticator('https://gw.example.org', 'gw.example.com');
    Object.assign(phishing, { id: alice.id });
    await tryWith(phishing.get(await begin()));
    await tryWith(bob.get(await begin()));
    await tryWith(alice.get(await begin('bob')));
    await tryWith(alice.get({ challenge: 'x'.repeat(43) }));
    const late = alice.get(await begin());
    await clock.advance(5 * 60_000);
    await tryWith(late);
    const fine = alice.get(await begin());
    assert.equal(await signIn('alice', undefined, { passkey: fine }), 'alice');
    alice.counter = 0;
    await tryWith(alice.get(await begin()));
    for (const nonsense of [null, 5, 'x', {}, { id: 'a', rawId: 'a', type: 'public-key', response: {} }]) {
      await clock.advance(20 * 60_000);
      await tryWith(nonsense);
    }
  });

  test('the password alone does not wipe out failures', async () => {
    const { enrol, signIn, login } = cluster();
    const code = await enrol('alice');
    for (let i = 0; i < 5; i++) {
      await login.beginWebauthn({ user: 'alice', password: new Secret(PASSWORD), clientIp: IP });
      await assert.rejects(signIn('alice', '000000'), refused);
    }
    await assert.rejects(signIn('alice', code()), tooMany);
  });
});

describe('sessions', () => {
  test('stand for their user until they end', async () => {
    const { sessions, clock, store } = cluster();
    const a = await sessions.create('alice', { ttlMs: 60_000, clientIp: IP });
    await clock.advance(1);
    const b = await sessions.create('alice', { ttlMs: 60_000 });
    const verified = await sessions.verify(a.token);
    assert.ok(verified.ok);
    assert.equal(verified.identity.user, 'alice');
    assert.equal(verified.identity.expiresAtMs, a.expiresAtMs);
    assert.deepEqual(
      (await sessions.list('alice')).map(({ id, clientIp }) => [id, clientIp]),
      [
        [a.id, IP],
        [b.id, undefined],
      ],
    );
    assert.deepEqual(await sessions.list('bob'), []);
    await sessions.endById('bob', a.id);
    assert.equal((await sessions.verify(a.token)).ok, true, 'not bob’s to end');
    await sessions.end(a.token);
    assert.equal((await sessions.verify(a.token)).ok, false);
    await clock.advance(60_000);
    assert.equal((await sessions.verify(b.token)).ok, false);
    for (const bucket of store.buckets.keys())
      if (bucket.startsWith('web_')) assert.deepEqual(await store.listRecords(bucket), []);
    for (const text of [
      '',
      'x'.repeat(43),
      'x'.repeat(59),
      a.token.reveal().slice(0, 58),
      `${a.token.reveal()}x`,
      a.id,
    ])
      assert.equal((await sessions.verify(new Secret(text))).ok, false);
  });

  test('are bounded by user, and end all at once', async () => {
    const { sessions, clock } = cluster();
    const tokens = [];
    for (let i = 0; i < 40; i++) {
      tokens.push((await sessions.create('alice')).token);
      await clock.advance(1);
    }
    assert.equal((await sessions.list('alice')).length, 32);
    assert.equal((await sessions.verify(tokens[0]!)).ok, false);
    assert.equal((await sessions.verify(tokens[39]!)).ok, true);
    assert.equal(await sessions.endAll('alice'), 32);
    assert.equal((await sessions.verify(tokens[39]!)).ok, false);
  });
});

describe('a removed user', () => {
  test('loses every credential, at once or at the next start', async () => {
    const { store, users, enrol, sessions, invitations, credentials, forgetRemovedUsers, signIn, close } = cluster();
    await store.put('user', 'alice', {}, { condition: 'any' });
    const code = await enrol('alice');
    const session = await sessions.create('alice');
    await enrol('bob');
    users.delete('alice');
    await store.delete('user', 'alice');
    await settle();
    await settle();
    assert.equal((await sessions.verify(session.token)).ok, false);
    users.add('alice');
    await assert.rejects(signIn('alice', code()), refused, 'a namesake does not inherit them');
    await invitations.create('bob');
    await store.put('user', 'bob', {}, { condition: 'any' });
    users.delete('bob');
    await forgetRemovedUsers();
    assert.notEqual(await credentials.passwords.hashOf('bob'), undefined, 'barred, not removed');
    close();
    await store.delete('user', 'bob');
    await forgetRemovedUsers();
    const left = [...store.buckets].flatMap(([bucket, records]) => (bucket === 'totp_used' ? [] : [...records.keys()]));
    assert.deepEqual(left, []);
  });
});
