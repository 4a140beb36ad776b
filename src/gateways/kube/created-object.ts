import type { Readable } from 'node:stream';

/** What the API server takes at most. */
const MAX_BODY = 3 << 20;

/** What the body of a create request names, with the body to pass on. */
export type CreatedObject =
  | { readonly ok: true; readonly name: string; readonly namespace: string; readonly body: Buffer }
  | { readonly ok: false; readonly reason: string };

/** Large integers would lose digits as numbers. */
function keepNumber(_key: string, value: unknown, ...[context]: unknown[]): unknown {
  return typeof value === 'number' ? rawJSON((context as { source: string }).source) : value;
}

/** Part of V8 since Node 22; TypeScript's library does not know it yet. */
const { rawJSON } = JSON as unknown as { rawJSON(text: string): unknown };

/** The API server puts five characters behind a `generateName`. */
const GENERATED_SUFFIX = '00000';

/**
 * Reads the name of the object that a restricted user wants to create: its `generateName` stands for what the API server will make of it.
 * What has neither (reviews, bindings: no object is kept) has the name ''.
 */
export async function createdObjectName(body: Readable): Promise<CreatedObject> {
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of body) {
    length += (part as Buffer).length;
    if (length > MAX_BODY) return { ok: false, reason: `an object of more than ${MAX_BODY} bytes` };
    parts.push(part as Buffer);
  }
  const bytes = Buffer.concat(parts, length);
  try {
    const value = JSON.parse(bytes.toString('utf8')) as {
      metadata?: { name?: unknown; generateName?: unknown; namespace?: unknown };
    };
    // Of a member that comes twice one reader takes the last, and Go merges both: the API server gets what was read here, numbers as they stand.
    const body = Buffer.from(JSON.stringify(JSON.parse(bytes.toString('utf8'), keepNumber)));
    const { name, generateName, namespace } = value.metadata ?? {};
    const generated = typeof generateName === 'string' && generateName !== '' ? generateName + GENERATED_SUFFIX : '';
    return {
      ok: true,
      name: typeof name === 'string' && name !== '' ? name : generated,
      namespace: typeof namespace === 'string' ? namespace : '',
      body,
    };
  } catch {
    return { ok: false, reason: 'a restricted role creates objects in JSON, so that their names can be checked' };
  }
}
