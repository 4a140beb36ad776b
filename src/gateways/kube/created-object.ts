import type { Readable } from 'node:stream';

/** What the API server takes at most. */
const MAX_BODY = 3 << 20;

/** What the body of a create request names, with the body to pass on. */
export type CreatedObject =
  | { readonly ok: true; readonly name: string; readonly namespace: string; readonly body: Buffer }
  | { readonly ok: false; readonly reason: string };

/** Reads the name of the object that a restricted user wants to create. An object without one (`generateName`) has the name ''. */
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
    const value = JSON.parse(bytes.toString('utf8')) as { metadata?: { name?: unknown; namespace?: unknown } };
    const { name, namespace } = value.metadata ?? {};
    return {
      ok: true,
      name: typeof name === 'string' ? name : '',
      namespace: typeof namespace === 'string' ? namespace : '',
      body: bytes,
    };
  } catch {
    return { ok: false, reason: 'a restricted role creates objects in JSON, so that their names can be checked' };
  }
}
