import type { AuditEvent, StoredAuditEvent } from './events.ts';

/** The longest line in bytes, with its newline. */
export const MAX_LINE_BYTES = 65_536;

/** Characters that JSON lets through and a terminal may obey (DEL, C1), and line separators of JavaScript. */
const RAW_CONTROLS = /[\u007f-\u009f\u2028\u2029]/g;
const RAW_CONTROL = /[\u007f-\u009f\u2028\u2029]/;

/** Lengths to which strings are cut, in characters, until the line fits. The first is SPEC's bound for query texts. */
const STRING_LIMITS = [32_768, 8_192, 2_048, 512, 128];
const BASE_FIELDS = ['time', 'event', 'code', 'uid', 'cluster_name', 'sid', 'user', 'login', 'cause'];

/** An event and the line that stands for it in the file. */
export interface AuditLine {
  readonly stored: StoredAuditEvent;
  /** Ends in a newline; `time` is the first member and `event` the second, which readers rely on. */
  readonly text: string;
  readonly bytes: number;
}

/** Adds what the log adds. Never throws: what is not JSON becomes a string, what is too long is cut with a mark. */
export function auditLine(event: AuditEvent, stamp: { time: string; uid: string; clusterName: string }): AuditLine {
  const { time, uid, clusterName } = stamp;
  // The first object decides the order of the members, the last one their values.
  const members = { time, event: event.event, code: event.code, uid, cluster_name: clusterName };
  const stored: StoredAuditEvent = Object.assign(members, event, { time, uid, cluster_name: clusterName });
  let text: string;
  try {
    text = `${escapeControls(JSON.stringify(stored))}\n`;
  } catch {
    return boundedLine(plainEvent(stored));
  }
  const bytes = Buffer.byteLength(text);
  if (bytes > MAX_LINE_BYTES) return boundedLine(JSON.parse(text) as StoredAuditEvent);
  return { stored: Object.freeze(stored), text, bytes };
}

/** JSON text of a value as it stands in a line; what a reader searches for. */
export function escapeControls(json: string): string {
  if (!RAW_CONTROL.test(json)) return json;
  return json.replace(RAW_CONTROLS, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

function boundedLine(event: StoredAuditEvent): AuditLine {
  let text = `${escapeControls(JSON.stringify(event))}\n`;
  for (const limit of STRING_LIMITS) {
    if (Buffer.byteLength(text) <= MAX_LINE_BYTES) return finished(text);
    text = `${escapeControls(JSON.stringify({ ...(cut(event, limit) as object), truncated: true }))}\n`;
  }
  if (Buffer.byteLength(text) <= MAX_LINE_BYTES) return finished(text);
  // Too many fields rather than too long ones: what identifies the event stays.
  const base = Object.fromEntries(BASE_FIELDS.filter((name) => name in event).map((name) => [name, event[name]]));
  return finished(`${escapeControls(JSON.stringify({ ...(cut(base, 512) as object), truncated: true }))}\n`);
}

function finished(text: string): AuditLine {
  return { stored: Object.freeze(JSON.parse(text) as StoredAuditEvent), text, bytes: Buffer.byteLength(text) };
}

function cut(value: unknown, limit: number): unknown {
  if (typeof value === 'string') {
    if (value.length <= limit) return value;
    return `${value.slice(0, limit).toWellFormed()}… [truncated, ${value.length} characters]`;
  }
  if (Array.isArray(value)) return value.map((item) => cut(item, limit));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, cut(member, limit)]));
}

/** A copy that is JSON, for events that are not: bigint, cycles, getters that throw. */
function plainEvent(event: StoredAuditEvent): StoredAuditEvent {
  return plain(event, []) as StoredAuditEvent;
}

function plain(value: unknown, above: readonly object[]): unknown {
  if (typeof value === 'bigint') return value.toString();
  if (value instanceof Error) return value.message;
  if (typeof value === 'symbol' || typeof value === 'function') return String(value.toString()).slice(0, 100);
  if (typeof value !== 'object' || value === null) return value;
  if (above.includes(value)) return '[circular]';
  if (above.length > 20) return '[too deep]';
  const path = [...above, value];
  // A secret, a date: they know themselves.
  if ('toJSON' in value && typeof value.toJSON === 'function') return plain(value.toJSON(), path);
  if (Array.isArray(value)) return value.map((item) => plain(item, path));
  const copy: Record<string, unknown> = {};
  for (const name of Object.keys(value)) {
    try {
      copy[name] = plain((value as Record<string, unknown>)[name], path);
    } catch {
      copy[name] = '[unreadable]';
    }
  }
  return copy;
}
