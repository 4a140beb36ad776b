import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import { ApiLab } from '../../../test/fixtures/api.ts';

let lab: ApiLab;
before(async () => {
  lab = await ApiLab.start();
});
after(() => lab.stop());

const PATHS = [
  '/v1/login',
  '/v1/invitations/lookup',
  '/v1/invitations/accept',
  '/v1/certificates',
  '/v1/resources',
  '/v1/users',
  '/v1/users/x/reset',
  '/v1/locks',
  '/v1/sessions/x/kill',
  '/v1/idle/explain',
  '/v1/idle/rehearse',
  '/v1/auth/sign/user',
  '/v1/auth/sign/database',
  '/v1/auth/sign/host',
];

/** Keys that some request has, so that random bodies get beyond the first check. */
const KEYS = [
  'user',
  'password',
  'otp',
  'token',
  'sshPublicKey',
  'tlsPublicKey',
  'ttlMs',
  'route',
  'resource',
  'resources',
  'mode',
  'confirm',
  'name',
  'roles',
  'traits',
  'target',
  'message',
  'expires',
  'hosts',
  'kind',
  'version',
  'metadata',
  'spec',
  'options',
  'labels',
  '__proto__',
];
const WORDS = [
  'create',
  'upsert',
  'role',
  'user',
  'lock',
  'node',
  'db',
  'v8',
  'v2',
  'v3',
  '',
  'x',
  '../x',
  '\u0000',
  '15m',
  'never',
];

const value = fc.letrec((tie) => ({
  leaf: fc.oneof(fc.constantFrom(...WORDS), fc.jsonValue(), fc.double(), fc.constant(null)),
  tree: fc.oneof(
    { maxDepth: 4 },
    tie('leaf'),
    fc.array(tie('tree'), { maxLength: 3 }),
    fc.dictionary(fc.constantFrom(...KEYS), tie('tree'), { maxKeys: 5 }),
  ),
})).tree;

test('whatever is sent, the answer is never an internal error', async () => {
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...PATHS), value, async (path, body) => {
      const answer = await lab.local('POST', path, body);
      assert.ok(answer.status < 500, `${answer.status} ${JSON.stringify(answer.body)} ${lab.log.lines.at(-1) ?? ''}`);
      if (answer.status >= 400) assert.equal(typeof answer.body.error.message, 'string');
    }),
    { numRuns: 600 },
  );
});

test('whatever is asked for, the answer is never an internal error', async () => {
  const part = fc.oneof(fc.constantFrom('role', 'cap', 'nodes', 'all', '%2e%2e', '%00', '..', 'x'), fc.webSegment());
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom('GET', 'DELETE'),
      fc.array(part, { maxLength: 3 }),
      fc.webQueryParameters(),
      async (method, parts, query) => {
        const answer = await lab.local(method, `/v1/${parts.join('/')}?from=${query}&${query}`);
        assert.ok(answer.status < 500, `${method} ${parts.join('/')} ${answer.status} ${lab.log.lines.at(-1) ?? ''}`);
      },
    ),
    { numRuns: 400 },
  );
});
