import { NightlatchError } from '../core/errors.ts';
import { printable } from './quoted.ts';

const MAX_LENGTH = 256;
const MAX_CACHED = 2000;
/** Values longer than this are not matched against regular expressions. */
const MAX_VALUE = 256;
const MAX_WAYS = 2e8;

/** Decides whether one value is selected; throws `limit_exceeded` for a value too long for a regular expression. */
export type Matcher = (value: string) => boolean;

const cache = new Map<string, Matcher>();

/**
 * A selector as Teleport writes them: `*` for anything, a literal, a literal with `*` wildcards, or `^regular expression$`.
 * @throws {NightlatchError} `bad_parameter` where `matcherProblem` names a problem.
 */
export function compileMatcher(text: string): Matcher {
  const known = cache.get(text);
  if (known !== undefined) return known;
  const problem = matcherProblem(text);
  if (problem !== undefined) throw new NightlatchError('bad_parameter', `${JSON.stringify(text)} ${problem}`);
  const matcher = build(text);
  if (cache.size >= MAX_CACHED) cache.clear();
  cache.set(text, matcher);
  return matcher;
}

/** What is wrong with a selector, or undefined. */
export function matcherProblem(text: string): string | undefined {
  if (!isRegexp(text)) return undefined;
  if (text.length > MAX_LENGTH) return `is longer than the ${MAX_LENGTH} characters a regular expression may have`;
  const risk = regexpRisk(text);
  if (risk !== undefined) return `is a regular expression that ${risk}`;
  try {
    new RegExp(text, 'u');
    return undefined;
  } catch (error) {
    return `is not a regular expression that can be read (${printable((error as Error).message.replace(/^Invalid regular expression: /, ''))})`;
  }
}

function isRegexp(text: string): boolean {
  return text.startsWith('^') && text.endsWith('$');
}

function build(text: string): Matcher {
  if (text === '*') return () => true;
  if (isRegexp(text)) {
    const regexp = new RegExp(text, 'u');
    return (value) => {
      if (value.length > MAX_VALUE)
        throw new NightlatchError('limit_exceeded', 'the value is too long for a regular expression');
      return regexp.test(value);
    };
  }
  return text.includes('*') ? globMatcher(text) : (value) => value === text;
}

/** A literal with `*`, in linear time: each part is looked for behind the one before it. */
function globMatcher(text: string): Matcher {
  const parts = text.split('*');
  const first = parts[0]!;
  const last = parts.at(-1)!;
  const middle = parts.slice(1, -1).filter((part) => part !== '');
  return (value) => {
    if (value.length < first.length + last.length || !value.startsWith(first) || !value.endsWith(last)) return false;
    let from = first.length;
    const end = value.length - last.length;
    for (const part of middle) {
      const at = value.indexOf(part, from);
      if (at === -1 || at + part.length > end) return false;
      from = at + part.length;
    }
    return from <= end;
  };
}

/**
 * JavaScript's regular expressions backtrack, Teleport's do not. Refused are back references, look-around, a repetition of what itself repeats
 * or has alternatives (exponential time), and whatever could try too many ways on a value of MAX_VALUE characters: each open-ended
 * repetition multiplies the ways by the length, each optional part by two, alternatives by their number.
 */
function regexpRisk(text: string): string | undefined {
  const groups: Group[] = [{ branches: 1, varies: false }];
  let ways = 1;
  let last: Group | undefined;
  for (let at = 0; at < text.length; at += 1) {
    const char = text[at]!;
    const group = groups.at(-1)!;
    const quantifier = /^(?:[*+?]|\{\d+(?:,\d*)?\})/.exec(text.slice(at))?.[0];
    if (char === '\\') {
      if (/[1-9k]/.test(text[at + 1] ?? '')) return 'refers back to a group, which is not supported';
      at += 1;
      last = SINGLE;
    } else if (char === '[') {
      at = endOfClass(text, at);
      last = SINGLE;
    } else if (char === '(') {
      if (/^\(\?(?:[=!]|<[=!])/.test(text.slice(at))) return 'looks around, which is not supported';
      groups.push({ branches: 1, varies: false });
      if (text.startsWith('(?:', at)) at += 2;
      last = undefined;
    } else if (char === ')' && groups.length > 1) {
      last = groups.pop()!;
      ways *= last.branches;
      if (last.varies) groups.at(-1)!.varies = true;
    } else if (char === '|') {
      group.branches += 1;
      group.varies = true;
      last = undefined;
    } else if (quantifier !== undefined && last !== undefined) {
      if (quantifier !== '?' && last.varies)
        return 'repeats something that itself repeats or has alternatives: it could take forever';
      if (/\d{4}/.test(quantifier)) return 'repeats something a thousand times or more';
      if (quantifier === '?') ways *= 2;
      else if (!/^\{\d+\}$/.test(quantifier)) ways *= MAX_VALUE;
      group.varies = true;
      at += quantifier.length - 1;
      if (text[at + 1] === '?') at += 1;
      last = undefined;
    } else {
      last = SINGLE;
    }
  }
  return ways * groups[0]!.branches > MAX_WAYS
    ? 'has too many repetitions and alternatives: it could take forever'
    : undefined;
}

interface Group {
  branches: number;
  varies: boolean;
}

const SINGLE: Group = { branches: 1, varies: false };

function endOfClass(text: string, start: number): number {
  for (let at = start + 1; at < text.length; at += 1) {
    if (text[at] === '\\') at += 1;
    else if (text[at] === ']' && at > start + 1) return at;
  }
  return text.length;
}
