import type { TerminalScreen } from './screen.ts';

const ESC = 0x1b;
const BEL = 0x07;
/** Longest control sequence of a terminal: more parameters than any reply has. */
const MAX_CSI = 64;
/** How much of a string reply is kept to tell what it is. */
const MAX_STRING_KEPT = 64;
/** Longest string reply (a clipboard report is the long one); what goes on beyond it counts as a person's. */
const MAX_STRING = 1 << 20;

type State = 'ground' | 'escape' | 'csi' | 'mouse' | 'string' | 'string-escape';

/** Replies that begin with CSI, by final byte: parameters and intermediates as a terminal sends them. Sources: ECMA-48, XTerm Control Sequences, the kitty keyboard protocol. */
const CSI_REPLIES: Readonly<Record<string, RegExp>> = {
  // DA1, DA2 and DA3 (the last also as DCS ! |).
  c: /^[?>=][\d;]*$/,
  // DSR: terminal OK or not, printer, keys, locator, colour scheme.
  n: /^(?:[03]|\?[\d;]+)$/,
  // DECXCPR, and CPR; F3 with a modifier looks like `1;2R` and is told apart by the caller.
  R: /^(?:\?\d+;\d+(?:;\d+)?|\d+;\d+)$/,
  // Focus in and out (mode 1004).
  I: /^$/,
  O: /^$/,
  // DECRPM: state of a mode.
  y: /^\??\d+;\d+\$$/,
  // Window size, position, state; size of a cell; in-band resize (mode 2048).
  t: /^\d+(?:;\d+)*$/,
  // Kitty keyboard: flags in force.
  u: /^\?\d+$/,
  // DECREPTPARM.
  x: /^[23](?:;\d+)+$/,
  // XTSMGRAPHICS.
  S: /^\?\d+(?:;\d+)+$/,
  // XTMODKEYS report.
  m: /^>\d+(?:;\d+)*$/,
  // Locator: request answered, locator unavailable, pointer left its rectangle.
  w: /^(?:0|1|10)(?:;\d*)*&$/,
};

/** `1;2` to `1;8`, with CPR's final byte: the first line's columns 2 to 8, or F3 with a modifier. */
const F3_OR_POSITION = /^1;[2-8]$/;

/**
 * String replies. Terminals send no key as a string, but a person's Alt-] followed by text begins like one, so only known
 * forms are replies: colours (OSC 4, 5, 10–19, 21), clipboard (52), titles (OSC L, l) and iTerm2's (1337); DCS for DA3, XTVERSION, DECRQSS,
 * XTGETTCAP, checksums and terminal state; APC for kitty graphics.
 */
const STRING_REPLY =
  /^(?:\](?:[45];\d+;rgb|1[0-9];rgb|21;|52;|1337;|[Ll])|P(?:!\||>\||[\d;]*(?:[$+]r|!~|\$[us])|@kitty)|_G)/;
/** What may still become one of them. */
const STRING_PREFIX =
  /^(?:\](?:[45](?:;(?:\d+(?:;(?:r(?:g(?:b)?)?)?)?)?)?|1(?:[0-9](?:;(?:r(?:g(?:b)?)?)?)?)?|2(?:1;?)?|52?;?|1(?:3(?:3(?:7;?)?)?)?)?|P(?:[!>]|[\d;]*[$+!]?|@(?:k(?:i(?:t(?:t(?:y)?)?)?)?)?)?|_)$/;

/**
 * Tells what a person did from what their terminal answers by itself, in the bytes that come from a terminal (SPEC 2.3). Not counted:
 * cursor position reports, device attributes, status and mode reports, focus reports, mouse movement without a button, colour, clipboard
 * and other string replies, window size reports. Everything else counts, known or not: a lost key press would end the session
 * of somebody who is there, a reply taken for a key only prolongs it.
 *
 * Replies may be split anywhere. Ambiguities, and how they are decided:
 * - A chunk that is ESC alone (or ESC and `[`, `]`, `P`, `_`) is the Escape key (Alt with that key) and counts at once, unless
 *   `screen` saw a question to the terminal that no input has followed yet; then it may be the beginning of the reply and waits for what follows.
 * - `CSI 1;2R` to `CSI 1;8R` are F3 with a modifier or a cursor position on the first line: a reply if the position was asked for
 *   lately or when there is no `screen` that could know.
 */
export class TerminalInput {
  readonly #screen: TerminalScreen | undefined;
  #state: State = 'ground';
  #kept = '';
  #length = 0;

  constructor(screen?: TerminalScreen) {
    this.#screen = screen;
  }

  /** Takes the next bytes of input; true when a person did something in them. Never throws; holds at most 64 bytes. */
  feed(chunk: Uint8Array): boolean {
    const wasGround = this.#state === 'ground';
    let person = false;
    for (let i = 0; i < chunk.length; i += 1) {
      if (this.#step(chunk[i]!)) {
        person = true;
        // Only the state at the end still matters; it hangs on nothing before the last ESC.
        const last = chunk.lastIndexOf(ESC);
        if (last > i) {
          this.#reset('ground');
          i = last - 1;
        } else if (this.#state === 'ground') break;
      }
    }
    if (!person && wasGround && chunk.length <= 2 && this.#introducerOnly() && !(this.#screen?.queried ?? false)) {
      this.#reset('ground');
      person = true;
    }
    if (person) this.#screen?.answered(true, false);
    return person;
  }

  #introducerOnly(): boolean {
    return (
      this.#state === 'escape' ||
      (this.#state === 'csi' && this.#kept === '') ||
      (this.#state === 'string' && this.#kept.length === 1)
    );
  }

  #reset(state: State): void {
    this.#state = state;
    this.#kept = '';
    this.#length = 0;
  }

  /** One byte; true when it shows that a person did something. */
  #step(byte: number): boolean {
    switch (this.#state) {
      case 'ground':
        if (byte !== ESC) return true;
        this.#reset('escape');
        return false;
      case 'escape':
        return this.#escape(byte);
      case 'csi':
        return this.#csi(byte);
      case 'mouse':
        return this.#mouse(byte);
      case 'string-escape':
        if (byte === 0x5c) return this.#reply(false);
        // The string was cut short; what follows ESC begins anew.
        this.#reset('escape');
        return this.#escape(byte);
      default:
        return this.#string(byte);
    }
  }

  #person(): true {
    this.#reset('ground');
    return true;
  }

  #reply(cursor: boolean): false {
    this.#screen?.answered(false, cursor);
    this.#reset('ground');
    return false;
  }

  #escape(byte: number): boolean {
    switch (byte) {
      case 0x5b: // [
        this.#reset('csi');
        return false;
      case 0x5d: // ]
      case 0x50: // P
      case 0x5f: // _
        this.#reset('string');
        this.#kept = String.fromCharCode(byte);
        return false;
      case 0x2f: // ESC / Z, a VT52 that was asked what it is
        this.#reset('escape');
        this.#kept = '/';
        return false;
      case ESC:
        this.#reset('escape');
        return true;
      default:
        if (byte === 0x5a && this.#kept === '/') return this.#reply(false);
        return this.#person();
    }
  }

  #csi(byte: number): boolean {
    if (byte >= 0x20 && byte <= 0x3f) {
      this.#kept += String.fromCharCode(byte);
      return this.#kept.length > MAX_CSI ? this.#person() : false;
    }
    if (byte === ESC) {
      // Alt-[ or a broken sequence, then another one.
      this.#reset('escape');
      return true;
    }
    if (byte < 0x40 || byte > 0x7e) return this.#person();
    const final = String.fromCharCode(byte);
    const parameters = this.#kept;
    if (final === 'M' && parameters === '') {
      // Without mouse tracking it is a function key of some terminals.
      if (this.#screen !== undefined && this.#screen.mouseModes.length === 0) return this.#person();
      this.#reset('mouse');
      return false;
    }
    if (final === 'M' || final === 'm') {
      const button = mouseButton(parameters, final);
      if (button !== undefined) return isMotionWithoutButton(button) ? this.#unasked() : this.#person();
    }
    if (!CSI_REPLIES[final]?.test(parameters)) return this.#person();
    if (final === 'R') {
      const asked = this.#screen?.cursorQueried ?? true;
      if (!asked && F3_OR_POSITION.test(parameters)) return this.#person();
      return this.#reply(true);
    }
    if (final === 'I' || final === 'O') return this.#unasked();
    return this.#reply(false);
  }

  /** A report that comes without a question: it answers none. */
  #unasked(): false {
    this.#reset('ground');
    return false;
  }

  /** CSI M, then button, column and row: a byte each plus 32 (X10, 1000), or a UTF-8 character each (1005). */
  #mouse(byte: number): boolean {
    this.#kept += String.fromCharCode(byte);
    const fields = this.#screen?.utf8Mouse ? [...Buffer.from(this.#kept, 'latin1').toString('utf8')] : [...this.#kept];
    if (fields.length < 3 || fields[2] === '\ufffd') return this.#kept.length >= 8 ? this.#person() : false;
    return isMotionWithoutButton(fields[0]!.codePointAt(0)! - 32) ? this.#unasked() : this.#person();
  }

  #string(byte: number): boolean {
    this.#length += 1;
    if (byte === ESC) {
      if (!STRING_REPLY.test(this.#kept)) {
        this.#reset('escape');
        return true;
      }
      this.#state = 'string-escape';
      return false;
    }
    if (byte === BEL && this.#kept.startsWith(']'))
      return STRING_REPLY.test(this.#kept) ? this.#reply(false) : this.#person();
    // A string holds printable characters only; Enter or Ctrl-C in it come from somebody.
    if (byte < 0x20 || byte === 0x7f || this.#length > MAX_STRING) return this.#person();
    if (this.#kept.length < MAX_STRING_KEPT) {
      this.#kept += String.fromCharCode(byte);
      if (!(STRING_REPLY.test(this.#kept) || STRING_PREFIX.test(this.#kept))) return this.#person();
    }
    return false;
  }
}

/** Button code of a mouse report in SGR (1006, 1016) or urxvt (1015) form; undefined when the sequence is something else. */
function mouseButton(parameters: string, final: string): number | undefined {
  const sgr = /^<(\d+);-?\d+;-?\d+$/.exec(parameters);
  if (sgr !== null) return Number(sgr[1]);
  const urxvt = /^(\d+);\d+;\d+$/.exec(parameters);
  return urxvt !== null && final === 'M' ? Number(urxvt[1]) - 32 : undefined;
}

/** Motion (32) with button bits 3 ("none") and no wheel or further buttons (64, 128); shift, meta and control (4, 8, 16) do not matter. */
function isMotionWithoutButton(button: number): boolean {
  return (button & ~(4 | 8 | 16)) === 35;
}
