import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { SessionObserver } from '../session/manager.ts';
import type { LiveSession } from '../session/types.ts';

/** What Prometheus reads. Names begin with `nightlatch_`; label values are closed sets, never user names. */
export interface Metrics extends SessionObserver {
  readonly contentType: string;
  render(): Promise<string>;
}

export function createMetrics(): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry, prefix: 'nightlatch_' });
  const registers = [registry];
  const live = new Gauge({
    name: 'nightlatch_sessions',
    help: 'Sessions open now',
    labelNames: ['protocol'],
    registers,
  });
  const started = new Counter({
    name: 'nightlatch_sessions_started_total',
    help: 'Sessions started',
    labelNames: ['protocol'],
    registers,
  });
  const rejected = new Counter({
    name: 'nightlatch_sessions_rejected_total',
    help: 'Sessions refused',
    labelNames: ['cause'],
    registers,
  });
  const ended = new Counter({
    name: 'nightlatch_sessions_ended_total',
    help: 'Sessions ended',
    labelNames: ['protocol', 'cause'],
    registers,
  });
  const late = new Histogram({
    name: 'nightlatch_session_cut_lateness_seconds',
    help: 'How long after its deadline a session was ended',
    labelNames: ['cause'],
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5],
    registers,
  });
  return {
    contentType: registry.contentType,
    render: () => registry.metrics(),
    opened({ protocol }: LiveSession): void {
      live.inc({ protocol });
      started.inc({ protocol });
    },
    rejected: (cause) => rejected.inc({ cause }),
    ended({ protocol }: LiveSession, cause: string, overshootMs: number | undefined): void {
      live.dec({ protocol });
      ended.inc({ protocol, cause });
      if (overshootMs !== undefined) late.observe({ cause }, overshootMs / 1000);
    },
  };
}
