import { NightlatchError } from '../core/errors.ts';
import { quoted } from './quoted.ts';

const NS_PER_MS = 1_000_000;

/** Nanoseconds in each unit: Go's (`time.ParseDuration`), and Teleport's `d`, `mo` (30 days) and `y` (365 days). */
const UNITS: ReadonlyMap<string, bigint> = new Map([
  ['ns', 1n],
  ['us', 1_000n],
  ['µs', 1_000n], // U+00B5, micro sign
  ['μs', 1_000n], // U+03BC, Greek letter mu
  ['ms', 1_000_000n],
  ['s', 1_000_000_000n],
  ['m', 60_000_000_000n],
  ['h', 3_600_000_000_000n],
  ['d', 86_400_000_000_000n],
  ['mo', 2_592_000_000_000_000n],
  ['y', 31_536_000_000_000_000n],
]);

/** Go's durations are 64-bit signed nanoseconds: about 292 years. */
const MAX_NS = 2n ** 63n - 1n;
/** Longer texts are no durations; the bound keeps big numbers out of the arithmetic. */
const MAX_LENGTH = 128;

/** `NUMBER UNIT`, where the number may be `1`, `1.5`, `.5` or `1.`; the unit runs up to the next digit or point. */
const TERM = /(\d*)(?:\.(\d*))?([^\d.]*)/y;

/**
 * A duration in milliseconds, with the resolution of a nanosecond: `15m`, `1h30m`, `1.5h`, `2d12h`. `never` and `0` are 0.
 * @throws {NightlatchError} `bad_parameter` with the texts of Go's `time` package, e.g. `time: missing unit in duration "15"`.
 */
export function parseDuration(text: string): number {
  const ns = parseNanoseconds(text);
  return Number(ns / BigInt(NS_PER_MS)) + Number(ns % BigInt(NS_PER_MS)) / NS_PER_MS;
}

/** Milliseconds as Go prints them: `15m0s`, `1h0m0s`, `1.5s`, `500ms`, `0s`. Parts below a nanosecond are rounded. */
export function formatDuration(ms: number): string {
  if (!Number.isFinite(ms) || ms < 0) throw new NightlatchError('bad_parameter', `${ms} ms is no duration`);
  const whole = Math.trunc(ms);
  return formatNanoseconds(BigInt(whole) * BigInt(NS_PER_MS) + BigInt(Math.round((ms - whole) * NS_PER_MS)));
}

/** A duration as it is stored and shown: Go-style, without loss; `never` stays `never`. */
export function normalizeDuration(text: string): string {
  return text === 'never' ? text : formatNanoseconds(parseNanoseconds(text));
}

function parseNanoseconds(text: string): bigint {
  if (text === 'never') return 0n;
  if (text.length > MAX_LENGTH) throw invalid(text);
  const body = /^[+-]/.test(text) ? text.slice(1) : text;
  if (body === '0') return 0n;
  if (body === '') throw invalid(text);
  let total = 0n;
  TERM.lastIndex = 0;
  while (TERM.lastIndex < body.length) {
    const [, whole = '', fraction = '', unit = ''] = TERM.exec(body)!;
    if (whole === '' && fraction === '') throw invalid(text);
    if (unit === '') {
      throw new NightlatchError('bad_parameter', `time: missing unit in duration ${quoted(text)}`);
    }
    const size = UNITS.get(unit);
    if (size === undefined) {
      throw new NightlatchError('bad_parameter', `time: unknown unit ${quoted(unit)} in duration ${quoted(text)}`);
    }
    total += BigInt(whole === '' ? '0' : whole) * size;
    // Digits beyond what a nanosecond resolves are cut off, as Go does.
    if (fraction !== '') total += (BigInt(fraction) * size) / 10n ** BigInt(fraction.length);
    if (total > MAX_NS) throw invalid(text);
  }
  if (text.startsWith('-') && total > 0n) {
    throw new NightlatchError('bad_parameter', `time: negative duration ${quoted(text)}`);
  }
  return total;
}

function formatNanoseconds(ns: bigint): string {
  if (ns === 0n) return '0s';
  if (ns < 1_000n) return `${ns}ns`;
  if (ns < 1_000_000n) return `${decimal(ns, 1_000n)}µs`;
  if (ns < 1_000_000_000n) return `${decimal(ns, 1_000_000n)}ms`;
  const minutes = ns / 60_000_000_000n;
  const seconds = `${decimal(ns % 60_000_000_000n, 1_000_000_000n)}s`;
  if (minutes === 0n) return seconds;
  if (minutes < 60n) return `${minutes}m${seconds}`;
  return `${minutes / 60n}h${minutes % 60n}m${seconds}`;
}

function decimal(value: bigint, unit: bigint): string {
  const fraction = (value % unit)
    .toString()
    .padStart(unit.toString().length - 1, '0')
    .replace(/0+$/, '');
  return fraction === '' ? `${value / unit}` : `${value / unit}.${fraction}`;
}

function invalid(text: string): NightlatchError {
  return new NightlatchError('bad_parameter', `time: invalid duration ${quoted(text)}`);
}
