import type { IdleReport, ReportedSession } from '../../../src/audit/idle-report.ts';
import { api, apiText } from '../core/api.ts';
import { downloadText } from '../core/download.ts';
import { limit, moment } from '../core/format.ts';
import { query, setQuery } from '../core/router.tsx';
import { session } from '../core/session.ts';
import { BarChart, Legend } from '../ui/charts.tsx';
import { Filters, SelectField, TextField } from '../ui/fields.tsx';
import { useAction, useLoad } from '../ui/load.ts';
import { PageHead, Problem } from '../ui/parts.tsx';
import { CAUSE_GROUPS, causesOverTime, endText, idleAgainstLimit, latenessBars } from '../ui/report-data.ts';
import { Figures, TablePanel } from '../ui/table-panel.tsx';

const PERIODS = [
  ['24h', 'Last day'],
  ['7d', 'Last week'],
  ['30d', 'Last 30 days'],
  ['90d', 'Last 90 days'],
] as const;
const CHOICES = [...PERIODS, ['dates', 'Between two dates'] as const];
const MAX_ROWS = 1_000;

/** The evidence that idle sessions end when they should. */
export function ReportPage() {
  const from = query.value.get('from') ?? '7d';
  const to = query.value.get('to') ?? '';
  const period = new URLSearchParams({ from, ...(to === '' ? {} : { to }) });
  const report = useLoad(() => api<IdleReport>('GET', `/idle/report?${period}&format=json`), [String(period)]);
  const exporting = useAction();
  const preset = PERIODS.some(([value]) => value === from) && to === '';
  const save = (format: 'csv' | 'text') =>
    exporting.run(async () => {
      const text = await apiText(`/idle/report?${period}&format=${format}`);
      downloadText(
        `idle-report.${format === 'csv' ? 'csv' : 'txt'}`,
        format === 'csv' ? 'text/csv' : 'text/plain',
        text,
      );
    });
  return (
    <div class="page">
      <PageHead
        title="Idle report"
        about={
          report.data === undefined
            ? 'Sessions, the limits that applied to them, and how they ended.'
            : `${session.value!.clusterName}, ${moment(Date.parse(report.data.from))} to ${moment(Date.parse(report.data.to))}`
        }
      >
        <button type="button" class="button" onClick={() => print()}>
          Print
        </button>
        <button type="button" class="button" disabled={exporting.busy} onClick={() => save('csv')}>
          CSV
        </button>
        <button type="button" class="button" disabled={exporting.busy} onClick={() => save('text')}>
          Text
        </button>
      </PageHead>
      <Filters>
        <SelectField<string>
          label="Period"
          value={preset ? from : 'dates'}
          choices={CHOICES}
          onChange={(value) => setQuery(value === 'dates' ? { from: daysAgo(30), to: daysAgo(-1) } : { from: value })}
        />
        {!preset && (
          <>
            <TextField label="From" type="date" value={from} onInput={(value) => setQuery({ from: value, to })} />
            <TextField label="Before" type="date" value={to} onInput={(value) => setQuery({ from, to: value })} />
          </>
        )}
      </Filters>
      <Problem error={report.error ?? exporting.error} />
      {report.data !== undefined && <Report report={report.data} />}
    </div>
  );
}

function daysAgo(days: number): string {
  return new Date(Date.now() - days * 86_400_000).toISOString().slice(0, 10);
}

function Report({ report }: { report: IdleReport }) {
  const { totals, lateness, sessions } = report;
  const ms = (value: number) => `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
  return (
    <>
      <Figures
        items={[
          ['Sessions', totals.sessions],
          ['Ended for idleness', totals.endedForIdleness],
          ['Idle for longer than allowed', totals.over, totals.over > 0 ? 'bad' : ''],
          ['Without a limit', totals.noLimit, totals.noLimit > 0 ? 'warn' : ''],
          ['Cut late by, median', lateness === null ? '–' : ms(lateness.medianMs)],
          ['99th percentile', lateness === null ? '–' : ms(lateness.p99Ms)],
          ['Most', lateness === null ? '–' : ms(lateness.maxMs)],
        ]}
      />
      <section class="panel" aria-labelledby="over-time">
        <div class="panel-head">
          <h2 id="over-time">How sessions ended, over time</h2>
          <Legend items={CAUSE_GROUPS.map(([className, name]) => [className, name] as const)} />
        </div>
        <div class="panel-body">
          <BarChart title="Sessions by the time and the cause of their end" bars={causesOverTime(report)} />
        </div>
      </section>
      <div class="two">
        <section class="panel" aria-labelledby="against-limit">
          <div class="panel-head">
            <h2 id="against-limit">Longest idle stretch, as a share of the limit</h2>
          </div>
          <div class="panel-body">
            <BarChart
              title="Sessions by their longest idle stretch as a share of the limit"
              bars={idleAgainstLimit(sessions)}
              limitAfter={10}
              limitLabel="limit"
            />
          </div>
        </section>
        <section class="panel" aria-labelledby="lateness">
          <div class="panel-head">
            <h2 id="lateness">How late idle sessions were cut</h2>
          </div>
          <div class="panel-body">
            <BarChart
              title="Sessions that ended for idleness, by how long after the deadline"
              bars={latenessBars(sessions)}
              limitAfter={6}
              limitLabel="50 ms"
            />
          </div>
        </section>
      </div>
      <Settings report={report} />
      <Sessions sessions={sessions} />
    </>
  );
}

function Settings({ report }: { report: IdleReport }) {
  const records = [
    ...report.settingsAtStart.map((record) => ({ ...record, when: 'At the start' })),
    ...report.settingsChanges.map((record) => ({
      ...record,
      when: record.at === null ? 'Before' : moment(Date.parse(record.at)),
    })),
  ];
  return (
    <TablePanel
      label="Settings in force"
      head={null}
      long
      columns={['Where', 'From', 'By', 'Settings']}
      rows={records}
      empty="No setting of idleness was in force or changed."
    >
      {(record) => (
        <tr key={`${record.source} ${record.when} ${JSON.stringify(record.settings)}`}>
          <th scope="row">
            <span>{record.source}</span>
          </th>
          <td data-label="From" class="nowrap">
            {record.when}
          </td>
          <td data-label="By">{record.by}</td>
          <td data-label="Settings" class="mono">
            {Object.entries(record.settings)
              .map(([name, value]) => `${name}=${value}`)
              .join('  ') || 'none'}
          </td>
        </tr>
      )}
    </TablePanel>
  );
}

const VERDICTS = {
  within: ['tag good', 'within'],
  over: ['tag bad', 'over'],
  limit_changed: ['tag warn', 'limit changed'],
  no_limit: ['tag warn', 'no limit'],
  open: ['tag', 'open'],
} as const;

function Sessions({ sessions }: { sessions: readonly ReportedSession[] }) {
  // What needs looking at comes first.
  const order = ['over', 'no_limit', 'limit_changed', 'open', 'within'];
  const sorted = sessions.toSorted(
    (a, b) =>
      order.indexOf(a.verdict) - order.indexOf(b.verdict) || (b.startedAt ?? '').localeCompare(a.startedAt ?? ''),
  );
  return (
    <TablePanel
      label="Sessions"
      head={sorted.length > MAX_ROWS && <span class="quiet small">the first {MAX_ROWS}; the CSV has all</span>}
      long
      columns={['User', 'Target', 'Started', 'End', 'Limit', 'Longest idle', 'Verdict']}
      rows={sorted.slice(0, MAX_ROWS)}
      empty="There was no session in this period."
    >
      {(one) => (
        <tr key={one.sid}>
          <th scope="row">
            <span>{one.user}</span>
          </th>
          <td data-label="Target" class="name">
            <span>
              {one.login}@{one.target} <span class="tag">{one.protocol}</span>
            </span>
          </td>
          <td data-label="Started">{one.startedAt === null ? '–' : moment(Date.parse(one.startedAt))}</td>
          <td data-label="End">{endText(one)}</td>
          <td data-label="Limit">
            <span>
              {limit(one.idleTimeoutMs)} <span class="quiet small">{one.timeoutSource}</span>
            </span>
          </td>
          <td data-label="Longest idle">
            {one.longestIdleMs === null ? '–' : `${Math.round(one.longestIdleMs / 100) / 10} s`}
          </td>
          <td data-label="Verdict">
            <span class={VERDICTS[one.verdict][0]}>{VERDICTS[one.verdict][1]}</span>
          </td>
        </tr>
      )}
    </TablePanel>
  );
}
