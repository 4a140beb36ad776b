import { randomBytes } from 'node:crypto';
import { Secret } from '../../src/core/secret.ts';
import { originOf } from '../../src/resources/index.ts';
import { ResourceService } from '../../src/server/api/resource-service.ts';
import type { Daemon } from '../../src/server/daemon.ts';

/** Makes the demo's policy, role and user, as far as they are missing. @returns the user's password, made anew at each start. */
export async function prepareAccount({ context }: Daemon, login: string): Promise<string> {
  const { identity, policy } = context;
  const resources = new ResourceService(context);
  // As `tctl create -f` does it: the audit log has it, and with it the idle report.
  const put = (resource: unknown) => resources.write({ kind: 'local' }, resource, { mode: 'upsert', confirm: false });
  if (originOf(policy.current.authPreference) === 'defaults') {
    await put({
      kind: 'cluster_auth_preference',
      version: 'v2',
      metadata: { name: 'cluster-auth-preference' },
      spec: { type: 'local', second_factor: 'off' },
    });
  }
  // The user is made last: a first start that fails before leaves the next one to be the first.
  if (!policy.current.users.has('demo')) {
    await put({
      kind: 'cluster_networking_config',
      version: 'v2',
      metadata: { name: 'cluster-networking-config' },
      spec: { client_idle_timeout: '30s', client_idle_warning: '10s' },
    });
  }
  await put({
    kind: 'role',
    version: 'v7',
    metadata: { name: 'demo' },
    spec: {
      allow: {
        logins: [login],
        node_labels: { '*': '*' },
        db_labels: { '*': '*' },
        db_users: ['demo'],
        db_names: ['*'],
        kubernetes_labels: { '*': '*' },
        kubernetes_groups: ['demo'],
        kubernetes_resources: [{ kind: '*', namespace: '*', name: '*', verbs: ['*'] }],
      },
      deny: {},
      options: { forward_agent: true },
    },
  });
  await put({
    kind: 'user',
    version: 'v2',
    metadata: { name: 'demo' },
    spec: { roles: ['access', 'editor', 'demo'] },
  });
  const password = randomBytes(12).toString('base64url');
  const { token } = await identity.invitations.create('demo', undefined, 'reset');
  await identity.invitations.accept({ token, password: new Secret(password), clientIp: '127.0.0.1' });
  return password;
}
