import type { LiveSessionMessage } from '../../../src/wire/api/messages.ts';
import { clock, limit } from '../core/format.ts';
import { HISTORY_BUCKETS, historyOf } from '../core/live.ts';

/** How much of its limit a session has left, as a bar that drains. */
export function Drain({ session }: { session: LiveSessionMessage }) {
  const { endsInMs, idleTimeoutMs, warned } = session;
  if (endsInMs === null || idleTimeoutMs === 0) return <span class="quiet">never</span>;
  const share = Math.min(1, Math.max(0, endsInMs / idleTimeoutMs));
  const state = warned ? ' warned' : share < 0.35 ? ' low' : '';
  return (
    <div class={`drain${state}`}>
      <div class="drain-track" aria-hidden="true">
        <div class="drain-fill" style={{ width: `${share * 100}%` }} />
      </div>
      <span class="drain-time">{clock(endsInMs)}</span>
    </div>
  );
}

const BAR = 2;
const GAP = 0.5;
const HEIGHT = 20;

/** Activity over the last two minutes. */
export function Sparkline({ session }: { session: LiveSessionMessage }) {
  const values = historyOf(session.id);
  const most = Math.max(3, ...values);
  const active = values.filter((value) => value > 0).length;
  return (
    <svg
      class="spark"
      viewBox={`0 0 ${HISTORY_BUCKETS * (BAR + GAP)} ${HEIGHT}`}
      preserveAspectRatio="none"
      role="img"
      aria-label={`Activity over the last two minutes: in ${Math.round((active / HISTORY_BUCKETS) * 100)}% of the time`}
    >
      {Array.from({ length: HISTORY_BUCKETS }, (_, index) => {
        const value = values[index] ?? 0;
        const height = value === 0 ? 1.5 : 3 + (value / most) * (HEIGHT - 3);
        return (
          <rect
            key={index}
            class={value === 0 ? 'base' : ''}
            x={index * (BAR + GAP)}
            y={HEIGHT - height}
            width={BAR}
            height={height}
          />
        );
      })}
    </svg>
  );
}

/** The limit and where it comes from. */
export function LimitCell({ session }: { session: LiveSessionMessage }) {
  if (session.idleTimeoutMs === 0) return <span class="quiet">no limit</span>;
  return (
    <span>
      {limit(session.idleTimeoutMs)} <span class="quiet small">{session.timeoutSource}</span>
    </span>
  );
}
