import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';
import { ApiLab, liveSession } from '../../../test/fixtures/api.ts';
import { describeSshCertificate } from '../../cli/common/identity-file.ts';
import { generateKeyPair } from '../../cli/common/key-pair.ts';
import { CSRF_HEADER } from '../../wire/api/web-messages.ts';

const PASSWORD = 'correct horse battery staple';

const CAP = (spec: object = {}) => ({
  kind: 'cluster_auth_preference',
  version: 'v2',
  metadata: { name: 'cluster-auth-preference' },
  spec: { type: 'local', second_factor: 'off', ...spec },
});

const ROLE = (name: string, options: object = {}) => ({
  kind: 'role',
  version: 'v8',
  metadata: { name },
  spec: { options },
});

describe('the API', () => {
  let lab: ApiLab;

  before(async () => {
    lab = await ApiLab.start();
    await lab.put(CAP());
    await lab.putUser('editor', ['editor']);
    await lab.putUser('auditor', ['auditor']);
    await lab.putUser('alice', ['access'], { logins: ['root'] });
    await lab.putUser('nobody', []);
  });

  beforeEach(() => {
    lab.audit.events.length = 0;
    lab.audit.broken = false;
    lab.sessions.sessions = [];
    lab.sessions.killed = [];
  });

  after(() => lab.stop());

  describe('without a sign-in', () => {
    test('ping and the authorities are open, and say nothing secret', async () => {
      const ping = await lab.anonymous('GET', '/v1/ping');
      assert.deepEqual(ping.body, {
        version: '0.0.0-test',
        clusterName: 'example.com',
        secondFactor: 'off',
        publicAddr: 'gateway.example.com:3080',
        caPin: lab.ctx.ca.caPin,
        ports: { web: 3080 },
      });
      assert.equal(ping.headers.get('cache-control'), 'no-store');
      assert.equal(ping.headers.get('x-content-type-options'), 'nosniff');
      const cas = await lab.anonymous('GET', '/v1/cas');
      assert.equal(cas.status, 200);
      assert.doesNotMatch(JSON.stringify(cas.body), /PRIVATE/);
    });

    test('everything else is refused, also what is not there', async () => {
      for (const [method, path] of [
        ['GET', '/v1/status'],
        ['GET', '/v1/resources/role'],
        ['POST', '/v1/resources'],
        ['DELETE', '/v1/resources/role/access'],
        ['POST', '/v1/users'],
        ['POST', '/v1/users/alice/reset'],
        ['POST', '/v1/locks'],
        ['GET', '/v1/sessions'],
        ['POST', '/v1/sessions/x/kill'],
        ['POST', '/v1/idle/explain'],
        ['POST', '/v1/idle/rehearse'],
        ['GET', '/v1/idle/report'],
        ['GET', '/v1/audit'],
        ['GET', '/v1/auth/export'],
        ['POST', '/v1/auth/sign/user'],
        ['POST', '/v1/auth/sign/database'],
        ['POST', '/v1/auth/sign/host'],
        ['POST', '/v1/certificates'],
        ['GET', '/v1/nodes'],
        ['GET', '/v1/events'],
        ['GET', '/v1/desktop-passwords'],
        ['POST', '/v1/desktop-passwords'],
        ['DELETE', '/v1/desktop-passwords/win/ann'],
        ['GET', '/v1/unheard-of'],
      ] as const) {
        const answer = await lab.anonymous(method, path, method === 'POST' ? {} : undefined);
        assert.equal(answer.status, 401, `${method} ${path}`);
        assert.equal(answer.body.error.code, 'unauthenticated', `${method} ${path}`);
      }
    });

    test('a wrong certificate, bearer or cookie is refused whatever else is there', async () => {
      const caller = { kind: 'tls', clientIp: '192.0.2.7' } as const;
      const garbage = await lab.call({ ...caller, clientCertificate: Buffer.from('x') }, 'GET', '/v1/status');
      assert.equal(garbage.status, 401);
      const good = { ...caller, clientCertificate: await lab.certificate('alice') };
      assert.equal((await lab.call(good, 'GET', '/v1/status')).status, 200);
      const bearer = await lab.call(good, 'GET', '/v1/status', undefined, { authorization: 'Bearer nonsense' });
      assert.equal(bearer.status, 401);
      const cookie = await lab.call(good, 'GET', '/v1/status', undefined, { cookie: '__Host-session=nonsense' });
      assert.equal(cookie.status, 401);
    });

    test('a certificate bound to a database opens no API', async () => {
      const { createPublicKey, X509Certificate } = await import('node:crypto');
      const spki = createPublicKey(generateKeyPair().tlsPublicKey).export({ type: 'spki', format: 'der' });
      const { tlsCertPem } = await lab.ctx.ca.issueUserCertificates({
        user: 'editor',
        principals: [],
        tlsPublicKeySpkiDer: spki,
        ttlMs: 60_000,
        extensions: [],
        route: { kind: 'db', name: 'orders' },
      });
      const clientCertificate = new X509Certificate(tlsCertPem!).raw;
      const answer = await lab.call({ kind: 'tls', clientIp: '::1', clientCertificate }, 'GET', '/v1/status');
      assert.equal(answer.status, 401);
    });

    test('a user who was removed is out, though the certificate is still good', async () => {
      await lab.putUser('leaver', ['editor']);
      assert.equal((await lab.as('leaver', 'GET', '/v1/status')).status, 200);
      await lab.ctx.store.delete('user', 'leaver');
      assert.equal((await lab.as('leaver', 'GET', '/v1/status')).status, 401);
    });

    test('bodies are bounded and checked', async () => {
      const big = await lab.anonymous('POST', '/v1/login', { user: 'alice', password: 'x'.repeat(20_000) });
      assert.equal(big.status, 413);
      assert.equal(big.body.error.code, 'too_large');
      const form = await lab.anonymous('POST', '/v1/login', 'user=alice', { 'content-type': 'text/plain' });
      assert.equal(form.status, 400);
      for (const body of [
        '',
        '{',
        '[]',
        '{"user":"alice"}',
        '{"user":1,"password":"x"}',
        '{"user":"a","password":"b","x":1}',
      ]) {
        assert.equal((await lab.anonymous('POST', '/v1/login', body)).status, 400, body);
      }
    });
  });

  describe('sign-in', () => {
    test('gives certificates as the roles allow', async () => {
      await lab.setPassword('alice', PASSWORD);
      const { sshPublicKey, tlsPublicKey } = generateKeyPair();
      const answer = await lab.anonymous('POST', '/v1/login', {
        user: 'alice',
        password: PASSWORD,
        sshPublicKey,
        tlsPublicKey,
      });
      assert.equal(answer.status, 200, JSON.stringify(answer.body));
      assert.deepEqual(answer.body.logins, ['root']);
      assert.equal(answer.body.expiresAtMs, lab.clock.wallMs() + 12 * 3_600_000);
      const info = describeSshCertificate(answer.body.ssh);
      assert.deepEqual(info.logins, ['root']);
      assert.deepEqual(info.extensions, ['permit-agent-forwarding', 'permit-port-forwarding', 'permit-pty']);
      assert.deepEqual(
        lab.audit.events.map(({ event }) => event).filter((event) => event !== 'user.password_change'),
        ['user.login', 'cert.create'],
      );
      assert.doesNotMatch(JSON.stringify(lab.audit.events), new RegExp(PASSWORD));
    });

    test('who fails is told one thing, whatever it was', async () => {
      const bodies = [
        { user: 'alice', password: 'wrong' },
        { user: 'unheard-of', password: PASSWORD },
        { user: 'nobody', password: PASSWORD },
      ];
      const answers = await Promise.all(bodies.map((body) => lab.anonymous('POST', '/v1/login', body)));
      for (const answer of answers) {
        assert.equal(answer.status, 401);
        assert.deepEqual(answer.body, answers[0]!.body);
      }
    });

    test('a locked user gets no certificate and no answer', async () => {
      const { body } = await lab.local('POST', '/v1/locks', { target: { user: 'alice' }, message: 'ask Eve' });
      const login = await lab.anonymous('POST', '/v1/login', { user: 'alice', password: PASSWORD });
      assert.equal(login.status, 403);
      assert.equal(login.body.error.message, 'you are locked out: ask Eve');
      assert.equal((await lab.as('alice', 'GET', '/v1/nodes')).status, 403);
      await lab.local('DELETE', `/v1/resources/lock/${body.name}`);
      assert.equal((await lab.as('alice', 'GET', '/v1/nodes')).status, 200);
    });

    test('certificates asked for with a certificate end no later than that one', async () => {
      const { tlsPublicKey } = generateKeyPair();
      const answer = await lab.as('alice', 'POST', '/v1/certificates', {
        tlsPublicKey,
        ttlMs: 10 * 3_600_000,
        route: { kind: 'db', name: 'orders', dbUser: 'app' },
      });
      assert.equal(answer.status, 200, JSON.stringify(answer.body));
      assert.ok(answer.body.expiresAtMs <= lab.clock.wallMs() + 3_600_000);
      assert.equal(answer.body.ssh, undefined);
    });

    test('people get at most the usual, machines what an administrator wants; max_session_ttl binds both', async () => {
      const day = 24 * 3_600_000;
      const { sshPublicKey } = generateKeyPair();
      const life = async (answer: ReturnType<ApiLab['call']>) => (await answer).body.expiresAtMs - lab.clock.wallMs();
      const login = () =>
        lab.anonymous('POST', '/v1/login', { user: 'alice', password: PASSWORD, sshPublicKey, ttlMs: 30 * day });
      const sign = () => lab.local('POST', '/v1/auth/sign/user', { user: 'alice', sshPublicKey, ttlMs: 365 * day });
      assert.equal(await life(login()), day / 2);
      assert.equal(await life(sign()), 365 * day);
      await lab.put({ ...ROLE('short'), spec: { options: { max_session_ttl: '2h' } } });
      await lab.putUser('alice', ['access', 'short'], { logins: ['root'] });
      assert.equal(await life(login()), 2 * 3_600_000);
      assert.equal(await life(sign()), 2 * 3_600_000);
      await lab.putUser('alice', ['access'], { logins: ['root'] });
    });

    test('a ticket signs a browser in once, within a minute, no longer than the certificate', async () => {
      const ticket = async () => (await lab.as('alice', 'POST', '/v1/tickets')).body.ticket as string;
      const origin = { origin: 'https://gateway.example.com:3080', [CSRF_HEADER]: '1' };
      const enter = (token: string) => lab.anonymous('POST', '/v1/web/login/ticket', { ticket: token }, origin);
      const good = await ticket();
      assert.equal((await lab.anonymous('POST', '/v1/web/login/ticket', { ticket: good })).status, 403);
      const entered = await enter(good);
      assert.equal(entered.status, 200, JSON.stringify(entered.body));
      assert.ok(entered.body.expiresAtMs <= lab.clock.wallMs() + 3_600_000);
      const cookie = /__Host-session=[^;]+/.exec(entered.headers.get('set-cookie')!)![0];
      const status = await lab.anonymous('GET', '/v1/status', undefined, { cookie });
      assert.equal(status.body.user, 'alice');
      assert.equal((await enter(good)).status, 401);
      const late = await ticket();
      await lab.clock.advance(60_000);
      assert.equal((await enter(late)).status, 401);
      assert.equal((await enter('nonsense')).status, 401);
      assert.equal((await lab.anonymous('POST', '/v1/tickets', undefined, { ...origin, cookie })).status, 400);
      assert.equal((await lab.local('POST', '/v1/tickets')).status, 400);
      assert.doesNotMatch(JSON.stringify([lab.audit.events, lab.log.lines]), new RegExp(late));
    });

    test('an invitation is looked at, accepted once, and void then', async () => {
      const tooLong = await lab.local('POST', '/v1/users', { name: 'bob', roles: ['access'], ttlMs: 169 * 3_600_000 });
      assert.equal(tooLong.body.error.message, 'an invitation is good for at most 7 days');
      assert.equal(tooLong.status, 400);
      const added = await lab.local('POST', '/v1/users', { name: 'bob', roles: ['access'] });
      assert.match(added.body.url, /^https:\/\/gateway\.example\.com:3080\/web\/invite\/[\w-]{43}$/);
      const token = added.body.url.split('/').at(-1);
      const view = await lab.anonymous('POST', '/v1/invitations/lookup', { token });
      assert.equal(view.body.user, 'bob');
      assert.equal(view.body.otpUri, undefined);
      assert.equal((await lab.anonymous('POST', '/v1/invitations/accept', { token, password: 'short' })).status, 400);
      assert.equal((await lab.anonymous('POST', '/v1/invitations/accept', { token, password: PASSWORD })).status, 200);
      assert.equal((await lab.anonymous('POST', '/v1/invitations/accept', { token, password: PASSWORD })).status, 404);
      assert.equal((await lab.anonymous('POST', '/v1/login', { user: 'bob', password: PASSWORD })).status, 200);
      assert.doesNotMatch(JSON.stringify([lab.audit.events, lab.log.lines]), new RegExp(token));
    });
  });

  describe('rules', () => {
    test('decide about every kind and verb; deny by default', async () => {
      const read = (user: string, kind: string) => lab.as(user, 'GET', `/v1/resources/${kind}`);
      for (const kind of ['cap', 'cnc', 'role', 'user', 'node', 'db', 'kube_cluster', 'windows_desktop', 'lock']) {
        assert.equal((await read('editor', kind)).status, 200, kind);
        for (const user of ['alice', 'auditor', 'nobody']) {
          const answer = await read(user, kind);
          assert.equal(answer.status, 403, `${user} ${kind}`);
          assert.match(answer.body.error.message, /^access denied to perform action "(list|read)" on "\w+"$/);
        }
      }
      assert.equal((await lab.as('auditor', 'GET', '/v1/audit')).status, 200);
      assert.equal((await lab.as('auditor', 'GET', '/v1/idle/report')).status, 200);
      assert.equal((await lab.as('auditor', 'GET', '/v1/sessions')).status, 200);
      for (const [method, path, body] of [
        ['POST', '/v1/resources', { resource: ROLE('evil'), mode: 'create' }],
        ['DELETE', '/v1/resources/role/access', undefined],
        ['DELETE', '/v1/resources/cap', undefined],
        ['POST', '/v1/users', { name: 'evil', roles: ['editor'] }],
        ['POST', '/v1/users/editor/reset', {}],
        ['POST', '/v1/locks', { target: { user: 'editor' } }],
        ['POST', '/v1/auth/sign/user', { user: 'editor', tlsPublicKey: generateKeyPair().tlsPublicKey }],
        ['POST', '/v1/auth/sign/database', { hosts: ['db'], ttlMs: 1_000 }],
        ['POST', '/v1/auth/sign/host', { hosts: ['web'], sshPublicKey: 'x', ttlMs: 1_000 }],
        ['POST', '/v1/idle/explain', { user: 'editor' }],
        ['POST', '/v1/idle/explain', { roles: ['editor'] }],
        ['POST', '/v1/idle/rehearse', { resources: [CAP()] }],
      ] as const) {
        for (const user of ['alice', 'nobody', 'auditor']) {
          const answer = await lab.as(user, method, path, body);
          // An auditor may rehearse sessions, but not read the settings that it would show.
          assert.equal(answer.status, 403, `${user} ${method} ${path} ${JSON.stringify(answer.body)}`);
        }
      }
      assert.deepEqual(lab.audit.events, []);
      assert.ok(lab.ctx.policy.current.roles.has('access'));
    });

    test('a reset of a user who does not exist is refused, and not in the audit log', async () => {
      const answer = await lab.local('POST', '/v1/users/nobody-here/reset', {});
      assert.deepEqual([answer.status, answer.body.error.message], [404, 'user "nobody-here" not found']);
      assert.deepEqual(lab.audit.events, []);
    });

    test('a role that is taken away takes effect at the next call', async () => {
      await lab.putUser('temp', ['editor']);
      assert.equal((await lab.as('temp', 'GET', '/v1/resources/role')).status, 200);
      await lab.putUser('temp', ['access']);
      assert.equal((await lab.as('temp', 'GET', '/v1/resources/role')).status, 403);
    });

    test('lists of targets hold what the roles allow, with the logins allowed there', async () => {
      await lab.put({
        kind: 'node',
        version: 'v2',
        metadata: { name: 'n1', labels: { env: 'prod' } },
        spec: { hostname: 'web', addr: 'h:22' },
      });
      assert.deepEqual((await lab.as('alice', 'GET', '/v1/nodes')).body.items, [
        { kind: 'node', name: 'n1', displayName: 'web', addr: 'h:22', labels: { env: 'prod' }, logins: ['root'] },
      ]);
      assert.deepEqual((await lab.as('nobody', 'GET', '/v1/nodes')).body.items, []);
      assert.equal((await lab.local('GET', '/v1/nodes')).body.items.length, 1);
    });
  });

  describe('sessions', () => {
    test('one sees and ends one’s own; others’ with the rule', async () => {
      lab.sessions.sessions = [liveSession('11111111-a', 'alice'), liveSession('22222222-b', 'bob')];
      assert.equal((await lab.as('alice', 'GET', '/v1/sessions')).status, 403);
      const own = await lab.as('alice', 'GET', '/v1/sessions?scope=own');
      assert.deepEqual(
        own.body.sessions.map(({ id }: { id: string }) => id),
        ['11111111-a'],
      );
      assert.equal((await lab.as('alice', 'POST', '/v1/sessions/22222222-b/kill', {})).status, 404);
      assert.equal((await lab.as('auditor', 'POST', '/v1/sessions/22222222-b/kill', {})).status, 403);
      assert.equal((await lab.as('alice', 'POST', '/v1/sessions/1111/kill', { message: 'done' })).status, 200);
      assert.equal((await lab.local('POST', '/v1/sessions/22222222-b/kill', { message: 'why' })).status, 200);
      assert.deepEqual(lab.sessions.killed, [
        { id: '11111111-a', by: 'alice', message: 'done' },
        { id: '22222222-b', by: 'an administrator', message: 'why' },
      ]);
      assert.equal((await lab.local('GET', '/v1/sessions?scope=own')).status, 400);
    });

    test('a rehearsal sees the policy as it would be, and changes nothing', async () => {
      const revision = lab.ctx.policy.current.revision;
      const answer = await lab.local('POST', '/v1/idle/rehearse', {
        resources: [CAP({ options: { client_idle_timeout: '5m' } }), ROLE('new')],
      });
      assert.equal(answer.status, 200, JSON.stringify(answer.body));
      const snapshot = lab.sessions.rehearsed.at(-1)!;
      assert.equal(snapshot.authPreference.spec.options?.client_idle_timeout, '5m0s');
      assert.ok(snapshot.roles.has('new'));
      assert.ok(!lab.ctx.policy.current.roles.has('new'));
      assert.equal(lab.ctx.policy.current.revision, revision);
    });
  });

  describe('live view', () => {
    test('sends sessions, policy changes and, to who may, audit events; ends when the sign-in does', async () => {
      const open = async (user: string) => {
        const request = new Request('https://gateway.example.com:3080/v1/events');
        const caller = { kind: 'tls', clientIp: '::1', clientCertificate: await lab.certificate(user) } as const;
        const response = await lab.api.fetch(request, { caller });
        assert.equal(response.headers.get('content-type'), 'text/event-stream');
        return response.body!.pipeThrough(new TextDecoderStream()).getReader();
      };
      await lab.putUser('watcher', ['editor']);
      const reader = await open('watcher');
      const other = await open('alice');
      lab.sessions.sessions = [liveSession('33333333-c', 'bob')];
      const seen = { text: '' };
      const readUntil = async (stream: typeof reader, wanted: RegExp) => {
        while (!wanted.test(seen.text)) {
          const { value, done } = await stream.read();
          if (done) throw new Error(`the stream ended: ${seen.text}`);
          seen.text += value;
        }
      };
      await readUntil(reader, /event: sessions\ndata: .*\n\n/);
      await lab.clock.advance(1_000);
      await readUntil(reader, /33333333-c/);
      await lab.local('POST', '/v1/resources', { resource: ROLE('seen'), mode: 'create' });
      await readUntil(reader, /event: policy\n/);
      await readUntil(reader, /event: audit\ndata: .*role\.created/);
      seen.text = '';
      await lab.clock.advance(1_000);
      await readUntil(other, /event: policy\n/);
      assert.doesNotMatch(seen.text, /33333333-c|role\.created/);
      await lab.ctx.store.delete('user', 'watcher');
      await lab.clock.advance(1_000);
      for (;;) if ((await reader.read()).done) break;
      await other.cancel();
    });
  });
});
