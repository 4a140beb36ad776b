import { z } from 'zod';
import { doc, flag, line, listOf, mapping, nonEmptyLine, texts } from './fields.ts';
import { KUBE_VERBS } from './kube-kinds.ts';
import { matcherProblem } from './matcher.ts';
import { templateProblem } from './template.ts';

const matcherText = nonEmptyLine.superRefine((text, ctx) => {
  const problem = matcherProblem(text) ?? templateProblem(text);
  if (problem !== undefined) ctx.addIssue({ code: 'custom', message: problem });
});

/** Values that select: literals, `*` wildcards, `^regular expressions$`, templates. One value stands for a list of one. */
const matchers = listOf(matcherText).meta({ docType: 'list of matchers' });

const templated = listOf(
  nonEmptyLine.superRefine((text, ctx) => {
    const problem = templateProblem(text);
    if (problem !== undefined) ctx.addIssue({ code: 'custom', message: problem });
  }),
).meta({ docType: 'list of text' });

const labelMatchers = z
  .preprocess((value) => value ?? {}, z.record(nonEmptyLine, matchers))
  .superRefine((labels, ctx) => {
    const any = labels['*'];
    if (any !== undefined && !(any.length === 1 && any[0] === '*')) {
      ctx.addIssue({ code: 'custom', path: ['*'], message: "the key '*' goes with the value '*' only" });
    }
  })
  .meta({ docType: 'mapping of label to matchers' });

const kubernetesResource = mapping({
  kind: doc(nonEmptyLine, 'Kind: `pod` (v3 to v7), `pods` (v8), or `*`.'),
  api_group: doc(line, 'API group, v8 only; `*` for any, absent for the core group.').optional(),
  namespace: doc(matcherText, 'Namespace, or a matcher for it.').optional(),
  name: doc(matcherText, 'Name, or a matcher for it.'),
  verbs: doc(listOf(z.enum(KUBE_VERBS)), 'What may be done with it, or `*`; needed from v7 on.', {
    type: 'list of text',
    default: '*',
  }).optional(),
});

const rule = mapping(
  {
    resources: doc(texts, 'Kinds of resource, or `*`.'),
    verbs: doc(texts, '`list`, `read`, `readnosecrets`, `create`, `update`, `delete`, or `*`.'),
  },
  { unsupported: { where: [''], actions: [] } },
);

const shape = {
  logins: doc(templated, 'Logins on SSH servers.').optional(),
  node_labels: doc(labelMatchers, 'SSH servers, by label.').optional(),
  db_labels: doc(labelMatchers, 'Databases, by label.').optional(),
  db_users: doc(templated, 'Users in databases; `*` for any.').optional(),
  db_names: doc(templated, 'Databases on a server; `*` for any.').optional(),
  db_replication: doc(flag, 'The replication protocols of PostgreSQL and MySQL.', { default: 'no' }).optional(),
  kubernetes_labels: doc(labelMatchers, 'Kubernetes clusters, by label.').optional(),
  kubernetes_groups: doc(templated, 'Groups to impersonate.').optional(),
  kubernetes_users: doc(templated, 'Users to impersonate.').optional(),
  kubernetes_resources: doc(
    z.array(kubernetesResource).max(1000),
    'What in a cluster, by kind, namespace, name and verb.',
  ).optional(),
  windows_desktop_labels: doc(labelMatchers, 'Desktops, by label.').optional(),
  windows_desktop_logins: doc(templated, 'Logins on desktops.').optional(),
  rules: doc(z.array(rule).max(1000), 'Administration: kinds of resource and verbs.').optional(),
};

const unsupported = {
  account_assignments: [],
  app_labels: [{}],
  app_labels_expression: [],
  aws_role_arns: [[]],
  azure_identities: [[]],
  cluster_labels: [{}],
  cluster_labels_expression: [],
  db_labels_expression: [],
  db_permissions: [[]],
  db_roles: [[]],
  db_service_labels: [{}],
  db_service_labels_expression: [],
  desktop_groups: [[]],
  gcp_service_accounts: [[]],
  github_permissions: [[]],
  group_labels: [{}],
  group_labels_expression: [],
  host_groups: [[]],
  host_sudoers: [[]],
  impersonate: [],
  join_sessions: [[]],
  kubernetes_labels_expression: [],
  mcp: [],
  namespaces: [['default']],
  node_labels_expression: [],
  request: [],
  require_session_join: [[]],
  review_requests: [],
  spiffe: [],
  windows_desktop_labels_expression: [],
  workload_identity_labels: [{}],
  workload_identity_labels_expression: [],
} as const;

/** One side of a role: what it allows, or what it denies. */
export const roleConditions = mapping(shape, { unsupported, misplaced: { options: 'spec.options' } });
export type RoleConditions = z.infer<typeof roleConditions>;
export type KubernetesResource = z.infer<typeof kubernetesResource>;
