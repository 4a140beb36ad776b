/** What counts as activity, strictest first (SPEC 2.3). */
export type ActivityMode = 'input' | 'auto' | 'traffic';

/** Where one value of the idle policy came from, e.g. `{name: 'role admin-role', value: 600000}`. */
export interface PolicySource {
  /**
   * As shown to people: `role NAME`, `cluster_auth_preference`, `cluster_networking_config`, each of the last
   * two with their origin where it matters: `cluster_networking_config (config-file)`.
   */
  readonly name: string;
  /** The timeout this source sets, in milliseconds; 0 says `never`. */
  readonly timeoutMs: number;
  /** Whether this source's value is the one that applies. */
  readonly wins: boolean;
}

/** The idle policy that applies to one session, with every place that had a say. */
export interface EffectiveIdlePolicy {
  /** Milliseconds without activity after which the session ends; 0 means never. */
  readonly timeoutMs: number;
  /** How long before the end the user is warned, in milliseconds; 0 means no warning. Never more than half of the timeout. */
  readonly warningMs: number;
  readonly activity: ActivityMode;
  /** The administrator's own text for the end, or ''. */
  readonly message: string;
  readonly disconnectExpiredCert: boolean;
  /** Longest life of a session in milliseconds, the shortest of all roles; 0 means none. */
  readonly maxSessionTtlMs: number;
  /** `role admin-role`, or '' when nothing times out. */
  readonly timeoutSource: string;
  readonly sources: readonly PolicySource[];
}
