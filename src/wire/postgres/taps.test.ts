import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { DecodeError } from '../../core/errors.ts';
import { BackendTap } from './backend-tap.ts';
import { CommandTracker } from './command-tracker.ts';
import { FrontendTap } from './frontend-tap.ts';
import { BACKEND, encodeMessage, encodeNotice, FRONTEND } from './messages.ts';
import { MAX_AUDITED_BYTES, type SentStatement } from './sent-statement.ts';

const cstr = (...texts: string[]) => Buffer.from(texts.map((text) => `${text}\0`).join(''));
const int16 = (...values: number[]) => {
  const bytes = Buffer.alloc(values.length * 2);
  values.forEach((value, i) => {
    bytes.writeUInt16BE(value, i * 2);
  });
  return bytes;
};
const query = (sql: string) => encodeMessage(FRONTEND.query, cstr(sql));
const parse = (name: string, sql: string) => encodeMessage(FRONTEND.parse, Buffer.concat([cstr(name, sql), int16(0)]));
const bind = (portal: string, name: string, parameters = 0) =>
  encodeMessage(
    FRONTEND.bind,
    Buffer.concat([cstr(portal, name), int16(1, 0, parameters), Buffer.alloc(parameters * 4, 0xff), int16(0)]),
  );
const execute = (portal: string) => encodeMessage(FRONTEND.execute, Buffer.concat([cstr(portal), Buffer.alloc(4)]));
const close = (kind: string, name: string) =>
  encodeMessage(FRONTEND.close, Buffer.concat([Buffer.from(kind), cstr(name)]));
const sync = encodeMessage(FRONTEND.sync, Buffer.alloc(0));
const ready = (status: string) => encodeMessage(BACKEND.readyForQuery, Buffer.from(status));

interface Front {
  readonly tap: FrontendTap;
  readonly tracker: CommandTracker;
  readonly statements: SentStatement[];
}

function front({ audited = true, copyDataCounts = true } = {}): Front {
  const tracker = new CommandTracker();
  const statements: SentStatement[] = [];
  const tap = new FrontendTap(tracker, audited ? { statement: (one) => statements.push(one) } : {}, { copyDataCounts });
  return { tap, tracker, statements };
}

/** Feeds `bytes` cut at `cuts`; whether any of the chunks counted as input. */
function feed(tap: FrontendTap, bytes: Buffer, cuts: readonly number[]): boolean {
  let input = false;
  let at = 0;
  for (const cut of [...cuts, bytes.length]) {
    // A chunk's memory is reused by the relay: nothing may refer to it afterwards.
    const chunk = Buffer.from(bytes.subarray(at, cut));
    if (tap.push(chunk)) input = true;
    chunk.fill(0xee);
    at = cut;
  }
  return input;
}

describe('what the client sends', () => {
  test('statements are found, whatever the cut', () => {
    const bytes = Buffer.concat([
      query('select 1'),
      parse('s1', 'select $1, $2'),
      bind('', 's1', 2),
      execute(''),
      sync,
      query('sélect 2'),
    ]);
    for (let cut = 0; cut <= bytes.length; cut++) {
      const { tap, statements, tracker } = front();
      assert.equal(feed(tap, bytes, [cut]), true);
      assert.deepEqual(statements, [
        { text: 'select 1', truncated: false },
        { text: 'select $1, $2', truncated: false, preparedName: 's1', parameterCount: 2 },
        { text: 'sélect 2', truncated: false },
      ]);
      assert.equal(tap.atBoundary, true);
      assert.equal(tracker.busy, true);
    }
    const { tap, statements } = front();
    feed(
      tap,
      bytes,
      Array.from({ length: bytes.length }, (_, i) => i),
    );
    assert.equal(statements.length, 3);
  });

  test('liveness checks do not count', () => {
    for (const audited of [true, false]) {
      for (const ping of [
        query(''),
        query(';'),
        query(' \n;; '),
        query('-- ping'),
        query('/* are /* you */ there */ ;'),
        sync,
        encodeMessage(FRONTEND.flush, Buffer.alloc(0)),
        Buffer.concat([parse('', ''), bind('', ''), execute(''), sync]),
        Buffer.concat([parse('p', ';'), sync, bind('a', 'p'), execute('a'), sync, bind('a', 'p'), execute('a'), sync]),
      ]) {
        const { tap, tracker } = front({ audited });
        assert.equal(tap.push(ping), false, ping.toString('latin1'));
        assert.equal(tracker.busy, false);
      }
    }
  });

  test('commands do', () => {
    for (const audited of [true, false]) {
      for (const command of [
        query('select 1'),
        query('-- comment\nselect 1'),
        query('/* half a comment'),
        query(`${' '.repeat(2000)}`),
        parse('', 'select 1'),
        bind('', ''),
        execute(''),
        encodeMessage(FRONTEND.functionCall, Buffer.alloc(10)),
      ]) {
        const { tap } = front({ audited });
        assert.equal(tap.push(command), true, command.toString('latin1'));
      }
    }
  });

  test('copy data counts in a copy, and not where the server drops it', () => {
    const messages = [FRONTEND.copyData, FRONTEND.copyDone, FRONTEND.copyFail].map((type) =>
      encodeMessage(type, Buffer.alloc(10)),
    );
    for (const message of messages) {
      const { tap, tracker } = front({ audited: false });
      assert.equal(tap.push(message), false);
      for (const byte of message) assert.equal(tap.push(Buffer.from([byte])), false);
      tap.push(query('copy t from stdin'));
      tracker.server(BACKEND.copyInResponse);
      assert.equal(tap.push(message), true);
    }
  });

  test('a name that was empty and is something else now counts', () => {
    const { tap } = front({ audited: false });
    assert.equal(tap.push(Buffer.concat([parse('s', ''), bind('', 's'), execute('')])), false);
    assert.equal(tap.push(parse('s', 'select 1')), true);
    assert.equal(tap.push(bind('', 's')), true);
    assert.equal(tap.push(execute('')), true);
  });

  test('a long statement counts from its first byte on', () => {
    const { tap } = front();
    const long = query(`select '${'x'.repeat(5000)}'`);
    assert.equal(tap.push(long.subarray(0, 5)), true);
    assert.equal(tap.push(long.subarray(5, 1000)), true);
  });

  test('copy data of a replication connection is no input', () => {
    const { tap } = front({ copyDataCounts: false });
    assert.equal(tap.push(encodeMessage(FRONTEND.copyData, Buffer.alloc(34))), false);
  });

  test('the audited text ends at 32 kB, at a whole character, with the mark', () => {
    const text = `é${'aé'.repeat(20_000)}`;
    for (const cuts of [[], [1000], [6, MAX_AUDITED_BYTES, MAX_AUDITED_BYTES + 7]]) {
      const { tap, statements } = front();
      feed(tap, query(text), cuts);
      feed(tap, Buffer.concat([parse('', text), bind('', '')]), cuts);
      for (const statement of statements) {
        assert.equal(statement.truncated, true);
        assert.ok(Buffer.byteLength(statement.text) <= MAX_AUDITED_BYTES);
        assert.ok(Buffer.byteLength(statement.text) > MAX_AUDITED_BYTES - 4);
        assert.ok(text.startsWith(statement.text));
      }
      assert.equal(statements.length, 2);
    }
    const { tap, statements } = front();
    tap.push(query('x'.repeat(MAX_AUDITED_BYTES)));
    assert.equal(statements[0]!.truncated, false);
    assert.equal(statements[0]!.text.length, MAX_AUDITED_BYTES);
  });

  test('remembered texts are bounded, and closed statements forgotten', () => {
    const { tap, statements } = front();
    for (let i = 0; i < 100; i++) tap.push(parse(`s${i}`, 'x'.repeat(30_000)));
    tap.push(bind('', 's0'));
    tap.push(bind('', 's99'));
    tap.push(close('S', 's99'));
    tap.push(bind('', 's99'));
    assert.deepEqual(
      statements.map((one) => one.text.length),
      [0, 30_000, 0],
    );
  });

  test('a function call is a statement of its own kind', () => {
    const call = encodeMessage(
      FRONTEND.functionCall,
      Buffer.concat([Buffer.from([0, 0, 4, 1]), int16(1, 1, 2), Buffer.alloc(8, 0xff), int16(0)]),
    );
    const { tap, statements, tracker } = front();
    assert.equal(tap.push(call), true);
    assert.equal(tracker.busy, true);
    assert.deepEqual(statements, [{ text: 'function call 1025', truncated: false, parameterCount: 2 }]);
  });

  test('a goodbye is noticed', () => {
    const { tap } = front();
    tap.push(encodeMessage(FRONTEND.terminate, Buffer.alloc(0)));
    assert.equal(tap.terminated, true);
  });

  test('refuses lengths that no message has', () => {
    for (const length of [0, 3, 0x4000_0001, 0xffff_ffff]) {
      const header = Buffer.alloc(5, FRONTEND.query);
      header.writeUInt32BE(length, 1);
      assert.throws(() => front().tap.push(header), DecodeError);
    }
  });

  test('random and mutated bytes give nothing but DecodeError, the same in one piece as in many', () => {
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      fc
        .tuple(
          fc.array(
            fc.constantFrom(query('select 1'), parse('a', ''), bind('a', 'a', 3), execute('a'), sync, close('P', 'a')),
            { maxLength: 8 },
          ),
          fc.nat(400),
          fc.nat(255),
          fc.boolean(),
        )
        .map(([messages, at, byte, mutate]) => {
          const all = Buffer.concat(messages);
          if (mutate && at < all.length) all[at] = byte;
          return all;
        }),
    );
    const outcome = (input: Uint8Array, cuts: readonly number[]): unknown => {
      const { tap, statements, tracker } = front();
      try {
        feed(tap, Buffer.from(input), cuts);
      } catch (error) {
        assert.ok(error instanceof DecodeError, String(error));
        return 'refused';
      }
      return { statements, busy: tracker.busy, boundary: tap.atBoundary, said: tap.terminated };
    };
    fc.assert(
      fc.property(bytes, fc.array(fc.nat(200), { maxLength: 6 }), (input, at) => {
        const cuts = at.filter((cut) => cut <= input.length).sort((a, b) => a - b);
        assert.deepEqual(outcome(input, cuts), outcome(input, []));
      }),
      { numRuns: 2000 },
    );
  });
});

describe('what the server sends', () => {
  const answer = Buffer.concat([
    encodeMessage(BACKEND.rowDescription, Buffer.alloc(20)),
    encodeMessage(0x44, Buffer.alloc(300, 0x5a)),
    encodeNotice('NOTICE', '00000', 'hello'),
    encodeMessage(BACKEND.commandComplete, cstr('SELECT 1')),
    ready('T'),
  ]);

  test('ReadyForQuery is found, whatever the cut', () => {
    for (let cut = 0; cut <= answer.length; cut++) {
      const tracker = new CommandTracker();
      const tap = new BackendTap(tracker);
      tracker.client(FRONTEND.query, true);
      tap.push(answer.subarray(0, cut));
      assert.equal(tracker.busy, cut < answer.length);
      tap.push(answer.subarray(cut));
      assert.equal(tracker.busy, false);
      assert.equal(tracker.status, 0x54);
      assert.equal(tap.atBoundary, true);
    }
  });

  test('stops at the end of the message that is half sent', () => {
    const boundaries = new Set([0]);
    for (let at = 0; at < answer.length; ) {
      at += 1 + answer.readUInt32BE(at + 1);
      boundaries.add(at);
    }
    for (let cut = 0; cut <= answer.length; cut++) {
      const tap = new BackendTap(new CommandTracker());
      tap.push(answer.subarray(0, cut));
      assert.equal(tap.atBoundary, boundaries.has(cut));
      const expected = [...boundaries].find((at) => at >= cut)!;
      // In one piece, and byte by byte.
      let taken = 0;
      const slow = new BackendTap(new CommandTracker());
      slow.push(answer.subarray(0, cut));
      for (let at = cut; at < answer.length && !slow.atBoundary; at++)
        taken += slow.push(answer.subarray(at, at + 1), 1, true);
      assert.equal(cut + taken, expected);
      assert.equal(cut + tap.push(answer.subarray(cut), answer.length - cut, true), expected);
      assert.equal(tap.atBoundary, true);
    }
  });

  test('refuses what is no PostgreSQL', () => {
    for (const bytes of [
      Buffer.from('HTTP/1.1 200 OK\r\n'),
      Buffer.from('SSH-2.0-OpenSSH_9.2\r\n'),
      encodeMessage(BACKEND.readyForQuery, Buffer.alloc(2)),
    ])
      assert.throws(() => new BackendTap(new CommandTracker()).push(bytes), DecodeError);
  });

  test('random bytes give nothing but DecodeError', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.boolean(), (bytes, stop) => {
        try {
          const taken = new BackendTap(new CommandTracker()).push(bytes, bytes.length, stop);
          assert.ok(taken <= bytes.length);
        } catch (error) {
          assert.ok(error instanceof DecodeError);
        }
      }),
      { numRuns: 2000 },
    );
  });
});
