/** Longest control sequence or string prefix that is kept for reading; the rest of a longer one is skipped over, not stored. */
const MAX_KEPT = 96;

const ESC = 0x1b;
const BEL = 0x07;
const CAN = 0x18;
const SUB = 0x1a;

type State = 'ground' | 'escape' | 'intermediate' | 'csi' | 'string' | 'string-escape';

/** DEC private modes that matter for a warning or for leaving the terminal usable (XTerm Control Sequences, DECSET). */
const MOUSE_MODES: readonly number[] = [9, 1000, 1001, 1002, 1003, 1005, 1006, 1015, 1016];
const ALTERNATE_MODES: readonly number[] = [47, 1047, 1049];
/** Modes that are off when a terminal starts and that `encodeEnd` puts off again: cursor keys, origin, focus, paste, synchronised output, in-band resize, colour scheme. */
const OTHER_MODES: readonly number[] = [1, 6, 1004, 2004, 2026, 2031, 2048];
/** Final bytes of the control sequences that `#dispatch` reads. */
const READ_FINALS = new Uint8Array(128);
for (const final of 'hlncxpqtSumr') READ_FINALS[final.charCodeAt(0)] = 1;
/** So many bytes are looked at one by one before the search is left to the runtime, whose call costs more than they do. */
const NEAR = 48;
const TRACKED_MODES = new Set([...MOUSE_MODES, ...ALTERNATE_MODES, ...OTHER_MODES]);

/**
 * What a terminal shows at the other end, as far as its output tells: which modes are on, and whether the output stands
 * inside an escape sequence or a character. It holds no cells. Feed it the output bytes that pass; it copies next to nothing and
 * looks at text with one search for ESC.
 */
export class TerminalScreen {
  #state: State = 'ground';
  #kept = '';
  #pendingUtf8 = 0;
  #lastByte = 0x0a;
  #alternateMode = 0;
  readonly #modes = new Set<number>();
  #cursorHidden = false;
  #scrollRegion = false;
  #keypad = false;
  #kittyKeyboard = false;
  #modifyOtherKeys = false;
  #cursorQueries = 0;
  #queries = 0;
  /** Set while a warning stands in the window title, whose former text is on the terminal's title stack. */
  titlePushed = false;

  /** A full-screen program has the alternate screen (DECSET 47, 1047 or 1049). */
  get alternate(): boolean {
    return this.#alternateMode !== 0;
  }

  /** The mode by which the alternate screen was entered, 0 on the normal one. */
  get alternateMode(): number {
    return this.#alternateMode;
  }

  /** The output is inside no escape sequence and no UTF-8 character: something may be put in here. */
  get atRest(): boolean {
    return this.#state === 'ground' && this.#pendingUtf8 === 0;
  }

  /** The last thing written ended a line, so that the cursor stands in the first column. */
  get atLineStart(): boolean {
    return this.#lastByte === 0x0a;
  }

  get bracketedPaste(): boolean {
    return this.#modes.has(2004);
  }

  get cursorHidden(): boolean {
    return this.#cursorHidden;
  }

  /** Mouse tracking and mouse encoding modes that are on. */
  get mouseModes(): readonly number[] {
    return MOUSE_MODES.filter((mode) => this.#modes.has(mode));
  }

  /** Mouse coordinates come as UTF-8 characters (mode 1005). */
  get utf8Mouse(): boolean {
    return this.#modes.has(1005);
  }

  /** The program asked where the cursor is (DSR 6) and no input has come since. */
  get cursorQueried(): boolean {
    return this.#cursorQueries > 0;
  }

  /** The program asked the terminal for something and no input has come since. */
  get queried(): boolean {
    return this.#queries > 0;
  }

  /** `TerminalInput` calls this when a reply came (`person` false) or a person did something: then older questions are stale. */
  answered(person: boolean, cursor: boolean): void {
    if (person) {
      this.#queries = 0;
      this.#cursorQueries = 0;
      return;
    }
    if (this.#queries > 0) this.#queries -= 1;
    if (cursor && this.#cursorQueries > 0) this.#cursorQueries -= 1;
  }

  /** Modes that are on and that a terminal starts without, other than the alternate screen. */
  get modesToReset(): readonly number[] {
    return [...this.#modes].filter((mode) => !ALTERNATE_MODES.includes(mode));
  }

  /** A scroll region was set (DECSTBM). */
  get scrollRegion(): boolean {
    return this.#scrollRegion;
  }

  /** The keypad sends application codes (DECKPAM). */
  get applicationKeypad(): boolean {
    return this.#keypad;
  }

  /** The kitty keyboard protocol was switched on. */
  get kittyKeyboard(): boolean {
    return this.#kittyKeyboard;
  }

  /** XTMODKEYS modifyOtherKeys was switched on. */
  get modifyOtherKeys(): boolean {
    return this.#modifyOtherKeys;
  }

  /** Takes the next bytes of output. Never throws. */
  feed(output: Uint8Array): void {
    const length = output.length;
    if (length === 0) return;
    let i = 0;
    while (i < length) {
      if (this.#state === 'ground') {
        const next = indexOfEscape(output, i);
        if (next < 0) {
          this.#lastByte = output[length - 1]!;
          this.#pendingUtf8 = missingUtf8(output, i, this.#pendingUtf8);
          return;
        }
        if (next > i) this.#lastByte = output[next - 1]!;
        this.#pendingUtf8 = 0;
        this.#state = 'escape';
        i = next + 1;
        continue;
      }
      i = this.#inSequence(output, i);
    }
  }

  #inSequence(output: Uint8Array, at: number): number {
    const byte = output[at]!;
    if (byte === CAN || byte === SUB) {
      this.#ground();
      return at + 1;
    }
    switch (this.#state) {
      case 'escape':
        this.#escape(byte);
        return at + 1;
      case 'intermediate':
        // ESC ( B and the like: intermediates, then one final byte.
        if (byte === ESC) this.#state = 'escape';
        else if (byte >= 0x30) this.#ground();
        return at + 1;
      case 'csi':
        return this.#csi(output, at);
      case 'string-escape':
        if (byte === 0x5c) {
          this.#string();
          return at + 1;
        }
        // Any other escape sequence ends the string too, and begins here.
        this.#kept = '';
        this.#state = 'escape';
        return at;
      default:
        return this.#inString(output, at);
    }
  }

  #escape(byte: number): void {
    this.#kept = '';
    switch (byte) {
      case 0x5b: // [
        this.#state = 'csi';
        return;
      case 0x5d: // ] OSC
      case 0x50: // P DCS
      case 0x58: // X SOS
      case 0x5e: // ^ PM
      case 0x5f: // _ APC
        this.#kept = String.fromCharCode(byte);
        this.#state = 'string';
        return;
      case ESC:
        return;
      case 0x63: // c RIS
        this.#reset();
        break;
      case 0x3d: // = DECKPAM
        this.#keypad = true;
        break;
      case 0x3e: // > DECKPNM
        this.#keypad = false;
        break;
      case 0x5a: // Z DECID, answered like DA1
        this.#queries += 1;
        break;
      default:
        if (byte >= 0x20 && byte < 0x30) {
          this.#state = 'intermediate';
          return;
        }
        // A control character inside an escape sequence is carried out and the sequence goes on.
        if (byte < 0x20) return;
    }
    this.#ground();
  }

  #csi(output: Uint8Array, at: number): number {
    for (let i = at; i < output.length; i += 1) {
      const byte = output[i]!;
      if (byte >= 0x20 && byte < 0x40) continue;
      if (byte >= 0x40 && byte <= 0x7e) {
        // Most sequences are colours and cursor movements: they are not even read.
        const first = this.#kept === '' ? output[at]! : this.#kept.charCodeAt(0);
        if (READ_FINALS[byte] === 1 && !(byte === 0x6d && first < 0x3c)) {
          this.#keep(output, at, i);
          this.#dispatch(this.#kept, byte);
        }
        this.#ground();
        return i + 1;
      }
      if (byte === ESC) {
        this.#state = 'escape';
        return i + 1;
      }
      if (byte === CAN || byte === SUB) {
        this.#ground();
        return i + 1;
      }
      // Bytes from 0x80 are no part of a sequence: the terminal drops it, and a stream that is not terminal output gets out of here.
      if (byte >= 0x80) {
        this.#ground();
        return i;
      }
      // Other controls are carried out in the middle of the sequence, which goes on.
      this.#keep(output, at, i);
      at = i + 1;
    }
    this.#keep(output, at, output.length);
    return output.length;
  }

  #keep(output: Uint8Array, from: number, to: number): void {
    for (let i = from; i < to && this.#kept.length < MAX_KEPT; i += 1) this.#kept += String.fromCharCode(output[i]!);
  }

  #inString(output: Uint8Array, at: number): number {
    for (let i = at; i < output.length; i += 1) {
      const byte = output[i]!;
      if (byte === ESC) {
        this.#state = 'string-escape';
        return i + 1;
      }
      if (byte === BEL && this.#kept.startsWith(']')) {
        this.#string();
        return i + 1;
      }
      if (byte === CAN || byte === SUB) {
        this.#ground();
        return i + 1;
      }
      if (this.#kept.length < MAX_KEPT) this.#kept += String.fromCharCode(byte);
    }
    return output.length;
  }

  /** OSC with a `?`, DECRQSS, XTGETTCAP and kitty graphics are questions that the terminal answers. */
  #string(): void {
    const body = this.#kept;
    if (/^\](?:\d+;)+.*\?/.test(body) || /^P[$+]q/.test(body) || /^_G/.test(body)) this.#queries += 1;
    this.#ground();
  }

  #dispatch(sequence: string, final: number): void {
    switch (final) {
      case 0x68: // h
      case 0x6c: // l
        if (sequence.startsWith('?'))
          for (const parameter of sequence.slice(1).split(';')) this.#mode(Number(parameter), final === 0x68);
        return;
      case 0x6e: // n DSR
        this.#queries += 1;
        if (sequence === '6' || sequence === '?6') this.#cursorQueries += 1;
        return;
      case 0x63: // c DA
      case 0x78: // x DECREQTPARM
        this.#queries += 1;
        return;
      case 0x70: // p: DECRQM `$p`, soft reset `!p`
        if (sequence.endsWith('$')) this.#queries += 1;
        else if (sequence === '!') this.#softReset();
        return;
      case 0x71: // q: XTVERSION `>q`
        if (sequence.startsWith('>')) this.#queries += 1;
        return;
      case 0x74: // t: XTWINOPS reports
        if (/^1[1-9]|^2[01]/.test(sequence)) this.#queries += 1;
        return;
      case 0x53: // S: XTSMGRAPHICS
        if (sequence.startsWith('?')) this.#queries += 1;
        return;
      case 0x75: // u: kitty keyboard
        if (sequence.startsWith('?')) this.#queries += 1;
        else if (sequence.startsWith('>') || sequence.startsWith('=')) this.#kittyKeyboard = true;
        return;
      case 0x6d: // m: XTMODKEYS `>4;n m`
        if (sequence.startsWith('>4;')) this.#modifyOtherKeys = !/^>4;0?$/.test(sequence);
        else if (sequence === '>4' || sequence === '>') this.#modifyOtherKeys = false;
        else if (sequence.startsWith('?')) this.#queries += 1;
        return;
      case 0x72: // r DECSTBM
        if (/^[\d;]*$/.test(sequence)) this.#scrollRegion = sequence.length > 0 && sequence !== ';';
        return;
      default:
    }
  }

  #mode(mode: number, on: boolean): void {
    if (mode === 25) {
      this.#cursorHidden = !on;
      return;
    }
    if (!TRACKED_MODES.has(mode)) return;
    if (ALTERNATE_MODES.includes(mode)) this.#alternateMode = on ? mode : 0;
    else if (on) this.#modes.add(mode);
    else this.#modes.delete(mode);
  }

  #softReset(): void {
    this.#cursorHidden = false;
    this.#scrollRegion = false;
    this.#keypad = false;
    this.#modes.delete(1);
    this.#modes.delete(6);
  }

  #reset(): void {
    this.#softReset();
    this.#alternateMode = 0;
    this.#modes.clear();
    this.#kittyKeyboard = false;
    this.#modifyOtherKeys = false;
    this.#queries = 0;
    this.#cursorQueries = 0;
    this.#lastByte = 0x0a;
  }

  #ground(): void {
    this.#state = 'ground';
    this.#kept = '';
    this.#pendingUtf8 = 0;
    this.#lastByte = 0;
  }
}

/** How many bytes are still to come of the UTF-8 character that `bytes` ends in, given how many were missing before `from`. */
function missingUtf8(bytes: Uint8Array, from: number, missingBefore: number): number {
  const start = Math.max(from, bytes.length - 4);
  let missing = start > from ? 0 : missingBefore;
  for (let i = start; i < bytes.length; i += 1) {
    const byte = bytes[i]!;
    if (byte < 0x80) missing = 0;
    else if (byte < 0xc0) missing = Math.max(0, missing - 1);
    else missing = byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : byte < 0xf8 ? 3 : 0;
  }
  return missing;
}

function indexOfEscape(bytes: Uint8Array, from: number): number {
  const near = Math.min(bytes.length, from + NEAR);
  for (let i = from; i < near; i += 1) if (bytes[i] === ESC) return i;
  return near === bytes.length ? -1 : bytes.indexOf(ESC, near);
}
