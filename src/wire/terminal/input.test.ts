import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { TerminalInput } from './input.ts';
import { TerminalScreen } from './screen.ts';

const bytes = (text: string) => Buffer.from(text, 'latin1');

const REPLIES: Readonly<Record<string, string>> = {
  'cursor position': '\x1b[24;80R',
  'cursor position on the first line': '\x1b[1;5R',
  'extended cursor position': '\x1b[?24;80;1R',
  'primary attributes': '\x1b[?64;1;2;6;9;15;18;21;22c',
  'secondary attributes': '\x1b[>41;354;0c',
  'tertiary attributes': '\x1bP!|00000000\x1b\\',
  'status OK': '\x1b[0n',
  'printer status': '\x1b[?13n',
  'colour scheme': '\x1b[?997;1n',
  'mode report': '\x1b[?2026;2$y',
  'ANSI mode report': '\x1b[4;2$y',
  'focus in': '\x1b[I',
  'focus out': '\x1b[O',
  'mouse motion, SGR': '\x1b[<35;120;40M',
  'mouse motion with shift, SGR': '\x1b[<39;120;40M',
  'mouse motion in pixels': '\x1b[<35;1200;400m',
  'mouse motion, urxvt': '\x1b[67;120;40M',
  'foreground colour': '\x1b]10;rgb:ffff/ffff/ffff\x1b\\',
  'background colour, BEL': '\x1b]11;rgb:0000/0000/0000\x07',
  'palette colour': '\x1b]4;7;rgb:e5e5/e5e5/e5e5\x1b\\',
  clipboard: '\x1b]52;c;aGVsbG8gd29ybGQ=\x1b\\',
  'window title': '\x1b]lvim main.c\x1b\\',
  XTVERSION: '\x1bP>|XTerm(379)\x1b\\',
  DECRQSS: '\x1bP1$r0;1m\x1b\\',
  XTGETTCAP: '\x1bP1+r544e=787465726d\x1b\\',
  'kitty keyboard flags': '\x1b[?5u',
  'kitty graphics': '\x1b_Gi=31;OK\x1b\\',
  'window size in cells': '\x1b[8;24;80t',
  'cell size': '\x1b[6;17;8t',
  'in-band resize': '\x1b[48;24;80;408;640t',
  'terminal parameters': '\x1b[2;1;1;112;112;1;0x',
  modifyOtherKeys: '\x1b[>4;2m',
  'VT52 identity': '\x1b/Z',
};

const KEYS: Readonly<Record<string, string>> = {
  letter: 'a',
  enter: '\r',
  'control-C': '\x03',
  escape: '\x1b',
  'escape twice': '\x1b\x1b',
  up: '\x1b[A',
  'up, application': '\x1bOA',
  F1: '\x1bOP',
  F3: '\x1bOR',
  F5: '\x1b[15~',
  'control-F5': '\x1b[15;5~',
  'shift-F1': '\x1b[1;2P',
  'alt-x': '\x1bx',
  'alt-[': '\x1b[',
  'alt-]': '\x1b]',
  'alt-shift-p': '\x1bP',
  'alt-shift-o': '\x1bO',
  delete: '\x1b[3~',
  'shift-tab': '\x1b[Z',
  'kitty key': '\x1b[97;5u',
  'kitty key release': '\x1b[97;1:3u',
  'win32 key': '\x1b[65;30;97;1;0;1_',
  paste: '\x1b[200~hello\x1b[201~',
  UTF8: '\xc3\xa4',
  'left button, SGR': '\x1b[<0;10;10M',
  'left button up, SGR': '\x1b[<0;10;10m',
  'drag, SGR': '\x1b[<32;10;10M',
  'wheel, SGR': '\x1b[<64;10;10M',
  'back button, SGR': '\x1b[<128;10;10M',
  'left button, urxvt': '\x1b[32;10;10M',
  'unknown sequence': '\x1b[?1;2z',
  'a long sequence': `\x1b[${'1;'.repeat(100)}m`,
  'alt-] and text': '\x1b]hello',
  'alt-shift-p and text': '\x1bPq',
  'enter in an unfinished string': '\x1b]11;rgb:00\r',
};

/** Some input to a terminal that asked for whatever comes. */
function inputAfterQuestions(): TerminalInput {
  const screen = new TerminalScreen();
  screen.feed(bytes('\x1b[6n'.repeat(64)));
  return new TerminalInput(screen);
}

describe('what a terminal answers by itself', () => {
  for (const [name, reply] of Object.entries(REPLIES)) {
    test(`${name} is no activity, split anywhere`, () => {
      assert.equal(new TerminalInput().feed(bytes(reply)), false);
      for (let at = 1; at < reply.length; at += 1) {
        const input = inputAfterQuestions();
        assert.equal(input.feed(bytes(reply.slice(0, at))), false, `first ${at} bytes`);
        assert.equal(input.feed(bytes(reply.slice(at))), false, `from byte ${at}`);
        assert.equal(input.feed(bytes('x')), true, 'a key after it');
      }
      const byByte = inputAfterQuestions();
      for (const char of reply) assert.equal(byByte.feed(bytes(char)), false);
    });

    test(`${name}, split after more than its introducer, needs no screen`, () => {
      for (let at = 3; at < reply.length; at += 1) {
        const input = new TerminalInput();
        assert.equal(input.feed(bytes(reply.slice(0, at))), false);
        assert.equal(input.feed(bytes(reply.slice(at))), false);
      }
    });
  }

  test('many replies in one chunk, split anywhere', () => {
    const all = Object.values(REPLIES).join('');
    for (let at = 1; at < all.length; at += 1) {
      const input = inputAfterQuestions();
      assert.equal(input.feed(bytes(all.slice(0, at))) || input.feed(bytes(all.slice(at))), false, `split at ${at}`);
    }
  });

  test('mouse motion in the X10 form, with coordinates as bytes and as characters', () => {
    const on = (modes: string) => {
      const screen = new TerminalScreen();
      screen.feed(bytes(`\x1b[?${modes}h`));
      return new TerminalInput(screen);
    };
    assert.equal(on('1003').feed(bytes('\x1b[MC!!')), false);
    assert.equal(on('1003').feed(bytes('\x1b[MC\xc3\xa4')), false);
    assert.equal(on('1003;1005').feed(Buffer.from('\x1b[MC\u0100\u0101')), false);
    assert.equal(on('1003').feed(bytes('\x1b[M !!')), true, 'a button');
    assert.equal(on('1003').feed(bytes('\x1b[M#!!')), true, 'a button released');
    assert.equal(on('1003;1005').feed(Buffer.from('\x1b[M \u0100\u0101')), true, 'a button far out');
    const whole = Buffer.from('\x1b[MC\u0100\u0101');
    for (let at = 3; at < whole.length; at += 1) {
      const input = on('1003;1005');
      assert.equal(input.feed(whole.subarray(0, at)) || input.feed(whole.subarray(at)), false);
    }
    assert.equal(on('25').feed(bytes('\x1b[M')), true, 'a function key where there is no mouse');
  });
});

describe('what a person does', () => {
  for (const [name, key] of Object.entries(KEYS)) {
    test(`${name} counts`, () => {
      assert.equal(new TerminalInput().feed(bytes(key)), true);
      assert.equal(new TerminalInput(new TerminalScreen()).feed(bytes(key)), true, 'with a screen');
    });

    test(`${name} counts among replies, split anywhere`, () => {
      const whole = `\x1b[I\x1b[<35;1;1M${key}\x1b[24;80R`;
      for (let at = 0; at <= whole.length; at += 1) {
        const input = inputAfterQuestions();
        const first = input.feed(bytes(whole.slice(0, at)));
        const second = input.feed(bytes(whole.slice(at)));
        assert.equal(first || second, true, `split at ${at}`);
      }
    });
  }

  test('the Escape key counts at once, and later only where a reply was due', () => {
    const screen = new TerminalScreen();
    const input = new TerminalInput(screen);
    assert.equal(input.feed(bytes('\x1b')), true);
    screen.feed(bytes('\x1b[c'));
    assert.equal(input.feed(bytes('\x1b')), false, 'perhaps the answer');
    assert.equal(input.feed(bytes('j')), true, 'it was not');
    assert.equal(input.feed(bytes('\x1b')), true, 'the question is stale');
  });

  test('F3 with a modifier is told from a cursor position by the question', () => {
    assert.equal(new TerminalInput().feed(bytes('\x1b[1;5R')), false, 'nobody knows: a reply');
    const screen = new TerminalScreen();
    const input = new TerminalInput(screen);
    assert.equal(input.feed(bytes('\x1b[1;5R')), true, 'nothing was asked: a key');
    screen.feed(bytes('\x1b[6n'));
    assert.equal(input.feed(bytes('\x1b[1;5R')), false, 'asked: a reply');
    assert.equal(input.feed(bytes('\x1b[1;5R')), true, 'answered before: a key');
    assert.equal(input.feed(bytes('\x1b[5;5R')), false, 'no key looks like this');
  });

  test('keys after a reply that never ended are not swallowed for ever', () => {
    const input = new TerminalInput();
    assert.equal(input.feed(bytes('\x1b]11;rgb:00')), false);
    assert.equal(input.feed(bytes('\r')), true);
    assert.equal(input.feed(bytes('l')), true);
  });

  test('a string without end counts after a mebibyte', () => {
    const input = new TerminalInput();
    assert.equal(input.feed(bytes('\x1b]52;c;')), false);
    let counted = false;
    for (let i = 0; i < 20 && !counted; i += 1) counted = input.feed(Buffer.alloc(65_536, 0x41));
    assert.equal(counted, true);
  });
});

test('any bytes in any pieces: never throws, and the pieces together count when a plain key is among them', () => {
  const piece = fc.oneof(
    fc.constantFrom(...Object.values(REPLIES), ...Object.values(KEYS)).map(bytes),
    fc.uint8Array({ maxLength: 20 }).map((array) => Buffer.from(array)),
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), fc.array(fc.nat(400), { maxLength: 12 }), (pieces, cuts) => {
      const whole = Buffer.concat(pieces);
      const input = new TerminalInput();
      const offsets = [...new Set([0, ...cuts.map((cut) => cut % (whole.length + 1)), whole.length])].sort(
        (a, b) => a - b,
      );
      for (let i = 1; i < offsets.length; i += 1) input.feed(whole.subarray(offsets[i - 1]!, offsets[i]!));
      assert.equal(input.feed(bytes('\r')) || input.feed(bytes('\r')) || input.feed(bytes('\r')), true);
    }),
    { numRuns: 1000 },
  );
});

test('replies in any order and in any pieces are no activity where they were asked for', () => {
  fc.assert(
    fc.property(
      fc.array(fc.constantFrom(...Object.values(REPLIES)), { minLength: 1, maxLength: 20 }),
      fc.array(fc.nat(600), { maxLength: 20 }),
      (replies, cuts) => {
        const whole = bytes(replies.join(''));
        const input = inputAfterQuestions();
        const offsets = [...new Set([0, ...cuts.map((cut) => cut % whole.length), whole.length])].sort((a, b) => a - b);
        for (let i = 1; i < offsets.length; i += 1)
          assert.equal(input.feed(whole.subarray(offsets[i - 1]!, offsets[i]!)), false);
      },
    ),
    { numRuns: 500 },
  );
});
