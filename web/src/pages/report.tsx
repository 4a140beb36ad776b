import type { IdleReport, ReportedSession } from '../../../src/audit/idle-report.ts';
import { api, apiText } from '../core/api.ts';
import { downloadText } from '../core/download.ts';
import { limit, moment } from '../core/format.ts';
import { query, setQuery } from '../core/router.tsx';
import { session } from '../core/session.ts';
import { BarChart, Legend } from '../ui/charts.tsx';
import { useAction, useLoad } from '../ui/load.ts';
import { Empty, Field, PageHead, Problem } from '../ui/parts.tsx';
import { CAUSE_GROUPS, causesOverTime, endText, idleAgainstLimit, latenessBars } from '../ui/report-data.ts';

const PERIODS = [
  ['24h', 'Last day'],
  ['7d', 'Last week'],
  ['30d', 'Last 30 days'],
  ['90d', 'Last 90 days'],
] as const;
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
      <div class="filters no-print">
        <Field label="Period">
          {(ids) => (
            <select
              {...ids}
              class="input"
              value={preset ? from : 'dates'}
              onChange={(event) => {
                const { value } = event.currentTarget;
                if (value !== 'dates') setQuery({ from: value });
                else setQuery({ from: daysAgo(30), to: daysAgo(-1) });
              }}
            >
              {PERIODS.map(([value, name]) => (
                <option key={value} value={value}>
                  {name}
                </option>
              ))}
              <option value="dates">Between two dates</option>
            </select>
          )}
        </Field>
        {!preset && (
          <>
            <Field label="From">
              {(ids) => (
                <input
                  {...ids}
                  class="input"
                  type="date"
                  value={from}
                  onChange={(event) => setQuery({ from: event.currentTarget.value, to })}
                />
              )}
            </Field>
            <Field label="Before">
              {(ids) => (
                <input
                  {...ids}
                  class="input"
                  type="date"
                  value={to}
                  onChange={(event) => setQuery({ from, to: event.currentTarget.value })}
                />
              )}
            </Field>
          </>
        )}
      </div>
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
      <dl class="figures">
        <div>
          <dt>Sessions</dt>
          <dd>{totals.sessions}</dd>
        </div>
        <div>
          <dt>Ended for idleness</dt>
          <dd>{totals.endedForIdleness}</dd>
        </div>
        <div>
          <dt>Idle for longer than allowed</dt>
          <dd class={totals.over > 0 ? 'bad' : ''}>{totals.over}</dd>
        </div>
        <div>
          <dt>Without a limit</dt>
          <dd class={totals.noLimit > 0 ? 'warn' : ''}>{totals.noLimit}</dd>
        </div>
        <div>
          <dt>Cut late by, median</dt>
          <dd>{lateness === null ? '–' : ms(lateness.medianMs)}</dd>
        </div>
        <div>
          <dt>99th percentile</dt>
          <dd>{lateness === null ? '–' : ms(lateness.p99Ms)}</dd>
        </div>
        <div>
          <dt>Most</dt>
          <dd>{lateness === null ? '–' : ms(lateness.maxMs)}</dd>
        </div>
      </dl>
      <section class="panel" aria-labelledby="over-time">
        <div class="panel-head">
          <h2 id="over-time">How sessions ended, over time</h2>
          <Legend items={CAUSE_GROUPS.map(([className, name]) => [className, name] as const)} />
        </div>
        <div class="panel-body">
          <BarChart broad title="Sessions by the time and the cause of their end" bars={causesOverTime(report)} />
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
    <section class="panel long" aria-labelledby="settings">
      <div class="panel-head">
        <h2 id="settings">Settings in force</h2>
      </div>
      {records.length === 0 ? (
        <Empty>No setting of idleness was in force or changed.</Empty>
      ) : (
        <table class="cards">
          <thead>
            <tr>
              <th scope="col">Where</th>
              <th scope="col">From</th>
              <th scope="col">By</th>
              <th scope="col">Settings</th>
            </tr>
          </thead>
          <tbody>
            {records.map((record) => (
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
            ))}
          </tbody>
        </table>
      )}
    </section>
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
    <section class="panel long" aria-labelledby="sessions">
      <div class="panel-head">
        <h2 id="sessions">Sessions</h2>
        {sorted.length > MAX_ROWS && <span class="quiet small">the first {MAX_ROWS}; the CSV has all</span>}
      </div>
      {sorted.length === 0 ? (
        <Empty>There was no session in this period.</Empty>
      ) : (
        <table class="cards">
          <thead>
            <tr>
              <th scope="col">User</th>
              <th scope="col">Target</th>
              <th scope="col">Started</th>
              <th scope="col">End</th>
              <th scope="col">Limit</th>
              <th scope="col">Longest idle</th>
              <th scope="col">Verdict</th>
            </tr>
          </thead>
          <tbody>
            {sorted.slice(0, MAX_ROWS).map((one) => (
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
                  {limit(one.idleTimeoutMs)} <span class="quiet small">{one.timeoutSource}</span>
                </td>
                <td data-label="Longest idle">
                  {one.longestIdleMs === null ? '–' : `${Math.round(one.longestIdleMs / 100) / 10} s`}
                </td>
                <td data-label="Verdict">
                  <span class={VERDICTS[one.verdict][0]}>{VERDICTS[one.verdict][1]}</span>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </section>
  );
}
