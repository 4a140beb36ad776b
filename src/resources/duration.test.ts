import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { formatDuration, normalizeDuration, parseDuration } from './duration.ts';

describe('parseDuration', () => {
  const valid: [string, number, string][] = [
    ['15m', 900_000, '15m0s'],
    ['1h', 3_600_000, '1h0m0s'],
    ['1h30m', 5_400_000, '1h30m0s'],
    ['1.5h', 5_400_000, '1h30m0s'],
    ['.5s', 500, '500ms'],
    ['1.s', 1000, '1s'],
    ['1d', 86_400_000, '24h0m0s'],
    ['1mo', 2_592_000_000, '720h0m0s'],
    ['1y', 31_536_000_000, '8760h0m0s'],
    ['1y1mo1d', 34_214_400_000, '9504h0m0s'],
    ['1m1mo', 2_592_060_000, '720h1m0s'],
    ['500ms', 500, '500ms'],
    ['1500ms', 1500, '1.5s'],
    ['1us', 0.001, '1µs'],
    ['1µs', 0.001, '1µs'],
    ['1μs', 0.001, '1µs'],
    ['1ns', 0.000001, '1ns'],
    ['1.9ns', 0.000001, '1ns'],
    ['+5m', 300_000, '5m0s'],
    ['90s', 90_000, '1m30s'],
    ['0', 0, '0s'],
    ['0s', 0, '0s'],
    ['-0', 0, '0s'],
    ['never', 0, 'never'],
    ['2562047h47m16.854775807s', 9_223_372_036_854.775, '2562047h47m16.854775807s'],
  ];
  for (const [text, ms, shown] of valid) {
    test(text, () => {
      assert.equal(parseDuration(text), ms);
      assert.equal(normalizeDuration(text), shown);
    });
  }

  const invalid: [string, string][] = [
    ['15', 'time: missing unit in duration "15"'],
    ['1h15', 'time: missing unit in duration "1h15"'],
    ['1.2.3s', 'time: missing unit in duration "1.2.3s"'],
    ['-15', 'time: missing unit in duration "-15"'],
    ['', 'time: invalid duration ""'],
    ['x', 'time: invalid duration "x"'],
    ['.', 'time: invalid duration "."'],
    ['-', 'time: invalid duration "-"'],
    ['+-1s', 'time: invalid duration "+-1s"'],
    [' 1s', 'time: invalid duration " 1s"'],
    ['1s ', 'time: unknown unit "s " in duration "1s "'],
    ['1q', 'time: unknown unit "q" in duration "1q"'],
    ['1w', 'time: unknown unit "w" in duration "1w"'],
    ['2562047h47m16.854775808s', 'time: invalid duration "2562047h47m16.854775808s"'],
    ['-5m', 'time: negative duration "-5m"'],
    ['Never', 'time: invalid duration "Never"'],
  ];
  for (const [text, message] of invalid) {
    test(`refused: ${JSON.stringify(text)}`, () => {
      assert.throws(() => parseDuration(text), { code: 'bad_parameter', message });
    });
  }

  test('a text without end is refused at once', () => {
    assert.throws(() => parseDuration('1'.repeat(10_000_000)), { code: 'bad_parameter' });
  });
});

describe('durations, by property', () => {
  const nanoseconds = fc.bigInt({ min: 0n, max: 2n ** 63n - 1n });

  test('what is printed is read as the same duration', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 43 }), (ms) => {
        assert.equal(parseDuration(formatDuration(ms)), ms);
      }),
    );
    fc.assert(
      fc.property(fc.double({ min: 0, max: 1e6, noNaN: true }), (ms) => {
        assert.ok(Math.abs(parseDuration(formatDuration(ms)) - ms) <= 0.000_001);
      }),
    );
  });

  test('the stored form loses nothing and is stable', () => {
    fc.assert(
      fc.property(nanoseconds, (ns) => {
        const stored = normalizeDuration(`${ns}ns`);
        assert.equal(normalizeDuration(stored), stored);
        assert.equal(parseDuration(stored), parseDuration(`${ns}ns`));
      }),
    );
  });

  test('compounds add up, in any order of the units', () => {
    const unit = fc.constantFrom('ns', 'us', 'ms', 's', 'm', 'h', 'd', 'mo', 'y');
    const term = fc.tuple(fc.integer({ min: 0, max: 20 }), unit).map(([count, name]) => `${count}${name}`);
    fc.assert(
      fc.property(fc.array(term, { minLength: 1, maxLength: 5 }), (terms) => {
        const whole = normalizeDuration(terms.join(''));
        assert.equal(normalizeDuration(terms.toReversed().join('')), whole);
        const sum = terms.reduce((total, one) => total + parseDuration(one), 0);
        assert.ok(Math.abs(parseDuration(whole) - sum) <= 0.001);
      }),
    );
  });

  test('any text is either a duration or refused with a reason', () => {
    const text = fc.oneof(fc.string(), fc.stringMatching(/^[-+]?[0-9.]{0,6}(ns|us|m|h|q|mo|)[0-9.]{0,4}(s|)$/));
    fc.assert(
      fc.property(text, (candidate) => {
        try {
          const ms = parseDuration(candidate);
          assert.ok(ms >= 0 && Number.isFinite(ms));
        } catch (error) {
          assert.match((error as Error).message, /^time: /);
        }
      }),
      { numRuns: 2000 },
    );
  });
});
