import {
  type ClusterAuthPreference,
  type ClusterNetworkingConfig,
  originOf,
  parseDuration,
  type Role,
} from '../resources/index.ts';
import type { ActivityMode, EffectiveIdlePolicy, PolicySource } from './idle-policy.ts';
import type { PolicySnapshot } from './snapshot.ts';

const DEFAULT_WARNING_MS = 60_000;
const STRICTEST_FIRST: readonly ActivityMode[] = ['input', 'auto', 'traffic'];

/**
 * The idle policy that applies to a user's sessions (SPEC 2.2, 2.4): the shortest timeout of the cluster's settings and of all roles, the
 * strictest activity mode, `disconnect_expired_cert` if anybody says so. A user or role that does not exist has no say.
 *
 * The warning is the longest that any place sets explicitly, so that nobody gets less notice than some place promises; `never` turns it off
 * only where no place sets one. The default is at most a quarter of the timeout, one that was set at most half of it.
 * @param extraRoles names of roles to count as if the user had them.
 */
export function effectiveIdlePolicy(
  snapshot: PolicySnapshot,
  userName: string,
  extraRoles: readonly string[] = [],
): EffectiveIdlePolicy {
  const names = new Set([...(snapshot.users.get(userName)?.spec.roles ?? []), ...extraRoles]);
  const roles = [...names]
    .sort()
    .map((name) => snapshot.roles.get(name))
    .filter((role) => role !== undefined);
  return mergeIdlePolicy(snapshot.authPreference, snapshot.networkingConfig, roles);
}

/** The merge itself; the order of the roles decides nothing but the order of the sources and which of two equal ones is named. */
export function mergeIdlePolicy(
  authPreference: ClusterAuthPreference,
  networkingConfig: ClusterNetworkingConfig,
  roles: readonly Role[],
): EffectiveIdlePolicy {
  const network = networkingConfig.spec;
  const options = roles.map((role) => role.spec.options);
  const given = [
    { name: sourceName(authPreference), text: authPreference.spec.options?.client_idle_timeout },
    { name: sourceName(networkingConfig), text: network.client_idle_timeout },
    ...roles.map((role) => ({ name: `role ${role.metadata.name}`, text: role.spec.options.client_idle_timeout })),
  ].flatMap(({ name, text }) => (text === undefined ? [] : [{ name, timeoutMs: parseDuration(text) }]));

  const timeoutMs = shortest(given.map((source) => source.timeoutMs));
  const winner = timeoutMs === 0 ? -1 : given.findIndex((source) => source.timeoutMs === timeoutMs);
  const sources: PolicySource[] = given.map((source, at) => ({ ...source, wins: at === winner }));

  const warnings = [network.client_idle_warning, ...options.map((option) => option.client_idle_warning)].filter(
    (text) => text !== undefined,
  );
  const warningMs =
    warnings.length === 0
      ? Math.min(DEFAULT_WARNING_MS, timeoutMs / 4)
      : Math.min(Math.max(...warnings.map(parseDuration)), timeoutMs / 2);

  const modes = [network.client_idle_activity, ...options.map((option) => option.client_idle_activity)];
  return {
    timeoutMs,
    warningMs,
    activity: STRICTEST_FIRST.find((mode) => modes.includes(mode)) ?? 'auto',
    message: network.idle_timeout_message ?? '',
    disconnectExpiredCert:
      authPreference.spec.disconnect_expired_cert === true ||
      authPreference.spec.options?.disconnect_expired_cert === true ||
      options.some((option) => option.disconnect_expired_cert === true),
    maxSessionTtlMs: shortest(options.map((option) => parseDuration(option.max_session_ttl ?? 'never'))),
    timeoutSource: given[winner]?.name ?? '',
    sources,
  };
}

/** The shortest that is not zero; zero where there is none. */
export function shortest(values: readonly number[]): number {
  return values.reduce((least, value) => (value > 0 && (least === 0 || value < least) ? value : least), 0);
}

/** A value from the configuration file is restored at every start, so whoever wants to change it must know. */
function sourceName(resource: ClusterAuthPreference | ClusterNetworkingConfig): string {
  return originOf(resource) === 'config-file' ? `${resource.kind} (config-file)` : resource.kind;
}
