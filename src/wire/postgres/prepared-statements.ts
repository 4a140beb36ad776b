import { isEmptyText } from './messages.ts';
import { auditedText, type SentStatement } from './sent-statement.ts';

/** Statement texts remembered for the audit, in characters, and names remembered as empty: bounds of one session's memory. */
const MAX_REMEMBERED_CHARS = 512 * 1024;
const MAX_EMPTY_NAMES = 64;

interface Remembered {
  readonly text: string;
  readonly truncated: boolean;
}

/**
 * The prepared statements of one connection, as far as the audit (their texts) and the idle policy (which of them are empty) need them.
 */
export class PreparedStatements {
  readonly #audited: boolean;
  readonly #texts = new Map<string, Remembered>();
  #chars = 0;
  readonly #emptyStatements = new Set<string>();
  readonly #emptyPortals = new Set<string>();

  constructor(audited: boolean) {
    this.#audited = audited;
  }

  /** Whether Bind, Execute and Close must be read to know what they mean. */
  get tracksPortals(): boolean {
    return this.#audited || this.#emptyStatements.size > 0 || this.#emptyPortals.size > 0;
  }

  /** Parse; `body` may be cut, `length` is the whole. False when the statement is empty. */
  parsed(body: Buffer, length: number): boolean {
    const [name, start] = cstring(body, 0);
    const found = body.indexOf(0, start);
    const end = found < 0 ? body.length : found;
    const empty = found >= 0 && isEmptyText(body, start, end);
    if (empty) {
      if (this.#emptyStatements.size < MAX_EMPTY_NAMES) this.#emptyStatements.add(name);
    } else if (this.#emptyStatements.size > 0) this.#emptyStatements.delete(name);
    if (this.#audited) this.#remember(name, auditedText(body, start, end, found < 0 ? length - start : end - start));
    return !empty;
  }

  /** Bind: the statement it will execute, and whether that is a command. */
  bound(body: Buffer): { counts: boolean; statement: SentStatement } {
    const [portal, next] = cstring(body, 0);
    const [name, formats] = cstring(body, next);
    const empty = this.#emptyStatements.has(name);
    if (empty) {
      if (this.#emptyPortals.size < MAX_EMPTY_NAMES) this.#emptyPortals.add(portal);
    } else if (this.#emptyPortals.size > 0) this.#emptyPortals.delete(portal);
    const known = this.#texts.get(name);
    return {
      counts: !empty,
      statement: {
        text: known?.text ?? '',
        truncated: known?.truncated ?? false,
        preparedName: name,
        parameterCount: parameterCount(body, formats),
      },
    };
  }

  /** Execute: false when the portal's statement is empty. */
  executes(body: Buffer): boolean {
    return !this.#emptyPortals.has(cstring(body, 0)[0]);
  }

  /** Close of a statement or portal. */
  closed(body: Buffer): void {
    const [name] = cstring(body, 1);
    if (body[0] === 0x53) {
      this.#emptyStatements.delete(name);
      this.#forget(name);
    } else this.#emptyPortals.delete(name);
  }

  #remember(name: string, statement: Remembered): void {
    this.#forget(name);
    this.#texts.set(name, statement);
    this.#chars += statement.text.length + name.length;
    for (const oldest of this.#texts.keys()) {
      if (this.#chars <= MAX_REMEMBERED_CHARS) break;
      this.#forget(oldest);
    }
  }

  #forget(name: string): void {
    const known = this.#texts.get(name);
    if (known === undefined) return;
    this.#texts.delete(name);
    this.#chars -= known.text.length + name.length;
  }
}

/** The zero-terminated string at `start`, and where the next thing begins. A string that is cut ends with the bytes there are. */
function cstring(body: Buffer, start: number): [text: string, next: number] {
  if (start >= body.length) return ['', body.length];
  const end = body.indexOf(0, start);
  return end < 0 ? [body.toString('utf8', start), body.length] : [body.toString('utf8', start, end), end + 1];
}

/** Number of parameter values in Bind or FunctionCall, whose format codes begin at `formats`; 0 where the message is too short to say. */
export function parameterCount(body: Buffer, formats: number): number {
  if (formats + 2 > body.length) return 0;
  const at = formats + 2 + 2 * body.readUInt16BE(formats);
  return at + 2 > body.length ? 0 : body.readUInt16BE(at);
}
