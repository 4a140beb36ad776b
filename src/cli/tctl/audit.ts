import type { AuditEventMessage } from '../../wire/api/messages.ts';
import type { ApiClient } from '../common/api-client.ts';
import { formatTable, printable } from '../common/output.ts';

export interface AuditOptions {
  readonly from?: string;
  readonly to?: string;
  readonly event?: string;
  readonly user?: string;
  readonly session?: string;
  readonly limit?: number;
  readonly format: 'text' | 'json';
}

/** Columns of a row where standard output is no terminal. */
const WIDTH = 120;
/** So much of the details is always shown. */
const MIN_DETAILS = 20;

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
  process.stdout.write(await formatEvents(events, process.stdout.columns || WIDTH));
}

/** A table no wider than `width` where that leaves room for the details, which are cut. */
export async function formatEvents(events: readonly AuditEventMessage[], width: number): Promise<string> {
  const header = ['Time', 'Code', 'Event', 'User'];
  const rows = events.map((event) =>
    [event.time, event.code, event.event, String(event['user'] ?? '')].map((cell) => printable(cell)),
  );
  const taken = header
    .map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]!.length)) + 1)
    .reduce((sum, one) => sum + one, 0);
  const room = Math.max(MIN_DETAILS, width - taken);
  const details = events.map((event) => {
    const text = printable(detailsOf(event));
    return text.length <= room ? text : `${text.slice(0, room - 1)}…`;
  });
  return formatTable(
    [...header, 'Details'],
    rows.map((row, index) => [...row, details[index]!]),
  );
}

function detailsOf(event: AuditEventMessage): string {
  return Object.entries(event)
    .filter(([key, value]) => !SHOWN.has(key) && value !== null && value !== undefined && value !== '')
    .map(([key, value]) => `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`)
    .join(' ');
}
