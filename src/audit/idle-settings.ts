import type { StoredAuditEvent } from './events.ts';

/** Settings that bear on idleness; they are looked for in `idle_settings` or `settings` of an event, and in `options` below it. */
const IDLE_SETTINGS = [
  'client_idle_timeout',
  'client_idle_warning',
  'client_idle_activity',
  'disconnect_expired_cert',
  'max_session_ttl',
  'web_idle_timeout',
  'idle_timeout_message',
] as const;

export type IdleSettings = Readonly<Partial<Record<(typeof IDLE_SETTINGS)[number], string | boolean>>>;

/** Idle settings of one place as they were from a time on. */
export interface SettingsRecord {
  /** `role NAME`, `cluster_auth_preference` or `cluster_networking_config`. */
  readonly source: string;
  /** When they were set, RFC 3339; null where the log only tells what they were before a later change. */
  readonly at: string | null;
  /** Who set them, or ''. */
  readonly by: string;
  /** Empty when the source sets nothing (any more). */
  readonly settings: IdleSettings;
}

/** The idle settings among the fields of a resource's spec (`settings` of an event of change). */
function idleSettingsOf(spec: unknown): IdleSettings {
  if (typeof spec !== 'object' || spec === null) return {};
  const fields = spec as Record<string, unknown>;
  const options = (
    typeof fields['options'] === 'object' && fields['options'] !== null ? fields['options'] : {}
  ) as Record<string, unknown>;
  const found: Record<string, string | boolean> = {};
  for (const name of IDLE_SETTINGS) {
    const value = fields[name] ?? options[name];
    if (typeof value === 'string' || typeof value === 'boolean') found[name] = value;
  }
  return found;
}

/** Follows the events of change and knows what was in force when a period began, and what changed in it. */
export class SettingsHistory {
  readonly #fromMs: number;
  readonly #toMs: number;
  /** By source, the records so far, oldest first. */
  readonly #bySource = new Map<string, SettingsRecord[]>();

  constructor(fromMs: number, toMs: number) {
    this.#fromMs = fromMs;
    this.#toMs = toMs;
  }

  /** Whether it was an event of change. */
  note(event: StoredAuditEvent): boolean {
    const source = sourceOf(event);
    if (source === undefined) return false;
    const records = this.#bySource.get(source) ?? [];
    this.#bySource.set(source, records);
    if (event['success'] === false) {
      // The change that was announced before has failed.
      records.pop();
      return true;
    }
    const settings = event.event === 'role.deleted' ? {} : idleSettingsOf(event['idle_settings'] ?? event['settings']);
    if (records.length === 0) {
      const before = idleSettingsOf(event['previous_idle_settings'] ?? event['previous_settings']);
      if (Object.keys(before).length > 0) records.push({ source, at: null, by: '', settings: before });
    }
    records.push({ source, at: event.time, by: String(event['user'] ?? ''), settings });
    return true;
  }

  /** What was in force when the period began: by source, the last that was set before. */
  get atStart(): SettingsRecord[] {
    return [...this.#bySource.values()].flatMap((records) => {
      const record = records.findLast(({ at }) => at === null || Date.parse(at) < this.#fromMs);
      return record === undefined || Object.keys(record.settings).length === 0 ? [] : [record];
    });
  }

  /** Changes in the period that changed a setting of idleness, in order of time. */
  get changes(): SettingsRecord[] {
    return this.#changes(this.#fromMs, this.#toMs, (settings) => JSON.stringify(settings));
  }

  /** Whether any timeout changed between two times (RFC 3339; null is without bound). */
  timeoutChangedBetween(from: string | null, to: string | null): boolean {
    const fromMs = from === null ? Number.NEGATIVE_INFINITY : Date.parse(from);
    const toMs = to === null ? Number.POSITIVE_INFINITY : Date.parse(to);
    return this.#changes(fromMs, toMs, (settings) => String(settings.client_idle_timeout ?? 'never')).length > 0;
  }

  /** The records between two times in which what `aspect` looks at is not as it was before. */
  #changes(fromMs: number, toMs: number, aspect: (settings: IdleSettings) => string): SettingsRecord[] {
    const changes: SettingsRecord[] = [];
    for (const records of this.#bySource.values()) {
      let before = aspect({});
      for (const record of records) {
        const settings = aspect(record.settings);
        const atMs = record.at === null ? Number.NaN : Date.parse(record.at);
        if (atMs >= fromMs && atMs < toMs && settings !== before) changes.push(record);
        before = settings;
      }
    }
    return changes.sort((a, b) => Date.parse(a.at!) - Date.parse(b.at!));
  }
}

function sourceOf(event: StoredAuditEvent): string | undefined {
  switch (event.event) {
    case 'auth_preference.update':
      return 'cluster_auth_preference';
    case 'cluster_networking_config.update':
      return 'cluster_networking_config';
    case 'role.created':
    case 'role.updated':
    case 'role.deleted':
      return `role ${String(event['name'] ?? '')}`;
    default:
      return undefined;
  }
}
