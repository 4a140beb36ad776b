import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { decode, snapshotOf } from '../../test/fixtures/test-policy.ts';
import { decodeResource, type KubeCluster, type Role } from '../resources/index.ts';
import { checkKubeAccess, type KubeGrant, type KubeObject } from './kube-access.ts';

const cluster = decode<KubeCluster>({
  kind: 'kube_cluster',
  metadata: { name: 'prod', labels: { env: 'prod' } },
  spec: { kubeconfig_file: '/kubeconfig' },
});

function role(name: string, version: string, allow: unknown, deny: unknown = {}): Role {
  return decode<Role>({ kind: 'role', version, metadata: { name }, spec: { allow, deny } });
}

function answer(...roles: Role[]) {
  const user = { kind: 'user', metadata: { name: 'alice' }, spec: { roles: roles.map((one) => one.metadata.name) } };
  return checkKubeAccess(snapshotOf([...roles, decodeResource(user)]), { user: 'alice', cluster });
}

function grant(...roles: Role[]): KubeGrant {
  const result = answer(...roles);
  assert.ok(result.allowed, result.allowed ? '' : result.reason);
  return result;
}

const base = { kubernetes_labels: { env: 'prod' }, kubernetes_groups: ['viewers'] };

function object(path: string, verb = 'get'): KubeObject {
  const [resource = '', namespace = '', name = ''] = path.split('/');
  const [plural = '', apiGroup = ''] = resource.split(':');
  return { resource: plural, apiGroup, namespace, name, verb };
}

describe('access to Kubernetes', () => {
  test('labels, groups and users', () => {
    assert.deepEqual(answer(), {
      allowed: false,
      reason: 'no role of user "alice" allows its labels (kubernetes_labels)',
    });
    const noGroup = answer(role('a', 'v7', { kubernetes_labels: { '*': '*' } }));
    assert.match(noGroup.allowed ? '' : noGroup.reason, /allows a group or a user there/);
    assert.deepEqual(grant(role('a', 'v7', base)).groups, ['viewers']);
    assert.deepEqual(grant(role('a', 'v7', base)).users, ['alice']);
    assert.deepEqual(grant(role('a', 'v7', { ...base, kubernetes_users: ['dev'] })).users, ['dev']);
    const elsewhere = role('b', 'v7', { kubernetes_labels: { env: 'dev' }, kubernetes_groups: ['system:masters'] });
    assert.deepEqual(grant(role('a', 'v7', base), elsewhere).groups, ['viewers']);
  });

  test('deny by label and by group', () => {
    const byLabel = answer(role('a', 'v7', base), role('no', 'v7', {}, { kubernetes_labels: { env: 'prod' } }));
    assert.match(byLabel.allowed ? '' : byLabel.reason, /role "no" denies it by kubernetes_labels/);
    const two = role('a', 'v7', { ...base, kubernetes_groups: ['viewers', 'admins'] });
    assert.deepEqual(grant(two, role('no', 'v7', {}, { kubernetes_groups: ['admins'] })).groups, ['viewers']);
  });

  test('v7 and v8 without resources: everything', () => {
    for (const version of ['v7', 'v8']) {
      const all = grant(role('a', version, base));
      assert.equal(all.unrestricted, true);
      assert.equal(all.permits(object('pods/default/web', 'exec')), true);
      assert.equal(all.permits(object('widgets:example.com//x', 'delete')), true);
    }
  });

  test('v3 to v6 know of pods only', () => {
    const all = grant(role('a', 'v5', base));
    assert.equal(all.permits(object('pods/x/y')), true);
    assert.equal(all.permits(object('deployments:apps/x/y')), true);
    const v6 = grant(role('a', 'v6', base));
    assert.equal(v6.permits(object('pods/x/y')), false);
    assert.equal(v6.permits(object('deployments:apps/x/y')), true);
    const some = grant(
      role('a', 'v5', { ...base, kubernetes_resources: [{ kind: 'pod', namespace: 'dev', name: 'web-*' }] }),
    );
    assert.equal(some.permits(object('pods/dev/web-1')), true);
    assert.equal(some.permits(object('pods/dev/db-1')), false);
    assert.equal(some.permits(object('pods/prod/web-1')), false);
  });

  test('v7: kinds, namespaces, names and verbs', () => {
    const pods = { kind: 'pod', namespace: 'dev', name: '^web-[0-9]+$', verbs: ['get', 'list'] };
    const some = grant(role('a', 'v7', { ...base, kubernetes_resources: [pods] }));
    assert.equal(some.unrestricted, false);
    assert.equal(some.permits(object('pods/dev/web-1')), true);
    assert.equal(some.permits(object('pods/dev/web-x')), false);
    assert.equal(some.permits(object('pods/dev/web-1', 'exec')), false);
    assert.equal(some.permits(object('secrets/dev/web-1')), false);
    assert.equal(some.permits(object('pods:metrics.k8s.io/dev/web-1')), false);
    assert.equal(some.permits(object('pods/dev/', 'list')), true);
    assert.equal(some.permits(object('pods/prod/', 'list')), false);
    assert.equal(some.permits(object('pods//', 'list')), true, 'a list over all namespaces is filtered');
  });

  test('v7: a namespace stands for all in it', () => {
    const some = grant(
      role('a', 'v7', { ...base, kubernetes_resources: [{ kind: 'namespace', name: 'dev', verbs: ['*'] }] }),
    );
    assert.equal(some.permits(object('namespaces//dev')), true);
    assert.equal(some.permits(object('secrets/dev/x')), true);
    assert.equal(some.permits(object('secrets/prod/x')), false);
    assert.equal(some.permits(object('nodes//x')), false);
  });

  test('v8: names and groups of the API', () => {
    const resources = [
      { kind: 'deployments', api_group: 'apps', namespace: 'dev', name: '*', verbs: ['get'] },
      { kind: 'nodes', name: '*', verbs: ['get'] },
    ];
    const some = grant(role('a', 'v8', { ...base, kubernetes_resources: resources }));
    assert.equal(some.permits(object('deployments:apps/dev/x')), true);
    assert.equal(some.permits(object('deployments:extensions/dev/x')), false);
    assert.equal(some.permits(object('nodes//n1')), true);
    assert.equal(some.permits(object('pods/dev/x')), false);
  });

  test('groups come from the roles that allow the object, and from no other', () => {
    const admin = role('admin', 'v7', {
      ...base,
      kubernetes_groups: ['admins'],
      kubernetes_resources: [{ kind: 'pod', namespace: 'dev', name: '*', verbs: ['*'] }],
    });
    const both = grant(role('a', 'v7', base), admin);
    assert.deepEqual(both.identityFor(object('pods/dev/x')).groups, ['viewers', 'admins']);
    assert.deepEqual(both.identityFor(object('secrets/prod/x')).groups, ['viewers']);
    assert.equal(both.unrestricted, false);
    // All namespaces are looked into as the role that may; its own the other looks into as itself.
    assert.deepEqual(both.identityFor(object('pods//', 'list')).groups, ['viewers']);
    assert.deepEqual(both.identityFor(object('pods/dev/', 'list')).groups, ['viewers', 'admins']);
    assert.deepEqual(grant(admin).identityFor(object('pods//', 'list')).groups, ['admins']);
  });

  test('what cannot be filtered needs the whole collection', () => {
    const web = { kind: 'pod', namespace: 'dev', name: 'web-*', verbs: ['*'] };
    const some = grant(role('a', 'v7', { ...base, kubernetes_resources: [web] }));
    assert.equal(some.permits(object('pods/dev/', 'deletecollection')), false);
    assert.equal(some.permits(object('pods/dev/', 'create')), true, 'to be checked again with the name');
    assert.equal(some.permits(object('pods/dev/db', 'create')), false);
    assert.equal(some.permits(object('pods/dev/web-1', 'create')), true);
    const db = { kind: 'pod', namespace: 'dev', name: 'db', verbs: ['*'] };
    const without = grant(role('a', 'v7', base), role('no', 'v7', {}, { kubernetes_resources: [db] }));
    assert.equal(without.permits(object('pods/dev/', 'deletecollection')), false);
    assert.equal(without.permits(object('pods/prod/', 'deletecollection')), true);
    assert.equal(without.permits(object('pods/dev/', 'list')), true);
  });

  test('deny wins; a denied part of a list does not bar the list', () => {
    const secrets = { kind: 'secret', namespace: 'prod', name: '*', verbs: ['*'] };
    const one = { kind: 'pod', namespace: 'dev', name: 'db', verbs: ['*'] };
    const some = grant(role('a', 'v7', base), role('no', 'v7', {}, { kubernetes_resources: [secrets, one] }));
    assert.equal(some.unrestricted, false);
    assert.equal(some.permits(object('secrets/prod/x')), false);
    assert.equal(some.permits(object('secrets/prod/', 'list')), false);
    assert.equal(some.permits(object('secrets/dev/x')), true);
    assert.equal(some.permits(object('pods/dev/db')), false);
    assert.equal(some.permits(object('pods/dev/', 'list')), true);
    assert.equal(some.permits(object('secrets//', 'list')), true);
  });
});
