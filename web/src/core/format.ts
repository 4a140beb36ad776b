import { formatDuration } from '../../../src/resources/duration.ts';

const dateTime = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });
const time = new Intl.DateTimeFormat(undefined, { timeStyle: 'medium' });

/** A moment with its date. */
export function moment(ms: number): string {
  return dateTime.format(ms);
}

/** A moment of today by its time alone. */
export function sinceText(ms: number): string {
  return new Date(ms).toDateString() === new Date().toDateString() ? time.format(ms) : dateTime.format(ms);
}

/** Whole seconds as a clock: `0:07`, `12:05`, `1:02:09`. */
export function clock(ms: number): string {
  const seconds = Math.max(0, Math.ceil(ms / 1000));
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  const two = (value: number) => String(value).padStart(2, '0');
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

/** A limit as people write it: `15m`, `1h30m`; `never` for none. */
export function limit(ms: number): string {
  if (ms === 0) return 'never';
  return formatDuration(ms).replace(/m0s$/, 'm').replace(/h0m$/, 'h');
}

/** `1 session`, `3 sessions`. */
export function count(number: number, one: string, many = `${one}s`): string {
  return `${number} ${number === 1 ? one : many}`;
}

const KIND_NAMES: Readonly<Record<string, string>> = {
  node: 'Server',
  db: 'Database',
  kube_cluster: 'Kubernetes',
  windows_desktop: 'Desktop',
  ssh: 'SSH',
  kube: 'Kubernetes',
  desktop: 'Desktop',
  web: 'Web',
};

export function kindName(kind: string): string {
  return KIND_NAMES[kind] ?? kind;
}

const CAUSE_NAMES: Readonly<Record<string, string>> = {
  idle: 'Idle',
  cert_expired: 'Certificate expired',
  max_session_ttl: 'Longest time reached',
  locked: 'Locked',
  access_revoked: 'Access revoked',
  killed: 'Ended by an administrator',
  gateway_shutdown: 'Gateway shut down',
  target_closed: 'Target closed',
  client_closed: 'Client closed',
  error: 'Error',
};

export function causeName(cause: string): string {
  return CAUSE_NAMES[cause] ?? cause;
}
