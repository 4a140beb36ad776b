import type { AuditEventMessage } from '../../wire/api/messages.ts';
import type { ApiClient } from '../common/api-client.ts';
import { formatTable } from '../common/output.ts';

export interface AuditOptions {
  readonly from?: string;
  readonly to?: string;
  readonly event?: string;
  readonly user?: string;
  readonly session?: string;
  readonly limit?: number;
  readonly format: 'text' | 'json';
}

/** Fields that every event has, or that have a column of their own. */
const SHOWN = new Set(['event', 'code', 'time', 'uid', 'cluster_name', 'user', 'success']);

/** `tctl audit query`. In JSON one event a line, as in the log. */
export async function queryAudit(api: ApiClient, options: AuditOptions): Promise<void> {
  const query = new URLSearchParams(
    Object.entries({
      from: options.from,
      to: options.to,
      events: options.event,
      user: options.user,
      sid: options.session,
      limit: options.limit === undefined ? undefined : String(options.limit),
    }).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
  const { events } = await api.get<{ events: AuditEventMessage[] }>(`/v1/audit?${query}`);
  if (options.format === 'json') {
    process.stdout.write(events.map((event) => `${JSON.stringify(event)}\n`).join(''));
    return;
  }
  const rows = events.map((event) => [
    event.time,
    event.code,
    event.event,
    String(event['user'] ?? ''),
    detailsOf(event),
  ]);
  process.stdout.write(await formatTable(['Time', 'Code', 'Event', 'User', 'Details'], rows));
}

function detailsOf(event: AuditEventMessage): string {
  return Object.entries(event)
    .filter(([key, value]) => !SHOWN.has(key) && value !== null && value !== undefined && value !== '')
    .map(([key, value]) => `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`)
    .join(' ');
}
