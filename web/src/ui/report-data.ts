import type { IdleReport, ReportedSession } from '../../../src/audit/idle-report.ts';
import { causeName } from '../core/format.ts';
import type { Bar } from './charts.tsx';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const MAX_BARS = 62;

/** Causes by who is behind them. */
export const CAUSE_GROUPS = [
  ['cause-idle', 'Idle', ['idle']],
  ['cause-policy', 'Other policy', ['cert_expired', 'max_session_ttl', 'locked', 'access_revoked', 'killed']],
  ['cause-client', 'Client', ['client_closed']],
  ['cause-other', 'Target, network, gateway', ['target_closed', 'error', 'gateway_shutdown']],
] as const;

/** Sessions by the time of their end, by the hour or by the day, and by why they ended. */
export function causesOverTime(report: IdleReport): Bar[] {
  const [from, to] = [Date.parse(report.from), Date.parse(report.to)];
  const width = to - from <= 2 * DAY_MS ? HOUR_MS : DAY_MS * Math.ceil((to - from) / DAY_MS / MAX_BARS);
  const first = Math.floor(from / width) * width;
  const count = Math.ceil((to - first) / width);
  const label = new Intl.DateTimeFormat(
    undefined,
    width === HOUR_MS ? { hour: '2-digit', minute: '2-digit' } : { month: 'short', day: 'numeric' },
  );
  return Array.from({ length: count }, (_, index) => {
    const start = first + index * width;
    const ended = report.sessions.filter(({ endedAt }) => {
      const at = endedAt === null ? Number.NaN : Date.parse(endedAt);
      return at >= start && at < start + width;
    });
    return {
      label: label.format(start),
      parts: CAUSE_GROUPS.map(([className, name, causes]) => ({
        className,
        name,
        value: ended.filter(({ cause }) => cause !== null && (causes as readonly string[]).includes(cause)).length,
      })),
    };
  });
}

/** How near sessions came to their limit: the longest idle stretch as a share of it. */
export function idleAgainstLimit(sessions: readonly ReportedSession[]): Bar[] {
  const shares = sessions.flatMap(({ longestIdleMs, idleTimeoutMs }) =>
    longestIdleMs === null || idleTimeoutMs === 0 ? [] : [longestIdleMs / idleTimeoutMs],
  );
  const over = sessions.filter(({ verdict }) => verdict === 'over').length;
  const bars: Bar[] = Array.from({ length: 10 }, (_, tenth) => {
    // The cut itself comes a few milliseconds after the limit: that is not over it.
    const value =
      shares.filter((share) => Math.min(9, Math.floor(share * 10)) === tenth).length - (tenth === 9 ? over : 0);
    return {
      label: `${(tenth + 1) * 10}%`,
      parts: [{ className: 'bar-good', name: 'within the limit', value: Math.max(0, value) }],
    };
  });
  return [...bars, { label: 'over', parts: [{ className: 'bar-bad', name: 'over the limit', value: over }] }];
}

const LATENESS_EDGES_MS = [1, 2, 5, 10, 25, 50, 100, 500] as const;

/** How long after their deadline idle sessions were cut. */
export function latenessBars(sessions: readonly ReportedSession[]): Bar[] {
  const values = sessions.flatMap(({ overshootMs }) => (overshootMs === null ? [] : [overshootMs]));
  const edges = [...LATENESS_EDGES_MS, Number.POSITIVE_INFINITY];
  return edges.map((edge, index) => {
    const above = index === 0 ? Number.NEGATIVE_INFINITY : edges[index - 1]!;
    return {
      label: edge === Number.POSITIVE_INFINITY ? 'more' : `≤${edge} ms`,
      parts: [
        {
          className: edge <= 50 ? 'bar-good' : 'bar-bad',
          name: 'sessions',
          value: values.filter((value) => value > above && value <= edge).length,
        },
      ],
    };
  });
}

export function endText({ cause, endedAt }: ReportedSession): string {
  return cause === null ? (endedAt === null ? 'open' : '') : causeName(cause);
}
