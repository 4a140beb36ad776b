import type { TerminalScreen } from './screen.ts';

const ESC = '\x1b';
const BEL = '\x07';
const ST = `${ESC}\\`;
/** A message longer than this is cut: it has to fit a screen. */
const MAX_TEXT = 2_000;

/**
 * A text for somebody's terminal with everything taken out that a terminal would obey or that changes how it reads: C0 and C1
 * controls, bidirectional overrides, line separators, lone surrogates. Line ends become one space.
 */
export function sanitizeText(text: string): string {
  return text
    .replace(/[\r\n\t\u2028\u2029]+/g, ' ')
    .replace(/[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/g, '')
    .slice(0, MAX_TEXT)
    .toWellFormed();
}

/**
 * The warning. It should be put in where the output is at rest (`screen.atRest`); where it is not, the sequence it stands in is cancelled. On the normal screen a line of its own; on the alternate
 * screen, where a full-screen program owns every cell, a bell and the window title, whose former text goes on the terminal's title stack.
 */
export function encodeWarning(text: string, screen: TerminalScreen): Uint8Array {
  const clean = sanitizeText(text);
  const cancel = cancelSequence(screen);
  if (!screen.alternate) return Buffer.from(`${cancel}${lineStart(screen)}${BEL}${clean}\r\n`);
  const push = screen.titlePushed ? '' : `${ESC}[22;2t`;
  screen.titlePushed = true;
  return Buffer.from(`${cancel}${push}${ESC}]2;${clean}${ST}${BEL}`);
}

/** Says that the session goes on, at the place where the warning was; restores the window title. */
export function encodeWarningCancelled(text: string, screen: TerminalScreen): Uint8Array {
  const clean = sanitizeText(text);
  // A terminal without a title stack keeps the text that says that all is well instead of the warning.
  const title = screen.titlePushed ? `${ESC}]2;${clean}${ST}${ESC}[23;2t` : '';
  const line = screen.alternate ? '' : `${lineStart(screen)}${clean}\r\n`;
  screen.titlePushed = false;
  return Buffer.from(`${title === '' && line === '' ? '' : cancelSequence(screen)}${title}${line}`);
}

/**
 * The end: the terminal is given back (`encodeRestore`), then the text on a line of its own.
 */
export function encodeEnd(text: string, screen: TerminalScreen): Uint8Array {
  return Buffer.from(`${restore(screen)}${sanitizeText(text)}\r\n`);
}

/**
 * Gives the terminal back to the person's own shell: whatever sequence the output stands in is cancelled, the alternate screen is left, the
 * modes that a program switched on are off, the cursor is shown and stands at the start of a line. For clients that print the reason themselves.
 */
export function encodeRestore(screen: TerminalScreen): Uint8Array {
  return Buffer.from(restore(screen));
}

function restore(screen: TerminalScreen): string {
  let out = cancelSequence(screen);
  if (screen.kittyKeyboard) out += `${ESC}[=0u`;
  if (screen.modifyOtherKeys) out += `${ESC}[>4m`;
  const line = screen.alternate ? '\r\n' : lineStart(screen);
  if (screen.alternate) out += `${ESC}[?${screen.alternateMode}l`;
  const modes = screen.modesToReset;
  if (modes.length > 0) out += `${ESC}[?${modes.join(';')}l`;
  // DECSTBM moves the cursor home, hence the saved position around it.
  if (screen.scrollRegion) out += `${ESC}7${ESC}[r${ESC}8`;
  if (screen.applicationKeypad) out += `${ESC}>`;
  if (screen.titlePushed) out += `${ESC}[23;2t`;
  // ASCII into G0, G0 in use, plain colours, cursor shown.
  out += `${ESC}(B\x0f${ESC}[0m${ESC}[?25h`;
  return `${out}${line}`;
}

/** CAN ends any sequence or string (ECMA-48 8.3.6); ST after it is for terminals that read on in a string. */
function cancelSequence(screen: TerminalScreen): string {
  return screen.atRest ? '' : `\x18${ST}`;
}

function lineStart(screen: TerminalScreen): string {
  return screen.atLineStart ? '\r' : '\r\n';
}
