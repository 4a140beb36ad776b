import { checkResource, type Kind, type Lock, type ResourceOf, type Role, SCHEMAS } from '../resources/index.ts';

/** What a value in the store came to: the resource, or why it cannot be read. */
export type Decoded<K extends Kind> =
  | { readonly ok: true; readonly resource: ResourceOf<K> }
  | { readonly ok: false; readonly reason: string };

/** Decodes a value at rest. */
export function decodeStored<K extends Kind>(kind: K, value: unknown): Decoded<K> {
  const result = checkResource(value);
  if (!result.ok)
    return {
      ok: false,
      reason: result.problems.map(({ path, text }) => `${path.join('.')} ${text}`.trim()).join('; '),
    };
  if (result.data.kind !== kind) return { ok: false, reason: `it says of itself that it is a ${result.data.kind}` };
  return { ok: true, resource: result.data as ResourceOf<K> };
}

/**
 * Stands in for a role that cannot be read and was not live before. Without the role, its denials and its timeout would be gone
 * while its holders keep what other roles allow them; with this, they reach nothing until it is repaired.
 */
export function denyingRole(name: string): Role {
  const any = { '*': '*' };
  return SCHEMAS.role.parse({
    kind: 'role',
    version: 'v8',
    metadata: { name, description: 'Stands in for a role that is damaged: denies everything.' },
    spec: {
      deny: {
        logins: ['*'],
        node_labels: any,
        db_labels: any,
        db_users: ['*'],
        db_names: ['*'],
        kubernetes_labels: any,
        kubernetes_resources: [{ kind: '*', api_group: '*', namespace: '*', name: '*', verbs: ['*'] }],
        windows_desktop_labels: any,
        windows_desktop_logins: ['*'],
        rules: [{ resources: ['*'], verbs: ['*'] }],
      },
    },
  });
}

/** Of a lock that cannot be read: the same lock without end, if what it locks can still be told. */
export function salvagedLock(name: string, value: unknown): Lock | undefined {
  const spec = (value as { spec?: { target?: unknown } } | undefined)?.spec;
  const target = spec?.target;
  if (typeof target !== 'object' || target === null) return undefined;
  const known = Object.entries(target).filter(([, member]) => typeof member === 'string' && member !== '');
  // One member at a time: a member that cannot be read must not take the others with it.
  const readable = known.filter(([key, member]) => lockOf(name, { [key]: member }).success);
  const lock = lockOf(name, Object.fromEntries(readable));
  return lock.success ? lock.data : undefined;
}

function lockOf(name: string, target: Record<string, unknown>) {
  return SCHEMAS.lock.safeParse({ kind: 'lock', metadata: { name }, spec: { target } });
}
