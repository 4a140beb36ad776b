import { z } from 'zod';
import { errorMessage } from '../core/errors.ts';
import { normalizeDuration } from './duration.ts';
import { quoted } from './quoted.ts';

/** What is known of keys that a mapping does not have, so that the message can say more than "unknown". */
export interface KeyNotes {
  /**
   * Keys of Teleport's that are not implemented here. A list holds the values that ask for nothing beyond what happens
   * anyway (`ssh_file_copy: true`): a resource copied from Teleport may keep those; they are dropped.
   */
  readonly unsupported?: Readonly<Record<string, readonly unknown[]>>;
  /** Keys that belong elsewhere, with the place: `spec.options.client_idle_timeout`. */
  readonly misplaced?: Readonly<Record<string, string>>;
}

const keyNotes = new WeakMap<object, KeyNotes>();

/** The notes of the mapping whose schema reported an unknown key. Copies of a schema (`.meta()`) share its definition. */
export function keyNotesOf(schema: { readonly _zod: { readonly def: object } } | undefined): KeyNotes {
  return (schema && keyNotes.get(schema._zod.def)) ?? {};
}

/** A mapping with these keys and no others. `null` (a section with everything commented out) is an empty mapping. */
export function mapping<Shape extends z.ZodRawShape>(shape: Shape, notes: KeyNotes = {}) {
  const strict = z.strictObject(shape);
  keyNotes.set(strict._zod.def, notes);
  const neutral = Object.entries(notes.unsupported ?? {}).filter(([, values]) => values.length > 0);
  return z.preprocess((value) => {
    if (value === null) return {};
    if (typeof value !== 'object' || Array.isArray(value)) return value;
    let kept: Record<string, unknown> = value as Record<string, unknown>;
    for (const [key, values] of neutral) {
      const given = JSON.stringify(kept[key]);
      if (given !== undefined && values.some((one) => JSON.stringify(one) === given)) {
        const { [key]: _dropped, ...rest } = kept;
        kept = rest;
      }
    }
    return kept;
  }, strict);
}

/** Documentation of a field, kept in zod's registry: the reference is generated from it. */
export interface FieldDoc {
  readonly description: string;
  /** The type as the reference names it, where the schema does not tell. */
  readonly type?: string;
  /** What applies when the key is absent. */
  readonly default?: string;
}

/** Attaches documentation to a schema. */
export function doc<S extends z.ZodType>(schema: S, description: string, more: Omit<FieldDoc, 'description'> = {}): S {
  return schema.meta({
    description,
    ...(more.type ? { docType: more.type } : {}),
    ...(more.default ? { docDefault: more.default } : {}),
  }) as S;
}

/** A duration, stored Go-style (`15m0s`); see `parseDuration`. */
export const duration = z
  .unknown()
  .transform((value, ctx): string => {
    try {
      if (typeof value === 'string') return normalizeDuration(value);
      if (typeof value === 'number') return normalizeDuration(String(value));
      ctx.addIssue({ code: 'custom', message: `expected a duration such as 15m, not ${describe(value)}` });
    } catch (error) {
      ctx.addIssue({ code: 'custom', message: `${errorMessage(error)}: write it with a unit, such as 15m or 1h30m` });
    }
    return z.NEVER;
  })
  .meta({ docType: 'duration' });

/** A duration that may not be zero. */
export const positiveDuration = duration
  .refine((text) => text !== 'never' && text !== '0s', { message: 'must be longer than zero' })
  .meta({ docType: 'duration' });

const BOOLEANS: ReadonlyMap<unknown, boolean> = new Map<unknown, boolean>([
  [true, true],
  ['true', true],
  ['yes', true],
  ['on', true],
  [false, false],
  ['false', false],
  ['no', false],
  ['off', false],
]);

/** true or false, also as `yes`/`no` and `on`/`off` as in teleport.yaml. */
export const flag = z
  .unknown()
  .transform((value, ctx): boolean => {
    const known = BOOLEANS.get(value);
    if (known !== undefined) return known;
    ctx.addIssue({ code: 'custom', message: `expected yes or no, not ${describe(value)}` });
    return z.NEVER;
  })
  .meta({ docType: 'yes or no' });

/** Nothing that a terminal, a log line or a path would take for something else. */
const CONTROL = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u;

/** JSON and YAML can spell half of a UTF-16 pair (`"\ud800"`), which no certificate and no protocol can carry. */
const HALF_CHARACTER = 'contains half a character (a lone surrogate)';

/** Text on one line without control characters. */
export const line = z
  .string()
  .max(1024, { error: 'is longer than 1024 characters' })
  .refine((text) => !CONTROL.test(text), { message: 'contains a control character' })
  .refine((text) => text.isWellFormed(), { message: HALF_CHARACTER })
  .meta({ docType: 'text' });

/** Text on one line that is not empty. */
export const nonEmptyLine = line
  .refine((text) => text.trim() !== '', { message: 'must not be empty' })
  .meta({ docType: 'text' });

/** Text that may run over several lines, up to `max` characters. */
export function block(max: number) {
  return z
    .string()
    .max(max, { error: `is longer than ${max} characters` })
    .refine((text) => !/[\p{Cc}\p{Cf}]/u.test(text.replaceAll(/[\r\n\t]/g, '')), {
      message: 'contains a control character',
    })
    .refine((text) => text.isWellFormed(), { message: HALF_CHARACTER })
    .meta({ docType: 'text' });
}

/** A message for people. */
export const paragraph = block(4096);

/** The name of a resource. */
export const resourceName = nonEmptyLine
  .refine((text) => text.length <= 255, { message: 'is longer than 255 characters' })
  .refine((text) => !/[/\\]/.test(text) && text.trim() === text, {
    message: 'must not contain a slash or begin or end with a space',
  })
  .meta({ docType: 'text' });

/** A list; a single scalar stands for a list of one, as Teleport allows. */
export function listOf<S extends z.ZodType>(element: S) {
  return z.preprocess(
    (value) => (['string', 'number', 'boolean'].includes(typeof value) ? [value] : value),
    z.array(element).max(1000),
  );
}

/** A list of texts; a single text stands for a list of one, as Teleport allows. */
export const texts = listOf(nonEmptyLine).meta({ docType: 'list of text' });

/** Labels of a resource: a text for each key. */
export const staticLabels = z
  .preprocess((value) => (value === null ? {} : value), z.record(nonEmptyLine, line))
  .meta({ docType: 'mapping of text to text' });

/** `host:port`, with IPv6 addresses in brackets. */
export const hostPort = nonEmptyLine
  .refine((text) => isHostPort(text), { message: 'expected HOST:PORT, with an IPv6 address in brackets' })
  .meta({ docType: 'host:port' });

/** `host:port`, `:port` or `0.0.0.0:port` to listen on. */
export const listenAddr = nonEmptyLine
  .refine((text) => isHostPort(text.startsWith(':') ? `0.0.0.0${text}` : text, 0), {
    message: 'expected ADDRESS:PORT, with an IPv6 address in brackets',
  })
  .meta({ docType: 'address:port' });

function isHostPort(text: string, lowest = 1): boolean {
  const match = /^(?:\[([0-9a-fA-F:.]+(?:%[\w.-]+)?)\]|([^\s:[\]/@]+)):(\d{1,5})$/.exec(text);
  if (match === null) return false;
  const port = Number(match[3]);
  return port >= lowest && port <= 65535;
}

/** A value as a person calls it, for messages. */
export function describe(value: unknown): string {
  if (value === null || value === undefined) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'a mapping';
  if (typeof value === 'string') return quoted(value);
  return `${value} (${typeof value === 'number' ? 'a number' : 'true or false'})`;
}
