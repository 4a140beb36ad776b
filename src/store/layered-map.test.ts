import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { LayeredMap } from './layered-map.ts';

describe('layered map', () => {
  test('is what a plain map is, and copies leave it as it was', () => {
    const key = fc.integer({ min: 0, max: 150 }).map((n) => `k${n}`);
    const change = fc.tuple(key, fc.option(fc.integer(), { nil: undefined }));
    fc.assert(
      fc.property(fc.array(fc.tuple(key, fc.integer())), fc.array(change, { maxLength: 300 }), (start, changes) => {
        const plain = new Map(start);
        let layered = new LayeredMap(new Map(start));
        for (const [name, value] of changes) {
          const before = layered;
          const entries = changes.length < 20 ? [...before] : undefined;
          layered = before.with(name, value);
          if (entries !== undefined) assert.deepEqual([...before], entries);
          if (value === undefined) plain.delete(name);
          else plain.set(name, value);
          assert.equal(layered.get(name), value);
          assert.equal(layered.has(name), value !== undefined);
          assert.equal(layered.size, plain.size);
        }
        assert.deepEqual(new Map(layered), plain);
        assert.deepEqual([...layered.keys()].sort(), [...plain.keys()].sort());
        assert.equal([...layered.values()].length, plain.size);
        let seen = 0;
        layered.forEach((value, name, map) => {
          seen += 1;
          assert.equal(map.get(name), value);
        });
        assert.equal(seen, plain.size);
      }),
      { numRuns: 100 },
    );
  });
});
