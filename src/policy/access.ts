import type { Database, KubeCluster, Lock, Node, WindowsDesktop } from '../resources/index.ts';
import { type Access, ALLOWED, denied, expandAll, type HeldRole, labelsMatch, listHas, rolesOf } from './role-set.ts';
import type { PolicySnapshot } from './snapshot.ts';

export type { Access } from './role-set.ts';

type LabelKey = 'node_labels' | 'db_labels' | 'kubernetes_labels' | 'windows_desktop_labels';

const LABEL_KEYS: Readonly<Record<'node' | 'db' | 'kube_cluster' | 'windows_desktop', LabelKey>> = {
  node: 'node_labels',
  db: 'db_labels',
  kube_cluster: 'kubernetes_labels',
  windows_desktop: 'windows_desktop_labels',
};

/** What a role must allow besides the labels, and what it must not deny. */
interface Demand {
  /** `login "root"`, for the reason. */
  readonly what: string;
  allows(role: HeldRole): boolean;
  denies(role: HeldRole): boolean;
}

/** Whether a user may sign in to a node with this login. */
export function checkNodeAccess(
  snapshot: PolicySnapshot,
  request: { readonly user: string; readonly login: string; readonly node: Node },
): Access {
  const { user, login, node } = request;
  return decide(snapshot, user, node, (traits) => [
    {
      what: `login "${login}"`,
      allows: (role) => listHas(role.allow.logins, login, traits, 'literal'),
      denies: (role) => listHas(role.deny.logins, login, traits),
    },
  ]);
}

/**
 * Whether a user may reach a database as `dbUser`, in the database `dbName` of that server where the protocol has such, with the
 * replication protocol where that is asked for.
 */
export function checkDbAccess(
  snapshot: PolicySnapshot,
  request: {
    readonly user: string;
    readonly database: Database;
    readonly dbUser: string;
    readonly dbName?: string;
    readonly replication?: boolean;
  },
): Access {
  const { user, database, dbUser, dbName, replication = false } = request;
  return decide(snapshot, user, database, (traits) => {
    const demands: Demand[] = [
      {
        what: `database user "${dbUser}"`,
        allows: (role) => listHas(role.allow.db_users, dbUser, traits),
        denies: (role) => listHas(role.deny.db_users, dbUser, traits),
      },
    ];
    if (dbName !== undefined) {
      demands.push({
        what: `database name "${dbName}"`,
        allows: (role) => listHas(role.allow.db_names, dbName, traits),
        denies: (role) => listHas(role.deny.db_names, dbName, traits),
      });
    }
    if (replication) {
      demands.push({
        what: 'the replication protocol (db_replication)',
        allows: (role) => role.allow.db_replication,
        denies: (role) => role.deny.db_replication,
      });
    }
    return demands;
  });
}

/** Whether a user may open a desktop with this login. */
export function checkDesktopAccess(
  snapshot: PolicySnapshot,
  request: { readonly user: string; readonly login: string; readonly desktop: WindowsDesktop },
): Access {
  const { user, login, desktop } = request;
  return decide(snapshot, user, desktop, (traits) => [
    {
      what: `login "${login}"`,
      allows: (role) => listHas(role.allow.windows_desktop_logins, login, traits, 'literal'),
      denies: (role) => listHas(role.deny.windows_desktop_logins, login, traits),
    },
  ]);
}

/** Whether a user may know of a target at all: its labels are allowed and not denied. For lists. */
export function canSee(
  snapshot: PolicySnapshot,
  user: string,
  target: Node | Database | KubeCluster | WindowsDesktop,
): boolean {
  return decide(snapshot, user, target, () => []).allowed;
}

/** What a user may sign in as on a target: logins of a node or a desktop, users of a database (`*` among them for any). */
export function loginsOn(snapshot: PolicySnapshot, user: string, target: Node | Database | WindowsDesktop): string[] {
  const set = rolesOf(snapshot, user);
  if ('allowed' in set || !canSee(snapshot, user, target)) return [];
  const key = target.kind === 'node' ? 'logins' : target.kind === 'db' ? 'db_users' : 'windows_desktop_logins';
  const labelKey = LABEL_KEYS[target.kind];
  const labels = target.metadata.labels ?? {};
  const granting = set.roles.filter((role) => labelsMatch(role.allow[labelKey], labels, set.traits, 'allow'));
  const all = [...new Set(granting.flatMap((role) => expandAll(role.allow[key], set.traits)))];
  return all.filter((login) => !set.roles.some((role) => listHas(role.deny[key], login, set.traits)));
}

/** All SSH logins that a user's roles allow on any node: the principals of the user's certificate. */
export function allowedLogins(snapshot: PolicySnapshot, user: string): string[] {
  const set = rolesOf(snapshot, user);
  if ('allowed' in set) return [];
  const all = [...new Set(set.roles.flatMap((role) => expandAll(role.allow.logins, set.traits)))];
  return all.filter((login) => !set.roles.some((role) => listHas(role.deny.logins, login, set.traits)));
}

/**
 * Whether a user may administer: `verb` (`list`, `read`, `create`, `update`, `delete`) on resources of a kind. `read` includes
 * `readnosecrets`; `deny` wins.
 */
export function checkRule(snapshot: PolicySnapshot, user: string, kind: string, verb: string): Access {
  const set = rolesOf(snapshot, user);
  if ('allowed' in set) return set;
  const has = (role: HeldRole, side: 'allow' | 'deny') =>
    role[side].rules.some(
      (rule) =>
        (rule.resources.includes(kind) || rule.resources.includes('*')) &&
        (rule.verbs.includes(verb) ||
          rule.verbs.includes('*') ||
          (verb === 'readnosecrets' && rule.verbs.includes('read'))),
    );
  const forbidding = set.roles.find((role) => has(role, 'deny'));
  if (forbidding !== undefined) return denied(`role "${forbidding.name}" denies ${verb} on ${kind}`);
  if (set.roles.some((role) => has(role, 'allow'))) return ALLOWED;
  return denied(`no role of user "${user}" allows ${verb} on ${kind}`);
}

/** Who and what a lock is looked for. */
export interface LockQuery {
  readonly user: string;
  readonly roles: readonly string[];
  readonly login: string;
  /** Name of the target, whatever its kind. */
  readonly serverId: string;
  readonly sessionId: string;
  /** Wall clock, milliseconds since the epoch. */
  readonly nowMs: number;
}

/** A lock that is in force and names the user, one of the roles, the login, the target or the session; undefined where there is none. */
export function findLock(
  snapshot: PolicySnapshot,
  query: Partial<LockQuery> & { readonly nowMs: number },
): Lock | undefined {
  return snapshot.locks.find((lock) => {
    const { target, expires } = lock.spec;
    const end = expires ?? lock.metadata.expires;
    if (end !== undefined && Date.parse(end) <= query.nowMs) return false;
    return (
      (target.user !== undefined && target.user === query.user) ||
      (target.role !== undefined && query.roles?.includes(target.role) === true) ||
      (target.login !== undefined && target.login === query.login) ||
      (target.server_id !== undefined && target.server_id === query.serverId) ||
      (target.windows_desktop !== undefined && target.windows_desktop === query.serverId) ||
      (target.session !== undefined && target.session === query.sessionId)
    );
  });
}

/**
 * Denials are greedy, as Teleport's: a role that denies the labels, or any one of the demands, forbids the access. Otherwise one
 * role must allow the labels and all demands together.
 */
function decide(
  snapshot: PolicySnapshot,
  user: string,
  target: Node | Database | KubeCluster | WindowsDesktop,
  demandsOf: (traits: Readonly<Record<string, readonly string[]>>) => readonly Demand[],
): Access {
  const set = rolesOf(snapshot, user);
  if ('allowed' in set) return set;
  const { traits, roles } = set;
  const labelKey = LABEL_KEYS[target.kind];
  const labels = target.metadata.labels ?? {};
  const demands = demandsOf(traits);
  for (const role of roles) {
    if (labelsMatch(role.deny[labelKey], labels, traits, 'deny')) {
      return denied(`role "${role.name}" denies it by ${labelKey}`);
    }
    const demand = demands.find((one) => one.denies(role));
    if (demand !== undefined) return denied(`role "${role.name}" denies ${demand.what}`);
  }
  const visible = roles.filter((role) => labelsMatch(role.allow[labelKey], labels, traits, 'allow'));
  if (visible.length === 0) return denied(`no role of user "${user}" allows its labels (${labelKey})`);
  if (visible.some((role) => demands.every((demand) => demand.allows(role)))) return ALLOWED;
  const missing = demands.find((demand) => !visible.some((role) => demand.allows(role)));
  return denied(
    missing === undefined
      ? `no single role of user "${user}" allows ${demands.map((demand) => demand.what).join(' and ')} together`
      : `no role of user "${user}" allows ${missing.what} there`,
  );
}
