import type { z } from 'zod';
import { describe } from './fields.ts';
import { KINDS, type Kind, kindFromAlias, type Resource, SCHEMAS } from './kinds.ts';
import { ConfigError, check, type Problem } from './problems.ts';
import { nearest } from './spelling.ts';

/** Checks a resource as it would stand in YAML or JSON: the resource with its defaults, or all that is wrong with it. */
export function checkResource(
  value: unknown,
): { readonly ok: true; readonly data: Resource } | { readonly ok: false; readonly problems: readonly Problem[] } {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return refused([], `expected a resource with kind, version, metadata and spec, not ${describe(value)}`);
  }
  const kind = (value as Record<string, unknown>)['kind'];
  if (kind === undefined) return refused([], `kind is missing: one of ${KINDS.join(', ')}`);
  if (typeof kind !== 'string') return refused(['kind'], `expected text, not ${describe(kind)}`);
  if (!isKind(kind)) {
    const meant = kindFromAlias(kind) ?? nearest(kind, KINDS);
    return refused(
      ['kind'],
      `unknown kind ${describe(kind)}: ${meant ? `did you mean ${meant}?` : `one of ${KINDS.join(', ')}`}`,
    );
  }
  return check(SCHEMAS[kind] as z.ZodType<Resource>, value);
}

/**
 * A resource from what stands in YAML or JSON, with its defaults.
 * @throws {ConfigError} naming every key that is wrong.
 */
export function decodeResource(value: unknown): Resource {
  const result = checkResource(value);
  if (result.ok) return result.data;
  throw new ConfigError(
    '',
    result.problems.map((problem) => ({ ...problem, line: 0 })),
  );
}

function isKind(kind: string): kind is Kind {
  return Object.hasOwn(SCHEMAS, kind);
}

function refused(path: string[], text: string) {
  return { ok: false as const, problems: [{ path, text, unsupported: false }] };
}
