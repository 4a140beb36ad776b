import { isUtf8 } from 'node:buffer';

/** Bytes of a command's text kept for the audit (`db.session.query` is cut there, with a mark), and of one argument. */
export const MAX_AUDITED_BYTES = 32 * 1024;
export const MAX_AUDITED_ARGUMENT = 1024;

const REDACTED = '(redacted)';
/** Settings of CONFIG SET, options of SENTINEL SET and the like whose value is a secret. */
const SECRET_SETTING = /(?:pass|auth|secret)/;

/** A command as the audit log shows it. */
export interface CommandText {
  readonly text: string;
  readonly truncated: boolean;
}

/**
 * Writes a command down for people, as redis-cli would take it: long arguments and long commands are cut, passwords left out.
 */
export class CommandTextBuilder {
  readonly #name: string;
  readonly #count: number;
  readonly #words: string[];
  #length: number;
  #truncated = false;
  /** The arguments seen so far, lower case, as far as secrets depend on them. */
  #previous = '';
  #beforePrevious = '';
  #index = 1;

  /** @param count - arguments of the command, its name among them. */
  constructor(name: string, count: number) {
    this.#name = name;
    this.#count = count;
    this.#words = [quoted(Buffer.from(name))];
    this.#length = this.#words[0]!.length;
  }

  /** Whether the text takes further arguments. */
  get full(): boolean {
    return this.#length >= MAX_AUDITED_BYTES;
  }

  /** The next argument; `bytes` may be its beginning only. */
  argument(bytes: Buffer, wholeLength = bytes.length): void {
    const cut = wholeLength > MAX_AUDITED_ARGUMENT;
    const beginning = bytes.subarray(0, MAX_AUDITED_ARGUMENT);
    const plain = beginning.length <= 64 ? beginning.toString('latin1').toLowerCase() : '';
    let word: string;
    if (this.#isSecret()) word = REDACTED;
    else if (this.#isRuleWithSecret(beginning)) word = `${String.fromCharCode(beginning[0]!)}${REDACTED}`;
    else word = cut ? `${quoted(beginning)}...(${wholeLength - beginning.length} more bytes)` : quoted(beginning);
    this.#index += 1;
    this.#beforePrevious = this.#previous;
    this.#previous = plain;
    if (cut) this.#truncated = true;
    if (this.full) {
      this.#truncated = true;
      return;
    }
    this.#words.push(word);
    this.#length += word.length + 1;
  }

  finish(): CommandText {
    const text = this.#words.join(' ');
    if (text.length <= MAX_AUDITED_BYTES) return { text, truncated: this.#truncated };
    return { text: text.slice(0, MAX_AUDITED_BYTES), truncated: true };
  }

  #isSecret(): boolean {
    switch (this.#name) {
      case 'AUTH':
        return this.#index === this.#count - 1 || this.#index > 1;
      case 'HELLO':
        return this.#beforePrevious === 'auth';
      case 'MIGRATE':
        return this.#previous === 'auth' || this.#beforePrevious === 'auth2';
      case 'CONFIG':
        return this.#index >= 3 && this.#index % 2 === 1 && SECRET_SETTING.test(this.#previous);
      case 'SENTINEL':
        return SECRET_SETTING.test(this.#previous);
      default:
        return false;
    }
  }

  /** `ACL SETUSER name >password #hash`: the password is part of the rule. */
  #isRuleWithSecret(beginning: Buffer): boolean {
    return this.#name === 'ACL' && this.#index >= 3 && /^[><#!]/.test(beginning.toString('latin1', 0, 1));
  }
}

const ESCAPES: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t', '"': '\\"', '\\': '\\\\' };

/** A word as redis-cli reads it: in quotes where it must be. */
function quoted(bytes: Buffer): string {
  const text = isUtf8(bytes) ? bytes.toString('utf8') : undefined;
  if (text !== undefined && /^[^\s"'\\\x00-\x1f\x7f]+$/.test(text)) return text;
  const escaped = (text ?? bytes.toString('latin1')).replace(
    text === undefined ? /[^\x20-\x7e]|["\\]/g : /[\x00-\x1f\x7f"\\]/g,
    (character) => ESCAPES[character] ?? `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`,
  );
  return `"${escaped}"`;
}
