import assert from 'node:assert/strict';
import {
  appendFileSync,
  constants,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { FakeClock } from '../../test/fixtures/fake-clock.ts';
import type { Logger } from '../core/logger.ts';
import { Secret } from '../core/secret.ts';
import type { AuditFs } from './audit-files.ts';
import { MAX_LINE_BYTES } from './audit-line.ts';
import type { StoredAuditEvent } from './events.ts';
import { type AuditLogOptions, openAuditLog } from './file-audit-log.ts';

const silent: Logger = { debug() {}, info() {}, warn() {}, error() {} };
const folders: string[] = [];
function folder(): string {
  const made = mkdtempSync(join(tmpdir(), 'nightlatch-audit-'));
  folders.push(made);
  return join(made, 'log');
}
after(() => {
  for (const each of folders) rmSync(each, { recursive: true, force: true });
});

const openLog = (dir: string, options: Partial<AuditLogOptions> = {}) =>
  openAuditLog({ dir, clock: new FakeClock(), clusterName: 'test', log: silent, ...options });
const unavailable = { name: 'NightlatchError', code: 'audit_unavailable' };
const start = (n: number, more = {}) => ({ event: 'session.start', code: 'T2000I', sid: `s${n}`, n, ...more });
const numbers = (events: readonly StoredAuditEvent[]) => events.map((event) => event['n']);
const lines = (path: string): StoredAuditEvent[] => {
  const text = readFileSync(path, 'utf8');
  assert.ok(text === '' || text.endsWith('\n'), 'the file ends in a whole line');
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as StoredAuditEvent);
};
const DAY = '2026-01-15.jsonl';

describe('file audit log: what is written', () => {
  test('what nobody waits for is written with the next that somebody waits for, after a moment, or at the close', async () => {
    const dir = folder();
    const clock = new FakeClock();
    const log = await openLog(dir, { clock });
    const path = join(dir, DAY);
    let written = 0;
    const soon = (n: number) => log.emit(start(n), 'soon').then(() => written++);
    const waiting = [soon(1)];
    await new Promise(setImmediate);
    assert.deepEqual(lines(path), []);
    await log.emit(start(2));
    assert.deepEqual(numbers(lines(path)), [1, 2]);
    waiting.push(soon(3));
    await new Promise(setImmediate);
    assert.equal(written, 1);
    await clock.advance(10);
    await Promise.all(waiting);
    assert.deepEqual(numbers(lines(path)), [1, 2, 3]);
    // While a write is under way.
    const now = log.emit(start(4));
    await Promise.resolve();
    waiting.push(soon(5));
    await now;
    await clock.advance(10);
    await Promise.all(waiting);
    assert.deepEqual(numbers(lines(path)), [1, 2, 3, 4, 5]);
    waiting.push(soon(6));
    await log.close();
    await Promise.all(waiting);
    assert.deepEqual(numbers(lines(path)), [1, 2, 3, 4, 5, 6]);
    assert.equal(clock.timers, 0);
  });

  test('an event is on disk when emit resolves, with time, uid and cluster', async () => {
    const dir = folder();
    const log = await openLog(dir);
    const stored = await log.emit(start(1, { user: 'alice', time: 'forged', uid: 'forged', cluster_name: 'forged' }));
    const [line] = lines(join(dir, DAY));
    assert.deepEqual(line, stored);
    assert.equal(line?.time, '2026-01-15T09:00:00.000Z');
    assert.equal(line?.cluster_name, 'test');
    assert.match(line!.uid, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    assert.equal(statSync(join(dir, DAY)).mode & 0o777, 0o600);
    assert.equal(statSync(dir).mode & 0o777, 0o700);
    await log.close();
    assert.equal(log.healthy, false);
    await assert.rejects(log.emit(start(2)), unavailable);
  });

  test('an event is on disk when its write returns: the file is open for that', async () => {
    const dir = folder();
    const log = await openLog(dir);
    await log.emit(start(1));
    const descriptors = readdirSync('/proc/self/fd').filter((fd) => {
      try {
        return readlinkSync(`/proc/self/fd/${fd}`) === join(dir, DAY);
      } catch {
        return false;
      }
    });
    assert.equal(descriptors.length, 1);
    const flags = /^flags:\s+([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${descriptors[0]}`, 'utf8'));
    assert.notEqual(Number.parseInt(flags![1]!, 8) & constants.O_DSYNC, 0);
    await log.close();
  });

  test('what is emitted meanwhile goes into one write, in the order of the calls', async () => {
    const dir = folder();
    let writes = 0;
    const fs = faulty({ written: () => void writes++ });
    const log = await openLog(dir, { fs });
    const told: unknown[] = [];
    const stop = log.onEvent((event) => told.push(event['n']));
    log.onEvent(() => {
      throw new Error('a listener that fails');
    });
    const done: number[] = [];
    await Promise.all(Array.from({ length: 1_000 }, (_, n) => log.emit(start(n)).then(() => done.push(n))));
    const expected = Array.from({ length: 1_000 }, (_, n) => n);
    assert.deepEqual(numbers(lines(join(dir, DAY))), expected);
    assert.deepEqual(done, expected);
    assert.deepEqual(told, expected);
    assert.ok(writes <= 2, `${writes} writes`);
    stop();
    const pending = log.emit(start(1_000));
    await log.close();
    await pending;
    assert.equal(told.length, 1_000);
  });

  test('a file a UTC day', async () => {
    const dir = folder();
    const clock = new FakeClock(Date.UTC(2026, 0, 15, 23, 59, 59, 999));
    const log = await openLog(dir, { clock });
    const first = log.emit(start(1));
    clock.setWall(Date.UTC(2026, 0, 16));
    await Promise.all([first, log.emit(start(2))]);
    assert.deepEqual(numbers(lines(join(dir, DAY))), [1]);
    assert.deepEqual(numbers(lines(join(dir, '2026-01-16.jsonl'))), [2]);
    assert.deepEqual(numbers(log.query({})), [1, 2]);
    await log.close();
  });

  test('values that are no JSON, control characters, and no more than one line an event', async () => {
    const dir = folder();
    const log = await openLog(dir);
    const cycle: Record<string, unknown> = { a: 1 };
    cycle['self'] = cycle;
    await log.emit(
      start(1, { big: 10n ** 20n, at: new Date(0), secret: new Secret('pw'), cycle, error: new Error('e') }),
    );
    await log.emit(
      start(2, {
        secret: new Secret('pw'),
        nan: Number.NaN,
        none: undefined,
        text: '\u001b[2J\n\u009b2J\u2028\u007f"',
      }),
    );
    const raw = readFileSync(join(dir, DAY), 'utf8');
    assert.doesNotMatch(raw, /pw|[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u2028]/);
    const [first, second] = lines(join(dir, DAY));
    assert.equal(first?.['big'], '100000000000000000000');
    assert.equal(first?.['secret'], '[redacted]');
    assert.deepEqual(first?.['cycle'], { a: 1, self: '[circular]' });
    assert.equal(first?.['at'], '1970-01-01T00:00:00.000Z');
    assert.equal(second?.['text'], '\u001b[2J\n\u009b2J\u2028\u007f"');
    assert.deepEqual(numbers(log.query({ sid: 's2' })), [2]);
    await log.close();
  });

  test('a line is bounded: long texts are cut with a mark, floods of fields down to what identifies the event', async () => {
    const dir = folder();
    const log = await openLog(dir);
    const query = `SELECT ${'ä'.repeat(200_000)}`;
    await log.emit(start(1, { query }));
    await log.emit(start(2, { params: Array.from({ length: 50 }, () => 'x'.repeat(10_000)) }));
    await log.emit(
      start(3, Object.fromEntries(Array.from({ length: 9_000 }, (_, n) => [`field${n}`, 'x'.repeat(500)]))),
    );
    await log.emit(start(4, { note: '\u0001'.repeat(30_000) }));
    for (const line of readFileSync(join(dir, DAY), 'utf8').split('\n'))
      assert.ok(Buffer.byteLength(line) < MAX_LINE_BYTES, `${Buffer.byteLength(line)}`);
    const [first, second, third, fourth] = lines(join(dir, DAY));
    assert.match(first?.['query'] as string, /^SELECT ä+… \[truncated, 200007 characters\]$/);
    assert.equal((second!['params'] as string[]).length, 50);
    for (const each of [first, second, third, fourth]) assert.equal(each?.['truncated'], true);
    assert.deepEqual([third?.event, third?.['sid'], third?.cluster_name], ['session.start', 's3', 'test']);
    await log.close();
  });

  test('the queue is bounded', async () => {
    const log = await openLog(folder(), { maxQueueBytes: 1_000 });
    const results = await Promise.allSettled(Array.from({ length: 100 }, (_, n) => log.emit(start(n))));
    assert.ok(results.filter((result) => result.status === 'fulfilled').length > 0);
    const refused = results.find((result) => result.status === 'rejected');
    assert.equal(refused?.reason.code, 'audit_unavailable');
    await log.emit(start(100));
    await log.close();
  });
});

/** The file system with faults: a hook runs before the call (`written` after it) and may throw or do part of it. */
function faulty(hooks: {
  open?: (path: string) => void;
  write?: (bytes: Buffer, offset: number) => number | undefined;
  written?: () => void | Promise<void>;
  truncate?: () => void;
}): AuditFs {
  return {
    async open(path, flags, mode) {
      hooks.open?.(path);
      const handle = await open(path, flags, mode);
      return new Proxy(handle, {
        get(target, name) {
          if (name === 'write')
            return async (bytes: Buffer, offset: number, length: number) => {
              const result = await target.write(bytes, offset, hooks.write?.(bytes, offset) ?? length);
              await hooks.written?.();
              return result;
            };
          if (name === 'truncate')
            return async (size: number) => {
              hooks.truncate?.();
              return target.truncate(size);
            };
          const value: unknown = Reflect.get(target, name);
          return typeof value === 'function' ? value.bind(target) : value;
        },
      });
    },
  };
}

const errno = (code: string) => Object.assign(new Error(`${code}: injected`), { code });

describe('file audit log: faults', () => {
  test('a failed write rejects what it held, leaves whole lines, and the next emit recovers', async () => {
    for (const cut of ['truncate works', 'truncate fails'] as const) {
      const dir = folder();
      let full = false;
      let calls = 0;
      const fs = faulty({
        write: () => {
          if (!full) return undefined;
          if (calls++ === 0) return 100; // Part of a line makes it.
          throw errno('ENOSPC');
        },
        truncate: () => {
          if (full && cut === 'truncate fails') throw errno('EIO');
        },
      });
      const log = await openLog(dir, { fs });
      await log.emit(start(1));
      assert.equal(log.healthy, true);
      full = true;
      const results = await Promise.allSettled([log.emit(start(2)), log.emit(start(3))]);
      assert.deepEqual(
        results.map((result) => result.status === 'rejected' && result.reason.code),
        ['audit_unavailable', 'audit_unavailable'],
      );
      assert.equal(log.healthy, false);
      assert.deepEqual(numbers(log.query({})), [1]);
      full = false;
      await log.emit(start(4));
      assert.equal(log.healthy, true);
      assert.deepEqual(numbers(lines(join(dir, DAY))), [1, 4]);
      await log.close();
    }
  });

  test('a write that fails after its bytes are there is a failure: nothing of it stays', async () => {
    const dir = folder();
    let fail = true;
    const fs = faulty({
      written: () => {
        if (fail) throw errno('EIO');
      },
    });
    const log = await openLog(dir, { fs });
    await assert.rejects(log.emit(start(1)), { ...unavailable, message: /EIO/ });
    assert.deepEqual(lines(join(dir, DAY)), []);
    fail = false;
    await log.emit(start(2));
    assert.deepEqual(numbers(lines(join(dir, DAY))), [2]);
    await log.close();
  });

  test('a write that does not come to an end makes the log unhealthy until it does', async () => {
    const clock = new FakeClock();
    let release = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const log = await openLog(folder(), { clock, fs: faulty({ written: () => held }) });
    const pending = log.emit(start(1));
    while (clock.timers === 0) await new Promise((resolve) => setImmediate(resolve));
    await clock.advance(5_000);
    assert.equal(log.healthy, false);
    release();
    await pending;
    assert.equal(log.healthy, true);
    assert.equal(clock.timers, 0);
    await log.close();
  });

  test('the directory gone: refused until it is back; a file moved away: a new one', async () => {
    const dir = folder();
    const log = await openLog(dir);
    await log.emit(start(1));
    renameSync(dir, `${dir}-away`);
    await assert.rejects(log.emit(start(2)), unavailable);
    assert.equal(log.healthy, false);
    assert.equal(existsSync(dir), false);
    renameSync(`${dir}-away`, dir);
    await log.emit(start(3));
    assert.equal(log.healthy, true);
    renameSync(join(dir, DAY), join(dir, 'moved'));
    await log.emit(start(4));
    assert.deepEqual(numbers(lines(join(dir, DAY))), [4]);
    assert.deepEqual(numbers(lines(join(dir, 'moved'))), [1, 3]);
    rmSync(join(dir, DAY));
    await log.emit(start(5));
    assert.deepEqual(numbers(lines(join(dir, DAY))), [5]);
    await log.close();
  });

  test('a directory that cannot be made or a file that cannot be opened stops the opening', async () => {
    await assert.rejects(openLog('/dev/null/log'), unavailable);
    const fs = faulty({
      open: () => {
        throw errno('EROFS');
      },
    });
    await assert.rejects(openLog(folder(), { fs }), { ...unavailable, message: /EROFS/ });
  });

  test('what a crash leaves at the end is repaired at the next opening, whatever it is', async () => {
    const whole = Array.from(
      { length: 5 },
      (_, n) => `${JSON.stringify({ time: `2026-01-15T08:00:00.00${n}Z`, ...start(n) })}\n`,
    );
    const ends: [string, Buffer, number[]][] = [
      ['cut in a line', Buffer.from(whole.join('').slice(0, -7)), [0, 1, 2, 3]],
      ['cut before the newline', Buffer.from(whole.join('').slice(0, -1)), [0, 1, 2, 3]],
      ['zeros', Buffer.concat([Buffer.from(whole.join('')), Buffer.alloc(4096)]), [0, 1, 2, 3, 4]],
      ['only zeros', Buffer.alloc(10_000), []],
      [
        'zeros in front of a line',
        Buffer.concat([Buffer.from(whole[0]!), Buffer.alloc(100), Buffer.from(`\n${whole[1]}`)]),
        [0, 1],
      ],
      ['half a line', Buffer.from('{"ti'), []],
      ['a newline', Buffer.from(`${whole[0]}\n`), [0]],
    ];
    for (const [what, bytes, kept] of ends) {
      const dir = folder();
      await (await openLog(dir)).close();
      writeFileSync(join(dir, DAY), bytes);
      const log = await openLog(dir);
      assert.deepEqual(numbers(lines(join(dir, DAY))), kept, what);
      await log.emit(start(9));
      assert.deepEqual(numbers(lines(join(dir, DAY))), [...kept, 9], what);
      assert.deepEqual(numbers(log.query({})), [...kept, 9], what);
      await log.close();
    }
  });

  test('the file of the day before, cut short when the last run ended, is repaired as well', async () => {
    const dir = folder();
    const first = await openLog(dir);
    await first.emit(start(1));
    await first.close();
    appendFileSync(join(dir, DAY), '{"time":"2026-01-15T');
    const log = await openLog(dir, { clock: new FakeClock(Date.UTC(2026, 0, 17)) });
    assert.deepEqual(numbers(lines(join(dir, DAY))), [1]);
    await log.close();
    rmSync(dir, { recursive: true });
    assert.throws(() => log.query({}), { ...unavailable, message: /cannot be read/ });
    await assert.rejects(log.find({}), unavailable);
    await assert.rejects(log.read({})[Symbol.asyncIterator]().next(), unavailable);
  });

  test('cut at every byte of the last lines, it opens with what was whole', async () => {
    const dir = folder();
    const first = await openLog(dir);
    for (let n = 0; n < 3; n++) await first.emit(start(n));
    await first.close();
    const bytes = readFileSync(join(dir, DAY));
    for (let length = 0; length <= bytes.length; length += 7) {
      writeFileSync(join(dir, DAY), bytes.subarray(0, length));
      await (await openLog(dir)).close();
      const whole = bytes.subarray(0, length).filter((byte) => byte === 0x0a).length;
      assert.deepEqual(numbers(lines(join(dir, DAY))), [0, 1, 2].slice(0, whole));
    }
  });
});

describe('file audit log: query', () => {
  test('by time, event, user, session and limit', async () => {
    const dir = folder();
    const clock = new FakeClock(Date.UTC(2026, 0, 15, 23, 0));
    const log = await openLog(dir, { clock });
    const t0 = clock.wallMs();
    for (let n = 0; n < 200; n++) {
      const event = n % 2 === 0 ? 'session.start' : 'session.end';
      await log.emit({
        event,
        code: 'T',
        n,
        sid: `s${n % 10}`,
        user: n % 3 === 0 ? 'bob "b" \u009b' : 'alice',
        pad: 'x'.repeat(n * 20),
      });
      clock.setWall(clock.wallMs() + 60_000);
    }
    assert.equal(readdirSync(dir).length, 2);
    const all = Array.from({ length: 200 }, (_, n) => n);
    assert.deepEqual(numbers(log.query({})), all);
    for (const [from, to] of [
      [0, 200],
      [0, 1],
      [59, 61],
      [60, 60],
      [61, 199],
      [-5, 3],
      [150, 999],
    ] as const) {
      const filter = { fromMs: t0 + from * 60_000, toMs: t0 + to * 60_000 };
      assert.deepEqual(
        numbers(log.query(filter)),
        all.filter((n) => n >= from && n < to),
        `${from} to ${to}`,
      );
      const read: StoredAuditEvent[] = [];
      for await (const event of log.read({ ...filter, events: ['session.end', 'exec'] })) read.push(event);
      assert.deepEqual(
        numbers(read),
        all.filter((n) => n >= from && n < to && n % 2 === 1),
      );
    }
    assert.deepEqual(
      numbers(log.query({ events: ['session.end'], sid: 's3' })),
      all.filter((n) => n % 10 === 3),
    );
    assert.deepEqual(numbers(log.query({ events: ['session.end'], sid: 's2' })), []);
    assert.deepEqual(
      numbers(log.query({ user: 'bob "b" \u009b' })),
      all.filter((n) => n % 3 === 0),
    );
    assert.deepEqual(numbers(log.query({ user: 'bob' })), []);
    assert.deepEqual(numbers(log.query({ limit: 3 })), [197, 198, 199]);
    assert.deepEqual(numbers(log.query({ limit: 141 })), all.slice(59));
    assert.deepEqual(numbers(log.query({ limit: 2, events: ['session.start'], toMs: t0 + 61 * 60_000 })), [58, 60]);
    assert.deepEqual(log.query({ limit: 0 }), []);
    for (const filter of [{ limit: 141 }, { sid: 's3' }, { user: 'alice', limit: 7 }, { fromMs: t0 + 61 * 60_000 }])
      assert.deepEqual(await log.find(filter), log.query(filter));
    await log.close();
  });

  test('a date that is set back: nothing is lost, files stay in order of time, so do answers', async () => {
    const dir = folder();
    const clock = new FakeClock(Date.UTC(2026, 0, 15, 12, 0));
    const log = await openLog(dir, { clock });
    const t = clock.wallMs();
    const emitAt = (n: number, wallMs: number) => {
      clock.setWall(wallMs);
      return log.emit(start(n));
    };
    await emitAt(0, t);
    assert.equal((await emitAt(1, t - 500)).time, new Date(t).toISOString()); // NTP: held still.
    await emitAt(2, t - 3_600_000);
    await emitAt(3, t - 1_800_000);
    await emitAt(4, t + 1_000);
    await emitAt(5, t - 86_400_000);
    await emitAt(6, t + 2_000);
    assert.deepEqual(numbers(log.query({})), [5, 2, 3, 0, 1, 4, 6]);
    assert.deepEqual(numbers(log.query({ limit: 3 })), [1, 4, 6]);
    assert.deepEqual(numbers(log.query({ fromMs: t - 3_600_000, toMs: t })), [2, 3]);
    const read: StoredAuditEvent[] = [];
    for await (const event of log.read({})) read.push(event);
    assert.deepEqual(numbers(read), [5, 2, 3, 0, 1, 4, 6]);
    for (const name of readdirSync(dir)) {
      const times = lines(join(dir, name)).map((line) => line.time);
      assert.deepEqual(times, [...times].sort(), name);
    }
    await log.close();
    const again = await openLog(dir, { clock });
    await again.emit(start(7));
    assert.deepEqual(numbers(again.query({ limit: 1 })), [7]);
    await again.close();
  });

  test('lines that somebody else put into a file are stepped over', async () => {
    const dir = folder();
    const log = await openLog(dir);
    await log.emit(start(1));
    await log.close();
    appendFileSync(join(dir, DAY), 'not JSON\n{"time":"2026-01-15T10:00:00Z","event":"foreign","n":2}\n');
    writeFileSync(join(dir, 'notes.txt'), 'x');
    writeFileSync(join(dir, '2026-01-14.jsonl'), 'garbage without a newline');
    const again = await openLog(dir, { clock: new FakeClock(Date.UTC(2026, 0, 16)) });
    assert.deepEqual(numbers(again.query({})), [1, 2]);
    assert.deepEqual(numbers(again.query({ fromMs: Date.UTC(2026, 0, 15, 10) })), [2]);
    await again.close();
  });
});
