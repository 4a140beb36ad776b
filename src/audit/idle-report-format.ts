import { formatDuration } from '../resources/index.ts';
import { type IdleReport, OVER_TOLERANCE_MS, type ReportedSession } from './idle-report.ts';
import type { SettingsRecord } from './idle-settings.ts';

export type IdleReportFormat = 'text' | 'json' | 'csv';

/** The report for people (`text`), for programs (`json`: the report itself), or its sessions as a table (`csv`, RFC 4180). */
export function formatIdleReport(report: IdleReport, format: IdleReportFormat): string {
  switch (format) {
    case 'json':
      return `${JSON.stringify(report, null, 2)}\n`;
    case 'csv':
      return csv(report.sessions);
    case 'text':
      return text(report);
  }
}

function text(report: IdleReport): string {
  const { totals, lateness } = report;
  const lines = [
    `Idle sessions from ${report.from} to ${report.to}`,
    '',
    `Sessions                       ${totals.sessions}`,
    `Ended for idleness             ${totals.endedForIdleness}`,
    `Idle longer than their limit   ${totals.over}${totals.over === 0 ? '' : '   <-- see below'}`,
    `  (limit changed meanwhile)    ${totals.limitChanged}`,
    `Without a limit                ${totals.noLimit}`,
    `No end recorded                ${totals.open}`,
    lateness === null
      ? 'Lateness of the cut            no session ended for idleness'
      : `Lateness of the cut            median ${ms(lateness.medianMs)}, p99 ${ms(lateness.p99Ms)}, max ${ms(lateness.maxMs)}`,
    '',
    'Settings in force at the start of the period',
    ...settings(report.settingsAtStart, '  none recorded'),
    '',
    'Changes of settings in the period',
    ...settings(report.settingsChanges, '  none'),
    '',
  ];
  if (totals.over > 0) {
    lines.push(`Idle more than ${limit(OVER_TOLERANCE_MS)} longer than their limit`);
    lines.push(...table(report.sessions.filter(({ verdict }) => verdict === 'over')), '');
  }
  lines.push('Sessions', ...(report.sessions.length === 0 ? ['  none'] : table(report.sessions)), '');
  return lines.join('\n');
}

function settings(records: readonly SettingsRecord[], none: string): string[] {
  if (records.length === 0) return [none];
  return records.map(({ source, at, by, settings: values }) => {
    const set = Object.entries(values).map(([name, value]) => `${name}=${String(value)}`);
    const since = at === null ? '' : `  since ${at}${by === '' ? '' : ` by ${by}`}`;
    return printable(`  ${source}: ${set.length === 0 ? 'sets nothing' : set.join(' ')}${since}`);
  });
}

const COLUMNS: readonly [string, (session: ReportedSession) => string][] = [
  ['SESSION', ({ sid }) => sid],
  ['USER', ({ user }) => user],
  ['LOGIN', ({ login }) => login],
  ['KIND', ({ kind, protocol }) => (kind === protocol ? kind : `${kind}/${protocol}`)],
  ['TARGET', ({ target }) => target],
  ['STARTED', ({ startedAt }) => startedAt ?? '?'],
  ['ENDED', ({ endedAt }) => endedAt ?? '-'],
  ['LIMIT', ({ idleTimeoutMs, exempt }) => (exempt === '' ? limit(idleTimeoutMs) : `exempt: ${exempt}`)],
  ['FROM', ({ timeoutSource }) => timeoutSource || '-'],
  ['LONGEST IDLE', ({ longestIdleMs }) => (longestIdleMs === null ? '-' : formatDuration(longestIdleMs))],
  ['CAUSE', ({ cause }) => cause ?? '-'],
  ['LATE', ({ overshootMs }) => (overshootMs === null ? '-' : ms(overshootMs))],
  ['VERDICT', ({ verdict }) => verdict.replace('_', ' ')],
];

function table(sessions: readonly ReportedSession[]): string[] {
  const rows = [
    COLUMNS.map(([name]) => name),
    ...sessions.map((one) => COLUMNS.map(([, cell]) => printable(cell(one)))),
  ];
  const widths = COLUMNS.map((_, column) => rows.reduce((width, row) => Math.max(width, row[column]!.length), 0));
  return rows.map((row) => `  ${row.map((cell, column) => cell.padEnd(widths[column]!)).join('  ')}`.trimEnd());
}

const CSV_COLUMNS = {
  sid: 'sid',
  user: 'user',
  login: 'login',
  kind: 'session_kind',
  protocol: 'protocol',
  target: 'target',
  startedAt: 'started_at',
  endedAt: 'ended_at',
  durationMs: 'duration_ms',
  idleTimeoutMs: 'idle_timeout_ms',
  timeoutSource: 'timeout_source',
  exempt: 'idle_exempt',
  longestIdleMs: 'longest_idle_ms',
  cause: 'cause',
  overshootMs: 'overshoot_ms',
  verdict: 'verdict',
} as const satisfies Record<keyof ReportedSession, string>;

function csv(sessions: readonly ReportedSession[]): string {
  const names = Object.keys(CSV_COLUMNS) as (keyof ReportedSession)[];
  const rows = [
    Object.values(CSV_COLUMNS).join(','),
    ...sessions.map((one) => names.map((name) => field(one[name])).join(',')),
  ];
  return `${rows.join('\r\n')}\r\n`;
}

function field(value: string | number | null): string {
  if (value === null) return '';
  if (typeof value === 'number') return String(value);
  // A spreadsheet would run what begins like a formula; an apostrophe in front makes it text.
  const safe = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

function limit(timeoutMs: number): string {
  return timeoutMs === 0 ? 'none' : formatDuration(timeoutMs);
}

function ms(value: number): string {
  return `${value.toFixed(1)} ms`;
}

/** Names in events come from people and machines outside: nothing in them may drive the reader's terminal. */
function printable(cell: string): string {
  return cell.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, '?');
}
