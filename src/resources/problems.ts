import type { z } from 'zod';
import { NightlatchError } from '../core/errors.ts';
import { describe, keyNotesOf } from './fields.ts';
import { quoted } from './quoted.ts';
import { childSchemas, pathsOfKey } from './schema-tree.ts';
import { nearest } from './spelling.ts';

/** Where in a document: keys of mappings and indexes of lists. */
export type Path = readonly (string | number)[];

/** One thing that is wrong with a document. */
export interface Problem {
  readonly path: Path;
  /** What is wrong and what to do. */
  readonly text: string;
  /** A key of Teleport's that is not implemented here: may be ignored on request. */
  readonly unsupported: boolean;
}

/** One problem with its place in a file. */
export interface PlacedProblem extends Problem {
  /** Line in the file, from 1; 0 where there is no file. */
  readonly line: number;
}

/** A configuration or a resource that is refused; the message lists every problem, one a line. */
export class ConfigError extends NightlatchError {
  readonly problems: readonly PlacedProblem[];

  constructor(fileName: string, problems: readonly PlacedProblem[]) {
    super('bad_parameter', problems.map((problem) => problemText(fileName, problem)).join('\n'));
    this.problems = problems;
  }
}

/** `file:line: key: what is wrong, what to do`; without a file, the last two. */
export function problemText(fileName: string, problem: PlacedProblem): string {
  const key = keyText(problem.path);
  const place = fileName === '' ? '' : `${fileName}:${problem.line}: `;
  return `${place}${key === '' ? '' : `${key}: `}${problem.text}`;
}

/** `spec.allow.node_labels["a.b"][0]`. */
export function keyText(path: Path): string {
  let text = '';
  for (const step of path) {
    if (typeof step === 'number') text += `[${step}]`;
    else if (/^[\w*-]{1,64}$/.test(step)) text += text === '' ? step : `.${step}`;
    else text += `[${quoted(step)}]`;
  }
  return text;
}

/** More problems than anybody reads at once are left out. */
const MAX_PROBLEMS = 100;

/** Checks a value against a schema: the value with its defaults, or all that is wrong with it. */
export function check<T>(
  schema: z.ZodType<T>,
  value: unknown,
): { readonly ok: true; readonly data: T } | { readonly ok: false; readonly problems: readonly Problem[] } {
  const mappings = new Map<string, z.core.$ZodType>();
  const result = schema.safeParse(value, {
    reportInput: true,
    error: (issue) => {
      if (issue.code === 'unrecognized_keys' && issue.inst) {
        mappings.set(keyText(steps(issue.path ?? [])), issue.inst as z.core.$ZodType);
      }
      return undefined;
    },
  });
  if (result.success) return { ok: true, data: result.data };
  const problems = result.error.issues.flatMap((issue) =>
    issue.code === 'unrecognized_keys'
      ? issue.keys.map((key) => unknownKey(schema, mappings.get(keyText(steps(issue.path))), steps(issue.path), key))
      : [{ path: steps(issue.path), text: issueText(issue), unsupported: false }],
  );
  return { ok: false, problems: problems.slice(0, MAX_PROBLEMS) };
}

function steps(path: readonly PropertyKey[]): (string | number)[] {
  return path.map((step) => (typeof step === 'symbol' ? String(step) : step));
}

function unknownKey(root: z.ZodType, mapping: z.core.$ZodType | undefined, parent: Path, key: string): Problem {
  const path = [...parent, key];
  const notes = keyNotesOf(mapping);
  const place = notes.misplaced && Object.hasOwn(notes.misplaced, key) ? notes.misplaced[key] : undefined;
  if (place !== undefined) return { path, text: `does not belong here: it belongs in ${place}`, unsupported: false };
  if (notes.unsupported && Object.hasOwn(notes.unsupported, key)) {
    return { path, text: 'is a Teleport setting that Nightlatch does not support: remove it', unsupported: true };
  }
  const known = mapping === undefined ? [] : childSchemas(mapping).map(([name]) => name);
  const close = nearest(key, known);
  if (close !== undefined) return { path, text: `unknown key: did you mean ${close}?`, unsupported: false };
  const elsewhere = pathsOfKey(root, key);
  if (elsewhere.length > 0) {
    return { path, text: `does not belong here: it belongs in ${elsewhere.join(' or ')}`, unsupported: false };
  }
  const list = known.length > 0 && known.length <= 12 ? `: the keys here are ${known.join(', ')}` : ': remove it';
  return { path, text: `unknown key${list}`, unsupported: false };
}

const TYPE_NAMES: Readonly<Record<string, string>> = {
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'yes or no',
  array: 'a list',
  object: 'a mapping',
  record: 'a mapping',
};

function issueText(issue: z.core.$ZodIssue): string {
  const input = issue.input;
  switch (issue.code) {
    case 'invalid_type':
      if (input === undefined) return `is missing: expected ${TYPE_NAMES[issue.expected] ?? issue.expected}`;
      if (input === null) return 'has no value: write one, or remove the key';
      if (issue.expected === 'string' && (typeof input === 'number' || typeof input === 'boolean')) {
        return `expected text, not ${describe(input)}: put it in quotes`;
      }
      return `expected ${TYPE_NAMES[issue.expected] ?? issue.expected}, not ${describe(input)}`;
    case 'invalid_value': {
      const values = issue.values.map(String);
      const wanted = values.length === 1 ? `must be ${values[0]}` : `must be one of ${values.join(', ')}`;
      if (input === undefined) return `is missing: ${wanted}`;
      const close = typeof input === 'string' ? nearest(input, values) : undefined;
      return `${wanted}, not ${describe(input)}${close !== undefined && values.length > 1 ? `: did you mean ${close}?` : ''}`;
    }
    case 'too_big':
      if (issue.origin === 'string') return issue.message;
      return issue.origin === 'array' ? `has more than ${issue.maximum} entries` : `must be at most ${issue.maximum}`;
    case 'too_small':
      return issue.origin === 'number' ? `must be at least ${issue.minimum}` : 'must not be empty';
    case 'invalid_key':
      return `is no good key: it ${issue.issues.map((inner) => inner.message).join(', ')}`;
    default:
      return issue.message;
  }
}
