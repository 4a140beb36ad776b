import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { DecodeError } from '../../core/errors.ts';
import { type ClientListener, ClientTap, type SentStatement } from './client-tap.ts';
import { COMMAND } from './commands.ts';
import { encodeError, encodePacket, MAX_PAYLOAD } from './packets.ts';
import { ResponseTracker } from './response-tracker.ts';
import { ServerTap } from './server-tap.ts';

const PASS: ClientListener['decide'] = () => undefined;

/** A payload as packets, from a sequence number on, cut as the protocol demands. */
function packets(sequence: number, payload: Buffer): Buffer {
  const out: Buffer[] = [];
  for (let at = 0; ; at += MAX_PAYLOAD) {
    const part = payload.subarray(at, at + MAX_PAYLOAD);
    out.push(encodePacket(sequence++, part));
    if (part.length < MAX_PAYLOAD) return Buffer.concat(out);
  }
}

/** One exchange: what the client sends, and what the server answers to it, in turns. */
interface Exchange {
  readonly turns: readonly { readonly from: 'client' | 'server'; readonly bytes: Buffer }[];
  /** It counts as input. */
  readonly input: boolean;
}

/** Makes the server's side of the protocol ("Command Phase", "Text Resultset", "Binary Protocol Resultset"). */
class ServerModel {
  readonly #deprecateEof: boolean;
  #sequence = 0;

  constructor(deprecateEof: boolean) {
    this.#deprecateEof = deprecateEof;
  }

  begin(sequence = 0): void {
    this.#sequence = sequence;
  }

  packet(payload: Buffer): Buffer {
    const bytes = packets(this.#sequence + 1, payload);
    this.#sequence += Math.floor(payload.length / MAX_PAYLOAD) + 1;
    return bytes;
  }

  ok(status = 2, header = 0): Buffer {
    // Affected rows and insert id in every length that the encoding has.
    const numbers = [Buffer.from([7]), Buffer.from([0xfe, 1, 2, 3, 4, 5, 6, 7, 8])];
    return this.packet(Buffer.concat([Buffer.from([header]), ...numbers, Buffer.from([status, status >> 8, 0, 0])]));
  }

  eof(status = 2): Buffer {
    return this.#deprecateEof ? this.ok(status, 0xfe) : this.packet(Buffer.from([0xfe, 0, 0, status, status >> 8]));
  }

  error(): Buffer {
    return this.packet(encodeError(1064, '42000', 'You have an error'));
  }

  columns(count: number): Buffer {
    const definition = Buffer.concat([Buffer.from('\x03def\0\0\0\x01c\0\x0c'), Buffer.alloc(12)]);
    return Buffer.concat([
      this.packet(Buffer.from([count])),
      ...Array.from({ length: count }, () => this.packet(definition)),
    ]);
  }

  result(columns: number, rows: readonly Buffer[], status: number, cursor = false): Buffer {
    const parts = [this.columns(columns)];
    if (cursor) parts.push(this.eof(status | 0x40));
    else {
      if (!this.#deprecateEof) parts.push(this.eof(0));
      parts.push(...rows.map((row) => this.packet(row)), this.eof(status));
    }
    return Buffer.concat(parts);
  }

  prepared(id: number, parameters: number, columns: number): Buffer {
    const definition = Buffer.concat([Buffer.from('\x03def\0\0\0\x01c\0\x0c'), Buffer.alloc(12)]);
    const head = Buffer.alloc(12);
    head.writeUInt32LE(id, 1);
    head.writeUInt16LE(columns, 5);
    head.writeUInt16LE(parameters, 7);
    const parts = [this.packet(head)];
    for (const count of [parameters, columns]) {
      for (let i = 0; i < count; i++) parts.push(this.packet(definition));
      if (count > 0 && !this.#deprecateEof) parts.push(this.packet(Buffer.from([0xfe, 0, 0, 2, 0])));
    }
    return Buffer.concat(parts);
  }
}

function command(type: number, rest: Buffer | string = ''): Buffer {
  return packets(0, Buffer.concat([Buffer.from([type]), Buffer.from(rest)]));
}

const row = fc
  .uint8Array({ minLength: 1, maxLength: 40 })
  .map((bytes) => Buffer.from(bytes))
  // No text row begins with these; rows of the binary protocol begin with zero.
  .filter((bytes) => bytes[0] !== 0xff && bytes[0] !== 0xfe);

/** A random exchange, as a function of the model. */
const exchange = fc.oneof(
  fc.constant((model: ServerModel): Exchange => {
    model.begin();
    return {
      turns: [
        { from: 'client', bytes: command(COMMAND.ping) },
        { from: 'server', bytes: model.ok() },
      ],
      input: false,
    };
  }),
  fc.constant(
    (): Exchange => ({ turns: [{ from: 'client', bytes: command(COMMAND.stmtClose, '\x01\0\0\0') }], input: false }),
  ),
  fc.constant(
    (): Exchange => ({
      turns: [{ from: 'client', bytes: command(COMMAND.stmtSendLongData, '\x01\0\0\0\0\0some') }],
      input: true,
    }),
  ),
  fc
    .record({
      sql: fc.string({ minLength: 1, maxLength: 5_000 }).map((text) => `do ${text}`),
      results: fc.array(
        fc.record({ columns: fc.nat({ max: 5 }), rows: fc.array(row, { maxLength: 5 }), fails: fc.boolean() }),
        { minLength: 1, maxLength: 3 },
      ),
    })
    .map(({ sql, results }) => (model: ServerModel): Exchange => {
      model.begin();
      const parts: Buffer[] = [];
      for (const [index, { columns, rows, fails }] of results.entries()) {
        const last = index === results.length - 1;
        if (fails && last) parts.push(model.error());
        else if (columns === 0) parts.push(model.ok(last ? 2 : 10));
        else parts.push(model.result(columns, rows, last ? 2 : 10));
      }
      return {
        turns: [
          { from: 'client', bytes: command(COMMAND.query, sql) },
          { from: 'server', bytes: Buffer.concat(parts) },
        ],
        input: true,
      };
    }),
  fc
    .record({ parameters: fc.nat({ max: 3 }), columns: fc.nat({ max: 3 }), cursor: fc.boolean() })
    .map(({ parameters, columns, cursor }) => (model: ServerModel): Exchange => {
      model.begin();
      const turns: { from: 'client' | 'server'; bytes: Buffer }[] = [
        { from: 'client', bytes: command(COMMAND.stmtPrepare, 'select ?') },
        { from: 'server', bytes: model.prepared(1, parameters, columns) },
      ];
      model.begin();
      turns.push({ from: 'client', bytes: command(COMMAND.stmtExecute, '\x01\0\0\0\x01\x01\0\0\0') });
      if (columns === 0) turns.push({ from: 'server', bytes: model.ok() });
      else {
        const rows = [Buffer.from([0, 0, 5]), Buffer.from([0, 0, 6])];
        turns.push({ from: 'server', bytes: model.result(columns, rows, 2, cursor) });
        if (cursor) {
          model.begin();
          turns.push({ from: 'client', bytes: command(COMMAND.stmtFetch, '\x01\0\0\0\x02\0\0\0') });
          turns.push({
            from: 'server',
            bytes: Buffer.concat([...rows.map((one) => model.packet(one)), model.eof(0xc2)]),
          });
        }
      }
      return { turns, input: true };
    }),
  fc
    .record({ pieces: fc.array(fc.uint8Array({ minLength: 1, maxLength: 50 }), { maxLength: 4 }), fails: fc.boolean() })
    .map(({ pieces, fails }) => (model: ServerModel): Exchange => {
      model.begin();
      const asks = model.packet(Buffer.from('\xfbfile.csv', 'latin1'));
      const file = pieces.map((piece, index) => encodePacket(index + 2, piece));
      file.push(encodePacket(pieces.length + 2, Buffer.alloc(0)));
      model.begin(pieces.length + 2);
      return {
        turns: [
          { from: 'client', bytes: command(COMMAND.query, 'load data local infile "file.csv" into table t') },
          { from: 'server', bytes: asks },
          { from: 'client', bytes: Buffer.concat(file) },
          { from: 'server', bytes: fails ? model.error() : model.ok() },
        ],
        input: true,
      };
    }),
  fc
    .constantFrom(COMMAND.statistics, COMMAND.resetConnection, COMMAND.setOption, COMMAND.stmtReset, COMMAND.initDb)
    .map((type) => (model: ServerModel): Exchange => {
      model.begin();
      const answer =
        type === COMMAND.statistics
          ? model.packet(Buffer.from('Uptime: 7'))
          : type === COMMAND.setOption
            ? model.eof()
            : model.ok();
      return {
        turns: [
          { from: 'client', bytes: command(type, 'abcd') },
          { from: 'server', bytes: answer },
        ],
        input: true,
      };
    }),
  fc.array(fc.nat({ max: 3 }), { maxLength: 3 }).map((fields) => (model: ServerModel): Exchange => {
    model.begin();
    const definition = Buffer.from('\x03def\0\0\0\x01c\0\x0c');
    return {
      turns: [
        { from: 'client', bytes: command(COMMAND.fieldList, 't\0') },
        { from: 'server', bytes: Buffer.concat([...fields.map(() => model.packet(definition)), model.eof()]) },
      ],
      input: true,
    };
  }),
);

function taps(deprecateEof: boolean, listener: ClientListener = { decide: PASS }) {
  const tracker = new ResponseTracker({ deprecateEof });
  return { tracker, front: new ClientTap(tracker, listener), back: new ServerTap(tracker) };
}

/** Cuts bytes where `cuts` says, as fractions. */
function pieces(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const at = [0, ...cuts.map((cut) => Math.floor(cut * bytes.length)), bytes.length].sort((a, b) => a - b);
  return at.slice(1).map((end, index) => Buffer.from(bytes.subarray(at[index], end)));
}

describe('following a MySQL session', () => {
  test('after any conversation, cut anywhere, the taps know where it stands, and every byte goes on', () => {
    fc.assert(
      fc.property(
        fc.array(exchange, { minLength: 1, maxLength: 6 }),
        fc.boolean(),
        fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 6 }),
        (exchanges, deprecateEof, cuts) => {
          const { tracker, front, back } = taps(deprecateEof);
          const model = new ServerModel(deprecateEof);
          for (const make of exchanges) {
            let input = false;
            const { turns, input: counts } = make(model);
            for (const [index, { from, bytes }] of turns.entries()) {
              const forwarded: Buffer[] = [];
              for (const piece of pieces(bytes, cuts)) {
                if (from === 'client') {
                  forwarded.push(Buffer.from(front.push(piece)));
                  input ||= front.input;
                } else {
                  assert.ok(piece.length === 0 || tracker.pending || !back.atBoundary, 'the answer was over too early');
                  assert.equal(back.push(piece), piece.length);
                }
              }
              if (from === 'client') assert.deepEqual(Buffer.concat(forwarded), bytes);
              else assert.ok(back.atBoundary);
              if (index < turns.length - 1 && turns[index + 1]!.from === 'server') assert.ok(tracker.pending);
            }
            assert.equal(tracker.pending, false);
            assert.equal(tracker.busy, false);
            assert.equal(input, counts);
            assert.equal(tracker.nextSequence, 1);
          }
        },
      ),
      { numRuns: 400 },
    );
  });

  test('every split of a conversation gives the same', () => {
    for (const deprecateEof of [true, false]) {
      const model = new ServerModel(deprecateEof);
      model.begin();
      const server = Buffer.concat([
        model.result(2, [Buffer.from('\x01a\x01b'), Buffer.from([0xfb, 0xfb])], 10),
        model.ok(10),
        model.result(1, [], 2),
      ]);
      const lastPacket = deprecateEof ? 4 + 15 : 4 + 5;
      for (let cut = 0; cut <= server.length; cut++) {
        const { tracker, front, back } = taps(deprecateEof);
        front.push(command(COMMAND.query, 'select 1; do 1; select 2'));
        back.push(server.subarray(0, cut));
        if (cut <= server.length - lastPacket) assert.ok(tracker.busy, `cut at ${cut}`);
        back.push(server.subarray(cut));
        assert.ok(back.atBoundary);
        assert.equal(tracker.busy, false);
      }
    }
  });

  test('stopping at boundaries goes packet by packet, over packets of 16 MiB too', () => {
    const model = new ServerModel(true);
    model.begin();
    const big = Buffer.alloc(MAX_PAYLOAD + 10, 'x');
    const exact = Buffer.alloc(MAX_PAYLOAD, 'y');
    const rows = [Buffer.from('\x01a'), big, exact];
    const bytes = model.result(1, rows, 2);
    const { tracker, front, back } = taps(true);
    front.push(command(COMMAND.query, 'select big'));
    let at = 0;
    let count = 0;
    while (at < bytes.length) {
      at = back.push(bytes, at, bytes.length, true);
      assert.ok(back.atBoundary);
      count += 1;
    }
    assert.equal(count, 1 + 1 + rows.length + 1);
    assert.equal(tracker.busy, false);
  });

  test('a statement of more than 16 MiB passes, and is audited cut', () => {
    const seen: SentStatement[] = [];
    const { tracker, front, back } = taps(true, { decide: PASS, statement: (one) => seen.push(one) });
    const text = `select '${'ä'.repeat(9_000_000)}'`;
    const bytes = command(COMMAND.query, text);
    const forwarded: Buffer[] = [];
    for (let at = 0; at < bytes.length; at += 1 << 20)
      forwarded.push(Buffer.from(front.push(Buffer.from(bytes.subarray(at, at + (1 << 20))))));
    assert.ok(Buffer.concat(forwarded).equals(bytes));
    assert.ok(tracker.busy);
    assert.equal(tracker.nextSequence, 2, 'the statement took two packets');
    assert.equal(seen.length, 1);
    assert.ok(seen[0]!.truncated);
    assert.ok(text.startsWith(seen[0]!.text));
    assert.ok(seen[0]!.text.length > 16_000);
    back.push(encodePacket(2, Buffer.from([0, 0, 0, 2, 0, 0, 0])));
    assert.equal(tracker.busy, false);
  });

  test('prepared statements are audited with their text and the number of their parameters', () => {
    const seen: SentStatement[] = [];
    const { front, back } = taps(true, { decide: PASS, statement: (one) => seen.push(one) });
    const model = new ServerModel(true);
    const long = `select ${'1,'.repeat(30_000)} ?`;
    for (const [index, sql] of ['select ? + ?', long].entries()) {
      model.begin();
      front.push(command(COMMAND.stmtPrepare, sql));
      back.push(model.prepared(index + 1, 2 - index, 1));
    }
    for (const id of [1, 2, 9]) {
      model.begin();
      front.push(command(COMMAND.stmtExecute, Buffer.from([id, 0, 0, 0, 0, 1, 0, 0, 0])));
      back.push(model.ok());
    }
    assert.deepEqual(seen[0], { text: 'select ? + ?', truncated: false, parameterCount: 2, statementId: 1 });
    assert.equal(seen[1]!.parameterCount, 1);
    assert.ok(seen[1]!.truncated && long.startsWith(seen[1]!.text));
    assert.deepEqual(seen[2], { text: '', truncated: true, parameterCount: 0, statementId: 9 });
    // MariaDB executes what was prepared last before it has been told its id.
    front.push(
      Buffer.concat([command(COMMAND.stmtPrepare, 'do 7'), command(COMMAND.stmtExecute, '\xff\xff\xff\xff\0')]),
    );
    front.push(command(COMMAND.stmtExecute, Buffer.from([255, 255, 255, 255, 0, 1, 0, 0, 0])));
    assert.equal(seen.at(-1)!.text, 'do 7');
  });

  test('a refused command is answered in its turn', () => {
    const refuse = { code: 1044, sqlState: '42000', text: 'no' };
    const { tracker, front, back } = taps(true, {
      decide: (type) => (type === COMMAND.initDb ? { refuse } : undefined),
    });
    const sent = front.push(Buffer.concat([command(COMMAND.query, 'do 1'), command(COMMAND.initDb, 'secret')]));
    assert.deepEqual(sent, Buffer.concat([command(COMMAND.query, 'do 1'), command(COMMAND.ping)]));
    assert.ok(tracker.rewrites);
    const rewrite = () => tracker.head?.rewrite;
    assert.equal(rewrite(), undefined);
    const model = new ServerModel(true);
    model.begin();
    back.push(model.ok());
    const answer = rewrite()?.(Buffer.alloc(0));
    assert.deepEqual(answer, encodePacket(1, encodeError(1044, '42000', 'no')));
    model.begin();
    back.push(model.ok());
    assert.equal(tracker.rewrites, false);
    assert.equal(tracker.pending, false);
  });

  test('what cannot be is an error: answers nobody asked for, packets out of order, commands behind a file', () => {
    const ok = encodePacket(1, Buffer.from([0, 0, 0, 2, 0, 0, 0]));
    assert.throws(() => taps(true).back.push(ok), DecodeError);
    assert.throws(() => taps(true).front.push(encodePacket(3, Buffer.from([COMMAND.ping]))), DecodeError);
    assert.throws(() => taps(true).front.push(encodePacket(0, Buffer.alloc(0))), DecodeError);
    assert.throws(() => taps(true).front.push(encodePacket(0, Buffer.alloc(5_000, COMMAND.initDb))), DecodeError);
    const { front, back } = taps(true);
    front.push(Buffer.concat([command(COMMAND.query, 'load data'), command(COMMAND.query, 'select 1')]));
    assert.throws(() => back.push(encodePacket(1, Buffer.from('\xfbfile', 'latin1'))), DecodeError);
    // The last word of a server that ends the connection is nothing to complain of.
    taps(true).back.push(encodePacket(0, encodeError(1053, '08S01', 'Server shutdown in progress')));
  });

  test('random bytes are a DecodeError at most, on either side', () => {
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 300 }),
      fc
        .array(fc.tuple(fc.integer({ min: 0, max: 255 }), fc.uint8Array({ maxLength: 30 })), { maxLength: 20 })
        .map((list) => Buffer.concat(list.map(([first, rest], at) => encodePacket(at, Buffer.from([first, ...rest]))))),
    );
    fc.assert(
      fc.property(bytes, bytes, fc.boolean(), (fromClient, fromServer, deprecateEof) => {
        const { front, back } = taps(deprecateEof, { decide: PASS, statement: () => undefined });
        try {
          front.push(command(COMMAND.query, 'select 1'));
          back.push(Buffer.from(fromServer));
          front.push(Buffer.from(fromClient));
          back.push(Buffer.from(fromServer));
        } catch (error) {
          assert.ok(error instanceof DecodeError, String(error));
        }
      }),
      { numRuns: 2_000 },
    );
  });
});
