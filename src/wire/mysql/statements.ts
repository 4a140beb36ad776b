/** Statement text kept for the audit, in bytes (`db.session.query` is cut there, with a mark). */
export const MAX_AUDITED_BYTES = 32 * 1024;
/** Texts of prepared statements that are remembered, in characters: a bound of one session's memory. */
const MAX_REMEMBERED_CHARS = 512 * 1024;
/** Statements that are remembered; servers allow 16,382 in all by default. */
const MAX_STATEMENTS = 4096;
/** MariaDB: the statement prepared last, whose id the client has not been told yet. */
const LAST_PREPARED = 0xffff_ffff;

/** Statement text for the audit. */
export interface StatementText {
  /** At most `MAX_AUDITED_BYTES` of it, decoded as UTF-8. */
  readonly text: string;
  readonly truncated: boolean;
}

/** A prepared statement, as far as the audit and the idle policy know it. */
export interface PreparedStatement extends StatementText {
  readonly empty: boolean;
  parameters: number;
}

/** The audited part of a statement of `wholeLength` bytes whose beginning is in `bytes`. */
export function auditedText(bytes: Buffer, wholeLength = bytes.length): StatementText {
  if (wholeLength <= MAX_AUDITED_BYTES) return { text: bytes.toString('utf8'), truncated: false };
  let stop = Math.min(bytes.length, MAX_AUDITED_BYTES);
  // A cut within a character of several bytes leaves it out.
  while (stop > 0 && (bytes[stop]! & 0xc0) === 0x80) stop -= 1;
  return { text: bytes.toString('utf8', 0, stop), truncated: true };
}

/** The prepared statements of one connection by their ids. The oldest texts are forgotten when there are too many. */
export class Statements {
  readonly #known = new Map<number, PreparedStatement>();
  #chars = 0;
  #last: PreparedStatement | undefined;

  /** COM_STMT_PREPARE is sent; `keep` when the server has given the id. */
  sent(statement: PreparedStatement): void {
    this.#last = statement;
  }

  keep(id: number, statement: PreparedStatement): void {
    this.close(id);
    this.#known.set(id, statement);
    this.#chars += statement.text.length;
    for (const oldest of this.#known.keys()) {
      if (this.#chars <= MAX_REMEMBERED_CHARS && this.#known.size <= MAX_STATEMENTS) break;
      this.close(oldest);
    }
  }

  get(id: number): PreparedStatement | undefined {
    return id === LAST_PREPARED ? this.#last : this.#known.get(id);
  }

  close(id: number): void {
    const known = this.#known.get(id);
    if (known === undefined) return;
    this.#known.delete(id);
    this.#chars -= known.text.length;
  }

  clear(): void {
    this.#known.clear();
    this.#chars = 0;
    this.#last = undefined;
  }
}
