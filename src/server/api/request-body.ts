import { z } from 'zod';
import { NightlatchError } from '../../core/errors.ts';
import type { ApiContext } from './caller.ts';

/** Largest body of a request. The largest that is meant is a set of resources for `tctl idle rehearse`. */
const MAX_BODY_BYTES = 1024 * 1024;

/**
 * The body of a request as JSON that fits `schema`. Reads at most `maxBytes`, whatever the headers promise.
 * @throws {NightlatchError} `too_large`, `bad_parameter` naming the field that is wrong.
 */
export async function readJson<T>(c: ApiContext, schema: z.ZodType<T>, maxBytes = MAX_BODY_BYTES): Promise<T> {
  // A page of another site can send forms and text, but not this type without being asked first (Fetch, CORS-safelisted types).
  if (!/^application\/json\b/i.test(c.req.header('content-type') ?? '')) {
    throw new NightlatchError('bad_parameter', 'the body must be JSON (content-type: application/json)');
  }
  const text = await readBounded(c.req.raw, maxBytes);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new NightlatchError('bad_parameter', 'the body is not JSON', { cause });
  }
  return parseWith(schema, value);
}

/** The query of a request that fits `schema`; every value is text. */
export function readQuery<T>(c: ApiContext, schema: z.ZodType<T>): T {
  return parseWith(schema, c.req.query());
}

function parseWith<T>(schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0]!;
  const where = issue.path.map(String).join('.');
  throw new NightlatchError('bad_parameter', `${where === '' ? '' : `${where}: `}${issue.message}`);
}

async function readBounded(request: Request, maxBytes: number): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  if (request.body === null) return '';
  const body = request.body[Symbol.asyncIterator]();
  for (;;) {
    const next = await body.next().catch((cause: unknown) => {
      // The connection is gone: that is the client's doing, and no error of this server.
      throw new NightlatchError('cancelled', 'the request broke off before its end', { cause });
    });
    if (next.done === true) break;
    size += next.value.length;
    if (size > maxBytes) {
      await body.return?.();
      throw new NightlatchError('too_large', `the body is larger than ${maxBytes} bytes`);
    }
    chunks.push(next.value);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** Fields that several requests share. */
export const fields = {
  name: z.string().min(1).max(255),
  text: z.string().max(4096),
  ttlMs: z
    .number()
    .int()
    .positive()
    .max(10 * 365 * 86_400_000),
};
