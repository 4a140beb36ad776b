import { NightlatchError } from '../../core/errors.ts';
import { parseDuration } from '../../resources/index.ts';

/**
 * A time in a query: RFC 3339, a date (its beginning in UTC), or how long ago (`24h`, `7d`). Milliseconds since the epoch.
 * @throws {NightlatchError} `bad_parameter`
 */
export function parseTime(text: string, nowMs: number, name: string): number {
  if (/^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:\d{2})?)?$/.test(text)) {
    const ms = Date.parse(
      text.length === 10 ? `${text}T00:00:00Z` : /(Z|[+-]\d{2}:\d{2})$/.test(text) ? text : `${text}Z`,
    );
    if (!Number.isNaN(ms)) return ms;
  } else {
    try {
      return nowMs - parseDuration(text);
    } catch {
      // Neither; the message below says what is expected.
    }
  }
  throw new NightlatchError(
    'bad_parameter',
    `${name}: ${JSON.stringify(text)} is no time; expected a date (2026-01-31), a time (2026-01-31T15:04:05Z) or how long ago (24h, 7d)`,
  );
}
