import { decodeResource, ORIGIN_LABEL, type Role } from '../resources/index.ts';

/** Roles that exist from the start: `access` reaches every target, `editor` administers, `auditor` reads what happened. */
export function presetRoles(): Role[] {
  return [
    preset('access', 'Reach every target', {
      allow: {
        logins: ['{{internal.logins}}'],
        node_labels: { '*': '*' },
        db_labels: { '*': '*' },
        db_users: ['{{internal.db_users}}'],
        db_names: ['{{internal.db_names}}'],
        kubernetes_labels: { '*': '*' },
        kubernetes_groups: ['{{internal.kubernetes_groups}}'],
        kubernetes_users: ['{{internal.kubernetes_users}}'],
        kubernetes_resources: [{ kind: '*', api_group: '*', namespace: '*', name: '*', verbs: ['*'] }],
        windows_desktop_labels: { '*': '*' },
        windows_desktop_logins: ['{{internal.windows_logins}}'],
      },
      options: { forward_agent: true },
    }),
    preset('editor', 'Edit cluster configuration', {
      allow: { rules: [{ resources: ['*'], verbs: ['*'] }] },
    }),
    preset('auditor', 'Review what happened', {
      allow: {
        rules: [{ resources: ['session', 'event', 'report', 'session_tracker'], verbs: ['list', 'read'] }],
      },
    }),
  ];
}

function preset(name: string, description: string, spec: unknown): Role {
  return decodeResource({
    kind: 'role',
    version: 'v8',
    metadata: {
      name,
      description,
      labels: { [ORIGIN_LABEL]: 'defaults', 'teleport.internal/resource-type': 'preset' },
    },
    spec,
  }) as Role;
}
