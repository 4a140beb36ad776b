import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseAddress } from './address.ts';
import { formatAge, formatPairs, formatTable, formatTime, printable, quoted } from './output.ts';

test('a table has a header, dashes as wide as each column, and one space between', async () => {
  assert.equal(
    await formatTable(
      ['Node Name', 'Address', 'Labels'],
      [
        ['web', '10.0.0.1:22', 'env=prod'],
        ['漢字', '', ''],
      ],
    ),
    'Node Name Address     Labels\n--------- ----------- --------\nweb       10.0.0.1:22 env=prod\n漢字\n',
  );
  assert.equal(await formatTable(['A', 'B'], []), 'A B\n- -\n');
});

test('nothing from elsewhere has power over the terminal', async () => {
  assert.equal(printable('a\u001b[2Jb\u0007\u009bc\u202ed\r\n'), 'a\\u001b[2Jb\\u0007\\u009bc\\u202ed\\u000d\\u000a');
  assert.equal(quoted('a"b\\c\u0000'), '"a\\"b\\\\c\\u0000"');
  const table = await formatTable(['Name'], [['\u001b]0;owned\u0007']]);
  assert.doesNotMatch(table, /[\x00-\x09\x0b-\x1f\x7f-\x9f]/);
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      assert.doesNotMatch(printable(text), /[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]/);
    }),
  );
});

test('times and ages', () => {
  assert.equal(formatTime(Date.UTC(2026, 0, 15, 9, 5, 0)), '2026-01-15 09:05:00 +0000 UTC');
  assert.equal(formatAge(61_499), '1m1s');
  assert.equal(formatAge(-5), '0s');
  assert.equal(
    formatPairs([
      ['Cluster', 'x'],
      ['CA pin', ''],
    ]),
    'Cluster x\nCA pin\n',
  );
});

test('addresses', () => {
  assert.deepEqual(parseAddress('gw'), { host: 'gw', port: 3080 });
  assert.deepEqual(parseAddress('gw.example.com:443'), { host: 'gw.example.com', port: 443 });
  assert.deepEqual(parseAddress('https://gw:8443/web'), { host: 'gw', port: 8443 });
  assert.deepEqual(parseAddress('[::1]:1'), { host: '::1', port: 1 });
  assert.deepEqual(parseAddress('10.0.0.1:1'), { host: '10.0.0.1', port: 1 });
  for (const bad of ['', ':1', 'a:0', 'a:65536', 'a b', '-x', 'a/../b:1x', 'a:1:2', '[::1', 'http://x', 'a@b']) {
    assert.throws(() => parseAddress(bad), { code: 'bad_parameter' }, bad);
  }
});
