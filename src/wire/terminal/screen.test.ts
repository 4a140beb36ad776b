import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import headless from '@xterm/headless';
import fc from 'fast-check';
import { encodeEnd, encodeWarning, encodeWarningCancelled, sanitizeText } from './notice.ts';
import { TerminalScreen } from './screen.ts';

const bytes = (text: string) => Buffer.from(text, 'utf8');

/** A program's output that goes through all that the screen follows. */
const FULL_SCREEN =
  '\x1b[?1049h\x1b[22;0;0t\x1b[>4;2m\x1b[?1h\x1b=\x1b[?2004h\x1b[?1004h\x1b[?1002;1006h\x1b[1;24r\x1b[?25l\x1b[H\x1b[2J' +
  '\x1b]2;vim – notes\x07\x1bP$q q\x1b\\\x1b[31müber\x1b[0m\x1b[5;10Htext\x1b[>5u';

function screenAfter(...output: string[]): TerminalScreen {
  const screen = new TerminalScreen();
  for (const text of output) screen.feed(bytes(text));
  return screen;
}

function stateOf(screen: TerminalScreen): unknown {
  return {
    alternate: screen.alternateMode,
    atRest: screen.atRest,
    atLineStart: screen.atLineStart,
    modes: screen.modesToReset,
    hidden: screen.cursorHidden,
    region: screen.scrollRegion,
    keypad: screen.applicationKeypad,
    kitty: screen.kittyKeyboard,
    keys: screen.modifyOtherKeys,
    queried: screen.queried,
  };
}

async function terminalAfter(...output: (string | Uint8Array)[]): Promise<headless.Terminal> {
  const terminal = new headless.Terminal({ cols: 80, rows: 24, allowProposedApi: true });
  for (const part of output) await new Promise<void>((resolve) => terminal.write(part, resolve));
  return terminal;
}

function cells(terminal: headless.Terminal): unknown {
  const buffer = terminal.buffer.active;
  const lines: string[] = [];
  for (let y = 0; y < buffer.length; y += 1) {
    const line = buffer.getLine(y)!;
    let text = '';
    for (let x = 0; x < terminal.cols; x += 1) {
      const cell = line.getCell(x)!;
      text += `${cell.getChars()}/${cell.getFgColor()}/${cell.getBgColor()}/${cell.isBold()}|`;
    }
    lines.push(text);
  }
  return {
    type: buffer.type,
    x: buffer.cursorX,
    y: buffer.cursorY,
    base: buffer.baseY,
    lines,
    modes: { ...terminal.modes },
  };
}

function textOf(terminal: headless.Terminal): string[] {
  const buffer = terminal.buffer.active;
  return Array.from({ length: buffer.length }, (_, y) => buffer.getLine(y)!.translateToString(true));
}

describe('following the output', () => {
  test('a full-screen program', () => {
    const screen = screenAfter(FULL_SCREEN);
    assert.equal(screen.alternate, true);
    assert.equal(screen.cursorHidden, true);
    assert.equal(screen.bracketedPaste, true);
    assert.equal(screen.scrollRegion, true);
    assert.deepEqual(screen.mouseModes, [1002, 1006]);
    assert.equal(screen.queried, true);
    screen.feed(bytes('\x1b[?1049l\x1b[?25h\x1b[?1002;1006l\x1b[?2004l'));
    assert.equal(screen.alternate, false);
    assert.equal(screen.cursorHidden, false);
    assert.deepEqual(screen.mouseModes, []);
  });

  test('split at every offset it is the same', () => {
    const whole = bytes(FULL_SCREEN);
    const expected = stateOf(screenAfter(FULL_SCREEN));
    for (let at = 1; at < whole.length; at += 1) {
      const screen = new TerminalScreen();
      screen.feed(whole.subarray(0, at));
      screen.feed(whole.subarray(at));
      assert.deepEqual(stateOf(screen), expected, `split at ${at}`);
    }
    const byByte = new TerminalScreen();
    for (const byte of whole) byByte.feed(Uint8Array.of(byte));
    assert.deepEqual(stateOf(byByte), expected);
  });

  test('at rest only between sequences and characters', () => {
    for (const inside of ['\x1b', '\x1b[', '\x1b[12', '\x1b]0;ti', '\x1bPq', '\x1b(', '\x1b]0;t\x1b'])
      assert.equal(screenAfter(`a${inside}`).atRest, false, JSON.stringify(inside));
    for (const whole of [
      'a',
      '\x1b[m',
      '\x1b]0;t\x07',
      '\x1b]0;t\x1b\\',
      '\x1b(B',
      '\x1bM',
      '\x1b[12\x18',
      'ü',
      '€',
      '😀',
    ])
      assert.equal(screenAfter(whole).atRest, true, JSON.stringify(whole));
    for (const character of ['ü', '€', '😀']) {
      const encoded = bytes(`ab${character}`);
      for (let at = 3; at < encoded.length; at += 1) {
        const screen = new TerminalScreen();
        screen.feed(encoded.subarray(0, at));
        assert.equal(screen.atRest, false, `${character} after ${at}`);
        screen.feed(encoded.subarray(at));
        assert.equal(screen.atRest, true);
      }
    }
  });

  test('any bytes in any pieces: never throws, keeps little, and comes to rest after a reset', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 20 }), (pieces) => {
        const screen = new TerminalScreen();
        for (const piece of pieces) screen.feed(piece);
        screen.feed(bytes('\x18\x1b\\\x1bc.'));
        assert.equal(screen.atRest, true);
        assert.equal(screen.alternate, false);
      }),
      { numRuns: 500 },
    );
  });

  test('pieces make no difference', () => {
    const part = fc.constantFrom(
      '\x1b[?1049h',
      '\x1b[?1049l',
      '\x1b[6n',
      'ü',
      '\x1b[?25l',
      '\x1b]2;x\x07',
      '\x1b[',
      '\x1b',
      '\n',
      'abc',
      '\x1b[1;9r',
      '\x18',
      '\x1bP>|a\x1b\\',
    );
    fc.assert(
      fc.property(fc.array(part, { maxLength: 30 }), fc.array(fc.nat(300), { maxLength: 10 }), (parts, cuts) => {
        const whole = bytes(parts.join(''));
        const offsets = [...new Set([0, ...cuts.map((cut) => cut % (whole.length + 1)), whole.length])].sort(
          (a, b) => a - b,
        );
        const screen = new TerminalScreen();
        for (let i = 1; i < offsets.length; i += 1) screen.feed(whole.subarray(offsets[i - 1]!, offsets[i]!));
        assert.deepEqual(stateOf(screen), stateOf(screenAfter(parts.join(''))));
      }),
      { numRuns: 500 },
    );
  });
});

describe('the warning', () => {
  const TEXT = 'This session ends in 60s: no activity. Press any key to keep it.';

  test('on the normal screen it is a line of its own', async () => {
    const prompt = 'user@node:~$ ls -';
    const screen = screenAfter(prompt);
    const warning = encodeWarning(TEXT, screen);
    const terminal = await terminalAfter(prompt, warning, 'x');
    assert.deepEqual(textOf(terminal).slice(0, 3), [prompt, TEXT, 'x']);
    const atStart = await terminalAfter('done\r\n', encodeWarning(TEXT, screenAfter('done\r\n')));
    assert.deepEqual(textOf(atStart).slice(0, 3), ['done', TEXT, '']);
  });

  test('on the alternate screen no cell and no cursor moves, for the warning and its cancelling', async () => {
    const screen = screenAfter(FULL_SCREEN);
    const before = cells(await terminalAfter(FULL_SCREEN));
    const warning = encodeWarning(TEXT, screen);
    assert.match(Buffer.from(warning).toString(), /This session ends in 60s/);
    assert.deepEqual(cells(await terminalAfter(FULL_SCREEN, warning)), before);
    const cancelled = encodeWarningCancelled('The session goes on.', screen);
    assert.equal(screen.titlePushed, false);
    assert.deepEqual(cells(await terminalAfter(FULL_SCREEN, warning, cancelled)), before);
    screen.feed(warning);
    assert.equal(screen.alternate, true);
  });

  test('the title is restored also when the program has left the alternate screen meanwhile', () => {
    const screen = screenAfter(FULL_SCREEN);
    encodeWarning(TEXT, screen);
    encodeWarning(TEXT, screen);
    screen.feed(bytes('\x1b[?1049l'));
    const cancelled = Buffer.from(encodeWarningCancelled('The session goes on.', screen)).toString();
    assert.match(cancelled, /\x1b\[23;2t/);
    assert.match(cancelled, /\r\nThe session goes on\.\r\n$/);
  });

  test('what a message holds is never obeyed', () => {
    assert.equal(sanitizeText('a\x1b[2Jb\x9bc\r\nd\u202ee\x00f\x07'), 'a[2Jbc def');
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        assert.doesNotMatch(sanitizeText(text), /[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]/);
        const warning = Buffer.from(encodeWarning(text, screenAfter(FULL_SCREEN))).toString();
        assert.match(warning, /^\x1b\[22;2t\x1b\]2;[^\x00-\x1f]*\x1b\\\x07$/);
      }),
    );
  });
});

describe('the end', () => {
  const TEXT = 'Session ended: no activity for 10m0s (role admin-role).';

  test('leaves the full-screen program, resets the modes and says it on its own line', async () => {
    const shell = 'user@node:~$ vim';
    const screen = screenAfter(shell, FULL_SCREEN);
    const terminal = await terminalAfter(shell, FULL_SCREEN, encodeEnd(TEXT, screen));
    assert.equal(terminal.buffer.active.type, 'normal');
    assert.deepEqual(textOf(terminal).slice(0, 3), [shell, TEXT, '']);
    assert.equal(terminal.modes.mouseTrackingMode, 'none');
    assert.equal(terminal.modes.bracketedPasteMode, false);
    assert.equal(terminal.modes.sendFocusMode, false);
    assert.equal(terminal.modes.applicationCursorKeysMode, false);
    assert.equal(terminal.modes.applicationKeypadMode, false);
  });

  test('cut anywhere, the text is readable', async () => {
    const whole = bytes(`prompt$ ${FULL_SCREEN}\x1b[?1049l\x1b[38;2;1;2;3mcolours\x1b]0;a title\x07`);
    for (let at = 0; at <= whole.length; at += 1) {
      const screen = new TerminalScreen();
      screen.feed(whole.subarray(0, at));
      const terminal = await terminalAfter(whole.subarray(0, at), encodeEnd(TEXT, screen));
      assert.ok(textOf(terminal).includes(TEXT), `cut at ${at}: ${JSON.stringify(textOf(terminal).slice(0, 6))}`);
      assert.equal(terminal.buffer.active.type, 'normal');
    }
  });
});
