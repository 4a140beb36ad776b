import assert from 'node:assert/strict';
import { appendFileSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import fc from 'fast-check';
import { auditLine, MAX_LINE_BYTES } from '../../src/audit/audit-line.ts';
import type { AuditQuery, StoredAuditEvent } from '../../src/audit/events.ts';
import { openAuditLog } from '../../src/audit/file-audit-log.ts';
import { FakeClock } from '../fixtures/fake-clock.ts';

const silent = { debug() {}, info() {}, warn() {}, error() {} };
const folder = mkdtempSync(join(tmpdir(), 'nightlatch-audit-fuzz-'));
let folders = 0;
after(() => rmSync(folder, { recursive: true, force: true }));
const stamp = { time: '2026-01-15T09:00:00.000Z', uid: '00000000-0000-4000-8000-000000000000', clusterName: 'c' };

describe('audit log: random input', () => {
  test('any event is one bounded line of JSON without raw control characters', () => {
    fc.assert(
      fc.property(
        fc.dictionary(fc.string(), fc.anything({ withBigInt: true, withDate: true, withTypedArray: true })),
        fc.string({ unit: 'binary' }),
        (fields, text) => {
          const { text: line, bytes, stored } = auditLine({ event: 'exec', code: 'T', text, ...fields }, stamp);
          assert.equal(line.indexOf('\n'), line.length - 1);
          assert.doesNotMatch(line.slice(0, -1), /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/);
          assert.equal(bytes, Buffer.byteLength(line));
          assert.ok(bytes <= MAX_LINE_BYTES);
          const parsed = JSON.parse(line) as StoredAuditEvent;
          assert.deepEqual([parsed.time, parsed.uid, parsed.cluster_name], [stamp.time, stamp.uid, 'c']);
          assert.deepEqual(JSON.parse(JSON.stringify(stored)), parsed);
        },
      ),
      { numRuns: 500 },
    );
  });

  test('long and many texts are cut to fit', () => {
    const long = fc.tuple(
      fc.string({ unit: 'binary', minLength: 1, maxLength: 5 }),
      fc.integer({ min: 1, max: 40_000 }),
    );
    fc.assert(
      fc.property(fc.array(long, { maxLength: 30 }), (texts) => {
        const values = texts.map(([text, times]) => text.repeat(times));
        const { bytes, text } = auditLine({ event: 'exec', code: 'T', values, sid: 's' }, stamp);
        assert.ok(bytes <= MAX_LINE_BYTES);
        assert.equal((JSON.parse(text) as StoredAuditEvent)['sid'], 's');
      }),
      { numRuns: 100 },
    );
  });

  test('queries give what a filter over all events gives', async () => {
    const text = fc.constantFrom('a', 'b', 'alice "x"', 'ü\u0085', '"sid":"a"');
    const event = fc.record({
      event: fc.constantFrom('session.start', 'session.end', 'exec'),
      code: fc.constant('T'),
      sid: text,
      user: text,
      nested: fc.record({ sid: text, event: text }),
      pad: fc.integer({ min: 0, max: 3_000 }).map((length) => 'p'.repeat(length)),
      // Mostly on, sometimes far back, now and then over midnight.
      stepMs: fc.oneof({ weight: 9, arbitrary: fc.nat(60_000) }, fc.integer({ min: -40_000_000, max: 40_000_000 })),
    });
    const filter = fc.record(
      {
        fromMs: fc.nat(80_000_000),
        toMs: fc.nat(80_000_000),
        events: fc.subarray(['session.start', 'exec', 'none']),
        user: text,
        sid: text,
        limit: fc.nat(20),
      },
      { requiredKeys: [] },
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(event, { maxLength: 120 }),
        fc.array(filter, { maxLength: 12 }),
        async (events, filters) => {
          const dir = join(folder, String(folders++));
          const clock = new FakeClock();
          const base = clock.wallMs() - 40_000_000;
          const log = await openAuditLog({ dir, clock, clusterName: 'c', log: silent });
          const written: Promise<StoredAuditEvent>[] = [];
          for (const { stepMs, ...fields } of events) {
            clock.setWall(clock.wallMs() + stepMs);
            written.push(log.emit(fields));
          }
          const all = (await Promise.all(written)).sort((a, b) => (a.time < b.time ? -1 : a.time > b.time ? 1 : 0));
          for (const { fromMs, toMs, ...rest } of filters) {
            const query: AuditQuery = {
              ...rest,
              ...(fromMs === undefined ? {} : { fromMs: base + fromMs }),
              ...(toMs === undefined ? {} : { toMs: base + toMs }),
            };
            const matching = all.filter(
              (one) =>
                Date.parse(one.time) >= (query.fromMs ?? 0) &&
                Date.parse(one.time) < (query.toMs ?? Number.POSITIVE_INFINITY) &&
                (query.events?.includes(one.event) ?? true) &&
                (query.user === undefined || one['user'] === query.user) &&
                (query.sid === undefined || one['sid'] === query.sid),
            );
            const uids = (found: readonly StoredAuditEvent[]) => found.map(({ uid }) => uid);
            const { limit = matching.length } = query;
            assert.deepEqual(uids(log.query(query)), uids(limit === 0 ? [] : matching.slice(-limit)));
            assert.deepEqual(await log.find(query), log.query(query));
            const read: StoredAuditEvent[] = [];
            for await (const one of log.read(query)) read.push(one);
            assert.deepEqual(uids(read), uids(matching));
          }
          await log.close();
        },
      ),
      { numRuns: 60 },
    );
  });

  test('whatever a crash leaves behind the last acknowledged line, that line and all before it stay', async () => {
    const tail = fc.oneof(
      fc.uint8Array({ maxLength: 400 }),
      fc.string().map((text) => Buffer.from(`{"time":"${text}"\n`)),
      fc.nat(9_000).map((size) => new Uint8Array(size)),
    );
    await fc.assert(
      fc.asyncProperty(fc.nat(20), fc.array(tail, { maxLength: 4 }), fc.nat(100), async (count, tails, cut) => {
        const dir = join(folder, String(folders++));
        const options = { dir, clock: new FakeClock(), clusterName: 'c', log: silent };
        const log = await openAuditLog(options);
        for (let n = 0; n < count; n++) await log.emit({ event: 'exec', code: 'T', n });
        await log.close();
        const path = join(dir, '2026-01-15.jsonl');
        const acknowledged = readFileSync(path);
        const junk = Buffer.concat(tails);
        appendFileSync(path, junk);
        truncateSync(path, acknowledged.length + Math.floor((junk.length * cut) / 100));
        const again = await openAuditLog(options);
        await again.emit({ event: 'exec', code: 'T', n: -1 });
        await again.close();
        const now = readFileSync(path);
        assert.deepEqual(now.subarray(0, acknowledged.length), acknowledged);
        for (const line of now.toString().trimEnd().split('\n')) JSON.parse(line);
        writeFileSync(path, '');
      }),
      { numRuns: 100 },
    );
  });
});
