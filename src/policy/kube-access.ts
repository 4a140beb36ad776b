import { KUBE_V7_KINDS, type KubeCluster, type KubernetesResource } from '../resources/index.ts';
import { canSee } from './access.ts';
import { type Access, denied, expandAll, type HeldRole, labelsMatch, listHas, matches, rolesOf } from './role-set.ts';
import type { PolicySnapshot } from './snapshot.ts';

/** One thing in a cluster that a request is about. */
export interface KubeObject {
  /** Plural, as in the URL: `pods`, `deployments`. */
  readonly resource: string;
  /** '' for the core group. */
  readonly apiGroup: string;
  /** '' for what belongs to no namespace. */
  readonly namespace: string;
  /** '' where the request is about a whole collection. */
  readonly name: string;
  /** `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`, `exec`, `portforward`. */
  readonly verb: string;
}

/** What a user may do in a cluster, and as whom. */
export interface KubeGrant {
  readonly allowed: true;
  /**
   * To impersonate where a request is about no object (discovery, `/version`): user names (the user's own where roles give
   * groups alone) and groups, of all roles.
   */
  readonly users: readonly string[];
  readonly groups: readonly string[];
  /** Every role allows everything: lists need no filter. */
  readonly unrestricted: boolean;
  /**
   * Whether the roles allow this. On a collection (`name` '') a list or a watch is allowed when anything in it may be, since the answer is
   * filtered, and so is `create`, which the caller checks again with the name in the body. Any other verb needs all of the collection.
   */
  permits(object: KubeObject): boolean;
  /**
   * To impersonate for a request about an object: users and groups of the roles that allow it, and of no other. For a collection those of the
   * roles that allow all of it, where there are such: what another role allows in a part of it is asked for there.
   */
  identityFor(object: KubeObject): { readonly users: readonly string[]; readonly groups: readonly string[] };
}

/**
 * Whether a user may reach a cluster, whom the gateway impersonates then, and what in the cluster is allowed.
 * Groups, users and `kubernetes_resources` count from the roles that allow the cluster's labels and give a group or a user.
 */
export function checkKubeAccess(
  snapshot: PolicySnapshot,
  request: { readonly user: string; readonly cluster: KubeCluster },
): KubeGrant | (Access & { allowed: false }) {
  const { user, cluster } = request;
  const set = rolesOf(snapshot, user);
  if ('allowed' in set) return set;
  const { traits, roles } = set;
  const labels = cluster.metadata.labels ?? {};
  if (!canSee(snapshot, user, cluster)) {
    const role = roles.find((one) => labelsMatch(one.deny.kubernetes_labels, labels, traits, 'deny'));
    return denied(
      role === undefined
        ? `no role of user "${user}" allows its labels (kubernetes_labels)`
        : `role "${role.name}" denies it by kubernetes_labels`,
    );
  }
  const granting = roles.filter(
    (role) =>
      labelsMatch(role.allow.kubernetes_labels, labels, traits, 'allow') &&
      role.allow.kubernetes_groups.length + role.allow.kubernetes_users.length > 0,
  );
  const identity = (from: readonly HeldRole[]) => {
    const remaining = (key: 'kubernetes_groups' | 'kubernetes_users') => [
      ...new Set(
        from
          .flatMap((role) => expandAll(role.allow[key], traits))
          .filter((name) => !roles.some((role) => listHas(role.deny[key], name, traits))),
      ),
    ];
    const users = remaining('kubernetes_users');
    return {
      users: users.length > 0 ? users : [user],
      groups: remaining('kubernetes_groups'),
      named: users.length > 0,
    };
  };
  const everybody = identity(granting);
  if (everybody.groups.length === 0 && !everybody.named) {
    return denied(`no role of user "${user}" allows a group or a user there (kubernetes_groups, kubernetes_users)`);
  }
  const rulesOf = (role: HeldRole, side: 'allow' | 'deny') =>
    role[side].kubernetes_resources.map((resource) => resourceRule(role, resource, traits, side));
  const deny = roles.flatMap((role) => rulesOf(role, 'deny'));
  const allow = granting.map((role) => ({ role, rules: rulesOf(role, 'allow') }));
  const allowing = (object: KubeObject, inPart = true): HeldRole[] => {
    // Anything else on a collection must be allowed as a whole, and no part of it be denied.
    const partial = inPart && object.name === '' && PARTIAL_VERBS.includes(object.verb);
    if (deny.some((rule) => (partial ? rule.covers(object) : rule.reaches(object)))) return [];
    return allow
      .filter(
        ({ role, rules }) =>
          // Until v6 roles know of pods only: everything else is left to the cluster's own rules.
          (PODS_ONLY.includes(role.version) && !isPods(object)) ||
          rules.some((rule) => (partial ? rule.reaches(object) : rule.covers(object))),
      )
      .map(({ role }) => role);
  };
  return {
    allowed: true,
    users: everybody.users,
    groups: everybody.groups,
    unrestricted: deny.length === 0 && allow.every(({ rules }) => rules.some((rule) => rule.everything)),
    permits: (object) => allowing(object).length > 0,
    identityFor: (object) => {
      const covering = allowing(object, false);
      const { users, groups } = identity(covering.length > 0 ? covering : allowing(object));
      return { users, groups };
    },
  };
}

/** Verbs on a collection that go on with what is allowed in it: the answer is filtered, or the name checked. */
const PARTIAL_VERBS: readonly string[] = ['get', 'list', 'watch', 'create'];
const PODS_ONLY: readonly string[] = ['v3', 'v4', 'v5', 'v6'];

interface ResourceRule {
  readonly everything: boolean;
  /** Whether the object, or for a collection something in it, is within the rule. */
  reaches(object: KubeObject): boolean;
  /** Whether the object, or for a collection all of it, is within the rule. */
  covers(object: KubeObject): boolean;
}

function resourceRule(
  role: HeldRole,
  resource: KubernetesResource,
  traits: Readonly<Record<string, readonly string[]>>,
  side: 'allow' | 'deny',
): ResourceRule {
  const { kind, name } = resource;
  const namespace = resource.namespace ?? '';
  const verbs: readonly string[] = resource.verbs ?? ['*'];
  const v8 = role.version === 'v8';
  const v7 = Object.hasOwn(KUBE_V7_KINDS, kind) ? KUBE_V7_KINDS[kind] : undefined;
  const text = (pattern: string, value: string) => matches(pattern, value, traits, side);
  // In v7 and before, a rule about a namespace is a rule about everything in it.
  const wholeNamespace = !v8 && kind === 'namespace';
  const kindMatches = (object: KubeObject): boolean => {
    if (kind === '*') return !v8 || groupMatches(object);
    if (v8) return kind === object.resource && groupMatches(object);
    return v7 !== undefined && v7.resource === object.resource && v7.apiGroups.includes(object.apiGroup);
  };
  const group = resource.api_group ?? '';
  const groupMatches = (object: KubeObject): boolean =>
    group === object.apiGroup || (group !== '' && text(group, object.apiGroup));
  const verbMatches = (verb: string) => verbs.includes('*') || verbs.includes(verb);
  const namespaceMatches = (object: KubeObject) =>
    namespace === '*' || (namespace === '' ? object.namespace === '' : text(namespace, object.namespace));
  const fits = (object: KubeObject, collection: boolean): boolean => {
    if (!verbMatches(object.verb)) return false;
    if (wholeNamespace && object.resource !== 'namespaces') {
      return object.namespace === '' ? collection && name === '*' : text(name, object.namespace);
    }
    if (!kindMatches(object)) return false;
    // A list over all namespaces is answered with what is allowed in each.
    const overAll = object.namespace === '' && object.name === '';
    if (!namespaceMatches(object) && !(collection && overAll)) return false;
    return object.name === '' ? collection || name === '*' : text(name, object.name);
  };
  return {
    everything:
      kind === '*' &&
      namespace === '*' &&
      name === '*' &&
      verbs.includes('*') &&
      (!v8 || resource.api_group === '*') &&
      side === 'allow',
    reaches: (object) => fits(object, true),
    covers: (object) => fits(object, false),
  };
}

function isPods(object: KubeObject): boolean {
  return object.resource === 'pods' && object.apiGroup === '';
}
