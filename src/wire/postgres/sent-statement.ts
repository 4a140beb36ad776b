/** Statement text kept for the audit, in bytes (`db.session.query` is cut there, with a mark). */
export const MAX_AUDITED_BYTES = 32 * 1024;

/** A statement that the client has sent to be executed. */
export interface SentStatement {
  /** At most `MAX_AUDITED_BYTES` of it, decoded as UTF-8. */
  readonly text: string;
  readonly truncated: boolean;
  /** Parameters bound to it; undefined for a simple query. */
  readonly parameterCount?: number;
  /** Name of the prepared statement, '' for the unnamed one; undefined for a simple query. */
  readonly preparedName?: string;
}

/** The audited part of `body` from `start` to `end`, where the whole text has `wholeLength` bytes. */
export function auditedText(
  body: Buffer,
  start: number,
  end: number,
  wholeLength: number,
): { text: string; truncated: boolean } {
  const truncated = wholeLength > MAX_AUDITED_BYTES;
  let stop = Math.min(end, start + MAX_AUDITED_BYTES);
  // A cut within a character of several bytes leaves it out.
  if (truncated) while (stop > start && (body[stop]! & 0xc0) === 0x80) stop -= 1;
  return { text: body.toString('utf8', start, stop), truncated };
}
