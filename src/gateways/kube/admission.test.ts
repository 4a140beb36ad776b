import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decode, snapshotOf } from '../../../test/fixtures/test-policy.ts';
import { decodeResource, type KubeCluster } from '../../resources/index.ts';
import { admit, chooseImpersonation } from './admission.ts';
import { upstreamHeaders } from './headers.ts';
import { readRequestInfo } from './request-info.ts';

const cluster = decode<KubeCluster>({ kind: 'kube_cluster', metadata: { name: 'prod' }, spec: { in_cluster: true } });
const role = (name: string, group: string, namespace: string) =>
  decodeResource({
    kind: 'role',
    version: 'v7',
    metadata: { name },
    spec: {
      allow: {
        kubernetes_labels: { '*': '*' },
        kubernetes_groups: [group],
        kubernetes_resources: [{ kind: '*', namespace, name: '*', verbs: ['*'] }],
      },
    },
  });
const user = decodeResource({ kind: 'user', metadata: { name: 'bob' }, spec: { roles: ['view', 'dev'] } });
const snapshot = snapshotOf([cluster, role('view', 'viewers', '*'), role('dev', 'admins', 'dev'), user]);

function groups(method: string, url: string): readonly string[] {
  const identity = { user: 'bob', serial: '1', expiresAtMs: Number.POSITIVE_INFINITY, principals: [], extensions: [] };
  const admission = admit(snapshot, { identity, cluster, info: readRequestInfo(method, url)!, headers: [] });
  assert.ok(admission.ok, admission.ok ? '' : admission.reason);
  return admission.impersonation.groups;
}

test('the groups of a role go no further than its kubernetes_resources', () => {
  assert.deepEqual(groups('DELETE', '/api/v1/namespaces/prod/secrets/x'), ['viewers']);
  assert.deepEqual(groups('DELETE', '/api/v1/namespaces/dev/secrets/x'), ['viewers', 'admins']);
  assert.deepEqual(groups('GET', '/api/v1/secrets'), ['viewers']);
  assert.deepEqual(groups('GET', '/version'), ['viewers', 'admins']);
});

test('names beyond Latin-1 are sent in UTF-8, and none becomes another name or a line of its own', () => {
  const sent = upstreamHeaders([], { user: 'ł', groups: ['č\u010ax'] }, undefined);
  assert.deepEqual(
    sent.map((text) => Buffer.from(text, 'latin1').toString('utf8')),
    ['Impersonate-User', 'ł', 'Impersonate-Group', 'č\u010ax'],
  );
  assert.ok(sent.every((text) => !/[\r\n]/.test(Buffer.from(text, 'latin1').toString('latin1'))));
});

test('what a client asks to act as is one user and groups of the roles, and nothing else', () => {
  const ask = (...headers: string[]) => chooseImpersonation('bob', { users: ['bob', 'ops'], groups: ['dev'] }, headers);
  assert.deepEqual(ask('Impersonate-User', 'ops', 'Impersonate-Group', 'dev'), { user: 'ops', groups: ['dev'] });
  assert.deepEqual(ask('Impersonate-User', 'ops', 'impersonate-user', 'ops'), { user: 'ops', groups: ['dev'] });
  for (const headers of [
    ['Impersonate-User', 'root'],
    ['Impersonate-User', 'ops', 'Impersonate-User', 'root'],
    ['Impersonate-User', 'ops', 'Impersonate-User', 'bob'],
    ['Impersonate-Group', 'dev', 'Impersonate-Group', 'system:masters'],
  ])
    assert.equal(typeof ask(...headers), 'string', headers.join(' '));
});
