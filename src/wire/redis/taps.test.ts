import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { DecodeError } from '../../core/errors.ts';
import type { CommandText } from './command-text.ts';
import { ReplyTap } from './reply-tap.ts';
import { ReplyTracker } from './reply-tracker.ts';
import { type RequestListener, RequestTap } from './request-tap.ts';
import { encodeCommand } from './resp.ts';

const PASS: RequestListener['decide'] = () => undefined;
const PLACEHOLDER = encodeCommand('NIGHTLATCH.ANSWERED');

function taps(listener: RequestListener = { decide: PASS }) {
  const tracker = new ReplyTracker();
  return {
    tracker,
    front: new RequestTap(tracker, listener),
    back: new ReplyTap((message) => tracker.message(message)),
  };
}

/** Cuts bytes where `cuts` says, as fractions. */
function pieces(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const at = [0, ...cuts.map((cut) => Math.floor(cut * bytes.length)), bytes.length].sort((a, b) => a - b);
  return at.slice(1).map((end, index) => Buffer.from(bytes.subarray(at[index], end)));
}

function bulk(text: string): string {
  return `$${Buffer.byteLength(text)}\r\n${text}\r\n`;
}

/** Any value of RESP2 and RESP3, as bytes. */
const value = fc.letrec<{ value: string }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', maxDepth: 4 },
    fc.constantFrom(
      '+OK\r\n',
      '+\r\n',
      '-ERR no\r\n',
      ':-7\r\n',
      ':123456789012345678\r\n',
      '_\r\n',
      '#t\r\n',
      ',3.14\r\n',
    ),
    fc.constantFrom(
      '(3492890328409238509324850943850943825024385\r\n',
      '$-1\r\n',
      '*-1\r\n',
      '*0\r\n',
      '%0\r\n',
      '=7\r\ntxt:abc\r\n',
    ),
    fc.string().map(bulk),
    fc.constant('!5\r\nERR x\r\n'),
    fc
      .tuple(fc.constantFrom('*', '~'), fc.array(tie('value'), { minLength: 1, maxLength: 4 }))
      .map(([type, list]) => `${type}${list.length}\r\n${list.join('')}`),
    fc
      .array(fc.tuple(tie('value'), tie('value')), { minLength: 1, maxLength: 3 })
      .map((list) => `%${list.length}\r\n${list.flat().join('')}`),
    fc.tuple(tie('value'), tie('value')).map(([a, b]) => `|1\r\n${a}${b}+behind an attribute\r\n`),
  ),
})).value;

const cutsOf = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 6 });

describe('following what Redis sends', () => {
  test('any values, cut anywhere: the boundaries are where they are', () => {
    fc.assert(
      fc.property(fc.array(value, { minLength: 1, maxLength: 5 }), cutsOf, (values, cuts) => {
        const bytes = Buffer.from(values.join(''));
        let messages = 0;
        const tap = new ReplyTap(() => {
          messages += 1;
        });
        for (const piece of pieces(bytes, cuts)) assert.equal(tap.push(piece), piece.length);
        assert.equal(messages, values.length);
        assert.ok(tap.atBoundary);
        // Message by message it goes too.
        let at = 0;
        for (const one of values) {
          const end = at + Buffer.byteLength(one);
          at = tap.push(bytes, at, bytes.length, true);
          assert.equal(at, end);
          assert.ok(tap.atBoundary);
        }
      }),
      { numRuns: 400 },
    );
  });

  test('what Redis never sends is a DecodeError, random bytes are one at most', () => {
    for (const bad of [
      'x\r\n',
      '$5\n',
      '$x\r\n',
      '*99999999999\r\n',
      '+a\nb\r\n',
      ':1\n',
      `${'*1\r\n'.repeat(70)}`,
      '$?\r\n',
    ])
      assert.throws(() => new ReplyTap(() => undefined).push(Buffer.from(bad)), DecodeError, JSON.stringify(bad));
    const likely = fc
      .array(
        fc.constantFrom('*', '$', '+', '-', ':', '>', '%', '|', '1', '2', '3', '\r\n', '-1', 'message', 'subscribe'),
        {
          maxLength: 40,
        },
      )
      .map((parts) => Buffer.from(parts.join('')));
    const random = fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes));
    fc.assert(
      fc.property(fc.oneof(likely, random), fc.oneof(likely, random), (fromServer, fromClient) => {
        const { front, back } = taps({ decide: PASS, command: () => undefined });
        try {
          front.push(encodeCommand('GET', 'k'));
          front.push(fromClient);
          back.push(fromServer);
        } catch (error) {
          assert.ok(error instanceof DecodeError, String(error));
        }
      }),
      { numRuns: 3_000 },
    );
  });
});

describe('following what a Redis client sends', () => {
  const word = fc.oneof(fc.string(), fc.constantFrom('GET', 'set', 'PING', 'HELLO', '3', 'AUTH'));
  const command = fc.oneof(
    fc.array(word, { minLength: 1, maxLength: 6 }).map((words) => encodeCommand(...words)),
    fc.constantFrom(Buffer.from('PING\r\n'), Buffer.from('\r\n'), Buffer.from('*0\r\n'), Buffer.from('GET "a b"\r\n')),
    fc.nat({ max: 3_000 }).map((length) => encodeCommand('SET', 'k', 'x'.repeat(length))),
  );

  test('any commands, cut anywhere, pass byte by byte, and are audited the same', () => {
    fc.assert(
      fc.property(fc.array(command, { minLength: 1, maxLength: 6 }), cutsOf, (commands, cuts) => {
        const bytes = Buffer.concat(commands);
        const seen: CommandText[] = [];
        const whole: CommandText[] = [];
        const cut = taps({ decide: PASS, command: (text) => seen.push(text) });
        const forwarded = pieces(bytes, cuts).map((piece) => Buffer.from(cut.front.push(piece)));
        assert.deepEqual(Buffer.concat(forwarded), bytes);
        assert.ok(cut.front.atBoundary);
        const reference = taps({ decide: PASS, command: (text) => whole.push(text) });
        assert.equal(reference.front.push(bytes), bytes, 'what passes whole is not copied');
        assert.deepEqual(seen, whole);
        assert.equal(cut.tracker.busy, reference.tracker.busy);
      }),
      { numRuns: 400 },
    );
  });

  test('every split of a pipeline with commands that the gateway answers', () => {
    const decide: RequestListener['decide'] = (name) =>
      name === 'AUTH' || name === 'BAD' ? { answer: Buffer.from(`-ERR ${name}\r\n`) } : undefined;
    const set = encodeCommand('SET', 'k', 'some value');
    const bytes = Buffer.concat([
      set,
      encodeCommand('AUTH', 'u', 'p'),
      set,
      encodeCommand('bad', 'x'.repeat(100)),
      Buffer.from('auth p\r\n'),
      encodeCommand('GET', 'k'),
    ]);
    const expected = Buffer.concat([set, PLACEHOLDER, set, PLACEHOLDER, PLACEHOLDER, encodeCommand('GET', 'k')]);
    const answers = Buffer.from('+OK\r\n-ERR a\r\n+OK\r\n-ERR b\r\n-ERR c\r\n$-1\r\n');
    for (let cut = 0; cut <= bytes.length; cut++) {
      const { tracker, front, back } = taps({ decide });
      const sent = [Buffer.from(front.push(Buffer.from(bytes.subarray(0, cut)))), front.push(bytes.subarray(cut))];
      assert.deepEqual(Buffer.concat(sent), expected, `cut at ${cut}`);
      const rewritten: boolean[] = [];
      for (let at = 0; at < answers.length; ) {
        rewritten.push(tracker.rewriteAt(answers[at]!, answers[at + 1]) !== undefined);
        at = back.push(answers, at, answers.length, true);
      }
      assert.deepEqual(rewritten, [false, true, false, true, true, false]);
      assert.equal(tracker.busy, false);
    }
  });

  test('PING never counts, in any spelling; everything else does', () => {
    const { tracker, front } = taps();
    for (const ping of [
      encodeCommand('PING'),
      encodeCommand('ping', 'x'),
      Buffer.from('PiNg\r\n'),
      Buffer.from('\r\n'),
    ]) {
      for (let cut = 0; cut <= ping.length; cut++) {
        front.push(Buffer.from(ping.subarray(0, cut)));
        assert.equal(front.input, false);
        front.push(ping.subarray(cut));
        assert.equal(front.input, false);
      }
    }
    assert.equal(tracker.busy, false);
    front.push(encodeCommand('GET', 'k'));
    assert.equal(front.input, true);
    assert.equal(tracker.busy, true);
    front.push(Buffer.from('*2\r\n$3\r\nGET\r\n$100\r\n'));
    front.push(Buffer.from('half a key'));
    assert.equal(front.input, true);
  });

  test('waiting: nothing passes behind a command until the gateway goes on', () => {
    const { front } = taps({
      decide: (name) =>
        name === 'RESET'
          ? { replace: encodeCommand('RESET'), replies: [{ answer: { kind: 'reset' }, counts: true }], wait: true }
          : undefined,
    });
    const get = encodeCommand('GET', 'k');
    assert.deepEqual(
      front.push(Buffer.concat([get, encodeCommand('RESET'), get])),
      Buffer.concat([get, encodeCommand('RESET')]),
    );
    assert.equal(front.push(get).length, 0);
    front.goOn();
    assert.deepEqual(front.push(Buffer.alloc(0)), Buffer.concat([get, get]));
  });

  test('what Redis would read differently is refused', () => {
    for (const bad of [
      '*1\n$4\nPING\n',
      '*2\r\n$3\r\nGET\r\n:1\r\n',
      '*1\r\n$-1\r\n',
      '*99999999\r\n',
      '*1x\r\n',
      'GET "a\r\n',
      'SELECT 3\0 x\r\n',
      '*2\r\n$3\r\nGET\r\n$abc\r\n',
      `*1\r\n$${'1'.repeat(20)}\r\n`,
    ])
      assert.throws(() => taps().front.push(Buffer.from(bad)), DecodeError, JSON.stringify(bad));
    assert.throws(() => taps().front.push(encodeCommand('AUTH', 'x'.repeat(70_000))), DecodeError);
    assert.throws(() => taps().front.push(Buffer.alloc(70_000, 'x')), DecodeError);
  });
});

describe('subscriptions, MONITOR, HELLO and switched-off answers', () => {
  const confirm = (type: '*' | '>', kind: string, channel: string, total: number): string =>
    `${type}3\r\n${bulk(kind)}${bulk(channel)}:${total}\r\n`;

  for (const type of ['*', '>'] as const) {
    test(`subscribed is running, until the last channel is left (${type === '*' ? 'RESP2' : 'RESP3'})`, () => {
      const { tracker, front, back } = taps();
      const receive = (text: string): void => {
        back.push(Buffer.from(text));
      };
      if (type === '>') {
        front.push(encodeCommand('HELLO', '3'));
        receive('%1\r\n+proto\r\n:3\r\n');
        assert.ok(tracker.resp3);
      }
      front.push(Buffer.concat([encodeCommand('SUBSCRIBE', 'a', 'b', 'a'), encodeCommand('PSUBSCRIBE', 'c*')]));
      receive(
        confirm(type, 'subscribe', 'a', 1) + confirm(type, 'subscribe', 'b', 2) + confirm(type, 'subscribe', 'a', 2),
      );
      receive(confirm(type, 'psubscribe', 'c*', 3));
      assert.ok(tracker.subscribed && tracker.busy);
      receive(`${type}3\r\n${bulk('message')}${bulk('a')}${bulk('subscribe')}`);
      front.push(encodeCommand('PING'));
      receive(type === '*' ? `*2\r\n${bulk('pong')}${bulk('')}` : '+PONG\r\n');
      front.push(
        Buffer.concat([encodeCommand('UNSUBSCRIBE'), encodeCommand('PUNSUBSCRIBE'), encodeCommand('UNSUBSCRIBE')]),
      );
      receive(confirm(type, 'unsubscribe', 'b', 2) + confirm(type, 'unsubscribe', 'a', 1));
      assert.ok(tracker.busy);
      receive(confirm(type, 'punsubscribe', 'c*', 0));
      assert.ok(!tracker.subscribed);
      receive(`${type}3\r\n${bulk('unsubscribe')}${type === '*' ? '$-1\r\n' : '_\r\n'}:0\r\n`);
      assert.equal(tracker.busy, false);
      front.push(encodeCommand('LRANGE', 'k', '0', '-1'));
      receive(`*3\r\n${bulk('message')}${bulk('x')}${bulk('y')}`);
      assert.equal(tracker.busy, false, 'a list that looks like a message is an answer');
      front.push(encodeCommand('SSUBSCRIBE', 's'));
      receive(confirm(type, 'ssubscribe', 's', 1));
      assert.ok(tracker.subscribed);
    });
  }

  test('a subscription that is refused is over', () => {
    const { tracker, front, back } = taps();
    front.push(Buffer.concat([encodeCommand('SUBSCRIBE', 'a'), encodeCommand('GET', 'k')]));
    back.push(Buffer.from('-NOPERM no channel\r\n+OK\r\n'));
    assert.equal(tracker.busy, false);
  });

  test('MONITOR runs for ever; its lines are no answers, though they look like some', () => {
    const { tracker, front, back } = taps();
    front.push(encodeCommand('MONITOR'));
    back.push(Buffer.from('+OK\r\n+1700000000.123456 [0 127.0.0.1:5] "get" "k"\r\n'));
    assert.ok(tracker.busy);
    front.push(encodeCommand('ECHO', 'x'));
    back.push(Buffer.from('+1700000000.123457 [0 127.0.0.1:5] "echo" "x"\r\n$1\r\nx\r\n'));
    assert.equal(tracker.rewrites, false);
    const transaction = taps();
    transaction.front.push(Buffer.concat([encodeCommand('MULTI'), encodeCommand('MONITOR')]));
    transaction.back.push(Buffer.from('+OK\r\n+QUEUED\r\n'));
    assert.equal(transaction.tracker.busy, false);
  });

  test('CLIENT REPLY OFF, SKIP and ON', () => {
    const { tracker, front, back } = taps();
    front.push(Buffer.concat([encodeCommand('CLIENT', 'REPLY', 'OFF'), encodeCommand('SET', 'k', 'v')]));
    assert.equal(tracker.busy, false);
    front.push(Buffer.concat([encodeCommand('client', 'reply', 'on'), encodeCommand('GET', 'k')]));
    back.push(Buffer.from('+OK\r\n$1\r\nv\r\n'));
    assert.equal(tracker.busy, false);
    front.push(
      Buffer.concat([
        encodeCommand('CLIENT', 'REPLY', 'SKIP'),
        encodeCommand('SET', 'k', 'v'),
        encodeCommand('GET', 'k'),
      ]),
    );
    assert.ok(tracker.busy);
    back.push(Buffer.from('$1\r\nv\r\n'));
    assert.equal(tracker.busy, false);
  });

  test('an answer that nobody asked for ends the session; a last error does not', () => {
    assert.throws(() => taps().back.push(Buffer.from('+OK\r\n')), DecodeError);
    taps().back.push(Buffer.from('-ERR max number of clients reached\r\n'));
  });

  test('a command whose answer has to be known does not pass while answers are switched off', () => {
    const select: RequestListener['decide'] = (name, args) =>
      name === 'SELECT'
        ? { replace: encodeCommand(...args!), replies: [{ answer: { kind: 'plain' }, counts: true, done: () => {} }] }
        : undefined;
    for (const mode of ['OFF', 'SKIP']) {
      const { front } = taps({ decide: select });
      front.push(encodeCommand('CLIENT', 'REPLY', mode));
      assert.throws(() => front.push(encodeCommand('SELECT', '1')), DecodeError);
    }
  });
});
