import { z } from 'zod';
import { lockingMode } from './cluster-auth-preference.ts';
import { activityMode } from './cluster-networking-config.ts';
import { doc, duration, flag, mapping } from './fields.ts';
import { KUBE_V7_KINDS } from './kube-kinds.ts';
import { metadata } from './metadata.ts';
import { type KubernetesResource, type RoleConditions, roleConditions } from './role-conditions.ts';

/** Versions of roles; they differ in what is allowed when a key is absent (`conditionsOf`). */
const ROLE_VERSIONS = ['v3', 'v4', 'v5', 'v6', 'v7', 'v8'] as const;

const count = z.number().int({ error: 'expected a whole number' }).min(0).max(1_000_000).meta({ docType: 'number' });

const onOff = mapping({ enabled: doc(flag, 'Whether it is allowed.') });

const options = mapping(
  {
    client_idle_timeout: doc(
      duration,
      'End a session after this long without activity; `never` or `0`: no limit from this role.',
    ).optional(),
    client_idle_warning: doc(
      duration,
      'How long before the end the user is warned; `never` or `0`: no warning from this role.',
    ).optional(),
    client_idle_activity: doc(
      activityMode,
      'What counts as activity: `input`, `auto` or `traffic`; the strictest of all roles applies.',
    ).optional(),
    disconnect_expired_cert: doc(flag, 'End sessions when the certificate they began with expires.', {
      default: 'no',
    }).optional(),
    lock: doc(lockingMode, 'What to do when locks cannot be known to be current.', {
      default: "the cluster's locking_mode",
    }).optional(),
    max_session_ttl: doc(duration, 'Longest life of a login and of a session; the shortest of all roles applies.', {
      default: 'no limit from this role',
    }).optional(),
    forward_agent: doc(flag, 'Agent forwarding.', { default: 'no' }).optional(),
    port_forwarding: doc(flag, 'Port forwarding both ways; `ssh_port_forwarding` is finer.', {
      default: 'yes',
    }).optional(),
    ssh_port_forwarding: doc(
      mapping({
        local: doc(onOff, 'From the client to the target (`-L`, `-D`).').optional(),
        remote: doc(onOff, 'From the target to the client (`-R`).').optional(),
      }),
      'Port forwarding by direction.',
    ).optional(),
    permit_x11_forwarding: doc(flag, 'X11 forwarding; not supported, so only `no`.', { default: 'no' })
      .refine((value) => !value, { message: 'X11 forwarding is not supported: remove the key or say no' })
      .optional(),
    max_sessions: doc(count, 'Session channels on one SSH connection; 0 for no limit.', { default: '0' }).optional(),
    max_connections: doc(count, 'SSH connections of one user at a time; 0 for no limit.', { default: '0' }).optional(),
    kubernetes_exec_cleanup: doc(
      z.enum(['none', 'hangup']),
      'What becomes of the process after `kubectl exec` was cut.',
      { default: 'none' },
    ).optional(),
    database_idle_in_transaction_timeout: doc(
      duration,
      'End a database session that leaves a transaction open and silent this long.',
      { default: 'never' },
    ).optional(),
    desktop_clipboard: doc(flag, 'The clipboard between browser and desktop.', { default: 'yes' }).optional(),
    desktop_directory_sharing: doc(flag, 'Sharing of directories; not supported, so only `no`.', { default: 'no' })
      .refine((value) => !value, { message: 'sharing of directories is not supported: remove the key or say no' })
      .optional(),
  },
  {
    unsupported: {
      cert_extensions: [[]],
      cert_format: ['standard'],
      create_db_user: [false],
      create_db_user_mode: ['off'],
      create_desktop_user: [false],
      create_host_user: [false],
      create_host_user_default_shell: [''],
      create_host_user_mode: ['off'],
      device_trust_mode: ['', 'off', 'optional'],
      enhanced_recording: [[], ['command', 'network']],
      idp: [],
      max_kubernetes_connections: [0],
      mfa_verification_interval: [],
      pin_source_ip: [false],
      record_session: [],
      request_access: ['', 'optional'],
      request_prompt: [''],
      require_session_mfa: [false],
      ssh_file_copy: [true],
    },
    misplaced: {
      idle_timeout_message: 'spec.idle_timeout_message of cluster_networking_config',
      web_idle_timeout: 'spec.web_idle_timeout of cluster_networking_config',
      logins: 'spec.allow.logins',
    },
  },
);

export const roleSchema = mapping(
  {
    kind: z.literal('role'),
    version: doc(z.enum(ROLE_VERSIONS), 'Version: what is allowed when a key is absent.', { default: 'v8' }).default(
      'v8',
    ),
    metadata,
    spec: mapping(
      {
        options: doc(options, 'What holds for the sessions of everybody who has the role.').default({}),
        allow: doc(roleConditions, 'What the role allows.').default({}),
        deny: doc(roleConditions, 'What the role forbids; wins over every `allow`.').default({}),
      },
      { misplaced: { client_idle_timeout: 'spec.options.client_idle_timeout', logins: 'spec.allow.logins' } },
    ).default({ options: {}, allow: {}, deny: {} }),
  },
  {
    misplaced: {
      options: 'spec.options',
      allow: 'spec.allow',
      deny: 'spec.deny',
      client_idle_timeout: 'spec.options.client_idle_timeout',
    },
  },
).superRefine((role, ctx) => {
  const wildcard = role.spec.allow.logins?.indexOf('*') ?? -1;
  if (wildcard >= 0) {
    ctx.addIssue({
      code: 'custom',
      path: ['spec', 'allow', 'logins', wildcard],
      message: "'*' is not allowed here: name the logins, or use {{internal.logins}}",
    });
  }
  for (const side of ['allow', 'deny'] as const) {
    for (const [at, resource] of (role.spec[side].kubernetes_resources ?? []).entries()) {
      for (const [key, message] of kubernetesProblems(role.version, resource)) {
        ctx.addIssue({ code: 'custom', path: ['spec', side, 'kubernetes_resources', at, key], message });
      }
    }
  }
});

/** What people with this role may do and what holds for their sessions, versions v3 to v8. */
export type Role = z.infer<typeof roleSchema>;
export type RoleOptions = Role['spec']['options'];

/** One side of a role with the defaults of its version filled in. */
export type FilledConditions = { readonly [Key in keyof RoleConditions]-?: NonNullable<RoleConditions[Key]> };

const ANY = { '*': ['*'] };

/**
 * What a role allows or denies, with the defaults of its version filled in as Teleport does: v3 reaches every node (if it has
 * logins), database and cluster unless it says which; later versions reach none. v6 is the last with pods only.
 */
export function conditionsOf(role: Role, side: 'allow' | 'deny'): FilledConditions {
  const given = role.spec[side];
  const v3 = side === 'allow' && role.version === 'v3';
  const kubernetesLabels = given.kubernetes_labels ?? (v3 ? ANY : {});
  return {
    logins: given.logins ?? [],
    node_labels: given.node_labels ?? (v3 && (given.logins?.length ?? 0) > 0 ? ANY : {}),
    db_labels: given.db_labels ?? (v3 ? ANY : {}),
    db_users: given.db_users ?? [],
    db_names: given.db_names ?? [],
    db_replication: given.db_replication ?? false,
    kubernetes_labels: kubernetesLabels,
    kubernetes_groups: given.kubernetes_groups ?? [],
    kubernetes_users: given.kubernetes_users ?? [],
    kubernetes_resources:
      given.kubernetes_resources ??
      (side === 'allow' && Object.keys(kubernetesLabels).length > 0 ? defaultKubernetesResources(role.version) : []),
    windows_desktop_labels: given.windows_desktop_labels ?? {},
    windows_desktop_logins: given.windows_desktop_logins ?? [],
    rules: given.rules ?? [],
  };
}

function defaultKubernetesResources(version: Role['version']): KubernetesResource[] {
  switch (version) {
    case 'v3':
    case 'v4':
    case 'v5':
      return [{ kind: 'pod', namespace: '*', name: '*', verbs: ['*'] }];
    case 'v6':
      return [];
    case 'v7':
      return [{ kind: '*', namespace: '*', name: '*', verbs: ['*'] }];
    case 'v8':
      return [{ kind: '*', api_group: '*', namespace: '*', name: '*', verbs: ['*'] }];
  }
}

/** Kinds that belong to no namespace, by their names of v7. */
const CLUSTER_WIDE = [
  'namespace',
  'kube_node',
  'persistentvolume',
  'clusterrole',
  'clusterrolebinding',
  'certificatesigningrequest',
];

/** What a `kubernetes_resources` entry may say differs by version of the role. */
function kubernetesProblems(version: Role['version'], resource: KubernetesResource): [string, string][] {
  const { kind, api_group, namespace, verbs } = resource;
  const problems: [string, string][] = [];
  const v7Kind = Object.hasOwn(KUBE_V7_KINDS, kind) ? KUBE_V7_KINDS[kind] : undefined;
  if (version === 'v8') {
    if (v7Kind !== undefined) {
      problems.push([
        'kind',
        `is the name of v7: a role of v8 calls it ${v7Kind.resource} (api_group "${v7Kind.apiGroups[0]}")`,
      ]);
    }
  } else {
    const known = version === 'v7' ? ['*', ...Object.keys(KUBE_V7_KINDS)] : ['pod'];
    if (!known.includes(kind)) {
      problems.push([
        'kind',
        `must be ${known.length > 1 ? `one of ${known.join(', ')}` : known[0]} in a role of ${version}`,
      ]);
    }
    if (api_group !== undefined) problems.push(['api_group', 'exists in roles of v8 only']);
    if (namespace === undefined && !CLUSTER_WIDE.includes(kind)) {
      problems.push(['namespace', "is missing: name one, or write '*'"]);
    }
  }
  if (verbs === undefined && (version === 'v7' || version === 'v8')) {
    problems.push(['verbs', "is missing: say what may be done, or write '*'"]);
  }
  return problems;
}
