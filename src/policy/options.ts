import { parseDuration, type RoleOptions } from '../resources/index.ts';
import { shortest } from './idle.ts';
import type { PolicySnapshot } from './snapshot.ts';

/** How long a login lasts where nothing says otherwise. */
const DEFAULT_SESSION_TTL_MS = 12 * 3_600_000;

/** What a user's SSH connections may do. */
export interface SshOptions {
  readonly forwardAgent: boolean;
  /** `-L` and `-D`. */
  readonly localForwarding: boolean;
  /** `-R`. */
  readonly remoteForwarding: boolean;
  /** Session channels on one connection; 0 for no limit. */
  readonly maxSessions: number;
  /** Connections of the user at a time; 0 for no limit. */
  readonly maxConnections: number;
}

/**
 * The options of all roles for SSH. A permission holds if any role says yes; one that no role mentions has its default
 * (agent forwarding no, port forwarding yes), so that a role which only sets a timeout changes nothing. Of limits the lowest holds.
 */
export function sshOptions(snapshot: PolicySnapshot, user: string): SshOptions {
  const options = optionsOf(snapshot, user);
  return {
    forwardAgent: anyYes(
      options.map((option) => option.forward_agent),
      false,
    ),
    localForwarding: anyYes(
      options.map((option) => option.ssh_port_forwarding?.local?.enabled ?? option.port_forwarding),
      true,
    ),
    remoteForwarding: anyYes(
      options.map((option) => option.ssh_port_forwarding?.remote?.enabled ?? option.port_forwarding),
      true,
    ),
    maxSessions: shortest(options.map((option) => option.max_sessions ?? 0)),
    maxConnections: shortest(options.map((option) => option.max_connections ?? 0)),
  };
}

/** The options of all roles for desktops: the clipboard is off if any role says no. */
export function desktopOptions(snapshot: PolicySnapshot, user: string): { readonly clipboard: boolean } {
  return { clipboard: optionsOf(snapshot, user).every((option) => option.desktop_clipboard !== false) };
}

/** The options of all roles for Kubernetes: processes are hung up if any role says so. */
export function kubeOptions(snapshot: PolicySnapshot, user: string): { readonly execCleanup: 'none' | 'hangup' } {
  const hangup = optionsOf(snapshot, user).some((option) => option.kubernetes_exec_cleanup === 'hangup');
  return { execCleanup: hangup ? 'hangup' : 'none' };
}

/** What happens to sessions when locks cannot be known to be current: strict if the cluster or any role says so. */
export function lockingMode(snapshot: PolicySnapshot, user: string): 'best_effort' | 'strict' {
  const strict =
    snapshot.authPreference.spec.locking_mode === 'strict' ||
    optionsOf(snapshot, user).some((option) => option.lock === 'strict');
  return strict ? 'strict' : 'best_effort';
}

/** Life of a new certificate in milliseconds: what is wanted, at most the cluster's `default_session_ttl` (12 h) and the shortest `max_session_ttl`. */
export function certificateTtlMs(snapshot: PolicySnapshot, user: string, wantedMs?: number): number {
  const usual = parseDuration(snapshot.authPreference.spec.default_session_ttl ?? '0') || DEFAULT_SESSION_TTL_MS;
  const longest = shortest(optionsOf(snapshot, user).map((option) => parseDuration(option.max_session_ttl ?? '0')));
  const ttl = wantedMs === undefined || wantedMs <= 0 ? usual : Math.min(wantedMs, Math.max(usual, longest));
  return longest === 0 ? ttl : Math.min(ttl, longest);
}

function optionsOf(snapshot: PolicySnapshot, user: string): RoleOptions[] {
  return (snapshot.users.get(user)?.spec.roles ?? []).flatMap((name) => snapshot.roles.get(name)?.spec.options ?? []);
}

function anyYes(values: readonly (boolean | undefined)[], otherwise: boolean): boolean {
  const said = values.filter((value) => value !== undefined);
  return said.length === 0 ? otherwise : said.includes(true);
}
