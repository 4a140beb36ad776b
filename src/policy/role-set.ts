import {
  compileMatcher,
  conditionsOf,
  expandTemplate,
  type FilledConditions,
  type Role,
  type Traits,
} from '../resources/index.ts';
import type { PolicySnapshot } from './snapshot.ts';

/** A denial is a value, with the reason why. */
export type Access = { readonly allowed: true } | { readonly allowed: false; readonly reason: string };

export const ALLOWED: Access = { allowed: true };

export function denied(reason: string): Access & { allowed: false } {
  return { allowed: false, reason };
}

/** One role of a user with the defaults of its version. */
export interface HeldRole {
  readonly name: string;
  readonly version: Role['version'];
  readonly allow: FilledConditions;
  readonly deny: FilledConditions;
}

/** A user with the roles that exist. */
export interface RoleSet {
  readonly traits: Traits;
  readonly roles: readonly HeldRole[];
}

const held = new WeakMap<Role, HeldRole>();

/**
 * The roles of a user. A user who does not exist, or has a role that does not, is refused altogether: what the missing role
 * forbids is not known.
 */
export function rolesOf(snapshot: PolicySnapshot, userName: string): RoleSet | (Access & { allowed: false }) {
  const user = snapshot.users.get(userName);
  if (user === undefined) return denied(`user "${userName}" does not exist`);
  const roles: HeldRole[] = [];
  for (const name of user.spec.roles) {
    const role = snapshot.roles.get(name);
    if (role === undefined) return denied(`role "${name}" of user "${userName}" does not exist`);
    roles.push(heldRole(role));
  }
  return { traits: user.spec.traits, roles };
}

function heldRole(role: Role): HeldRole {
  let filled = held.get(role);
  if (filled === undefined) {
    filled = {
      name: role.metadata.name,
      version: role.version,
      allow: conditionsOf(role, 'allow'),
      deny: conditionsOf(role, 'deny'),
    };
    held.set(role, filled);
  }
  return filled;
}

export type Side = 'allow' | 'deny';
export type Labels = Readonly<Record<string, string>>;

/**
 * Whether labels are selected. An empty selector selects nothing; of several keys all must match, of several values one. A selector whose
 * template gives an unreadable matcher selects nothing that is allowed, and everything that is denied.
 */
export function labelsMatch(
  selector: Readonly<Record<string, readonly string[]>>,
  labels: Labels,
  traits: Traits,
  side: Side,
): boolean {
  const keys = Object.keys(selector);
  if (keys.length === 0) return false;
  return keys.every((key) => {
    const values = selector[key]!;
    if (key === '*' && values.includes('*')) return true;
    const value = Object.hasOwn(labels, key) ? labels[key]! : undefined;
    return value !== undefined && values.some((text) => matches(text, value, traits, side));
  });
}

/** Whether a value is selected by one matcher, with its template filled in. */
export function matches(text: string, value: string, traits: Traits, side: Side): boolean {
  if (text === '*') return true;
  try {
    return expandTemplate(text, traits).some((expanded) => compileMatcher(expanded)(value));
  } catch {
    return side === 'deny';
  }
}

/**
 * Whether a list of plain values (logins, database users) has this one. `*` stands for any, except among the logins that
 * are allowed: there it is a name like any other, so that a user's trait does not open every account.
 */
export function listHas(
  list: readonly string[],
  value: string,
  traits: Traits,
  wildcard: 'any' | 'literal' = 'any',
): boolean {
  return list.some((text) =>
    expandTemplate(text, traits).some((one) => one === value || (one === '*' && wildcard === 'any')),
  );
}

/** The values of a list with templates filled in, without repetition. */
export function expandAll(list: readonly string[], traits: Traits): string[] {
  return [...new Set(list.flatMap((text) => expandTemplate(text, traits)))];
}
