import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { isEmptyStatement, killTarget, useTarget } from './sql-text.ts';

describe('reading statements as far as a gateway must', () => {
  test('empty statements', () => {
    for (const sql of ['', ' ', ';', ' ; ;\n', '/* ping */', '-- x', '--', '# x\n ;', '/* a */ /* b', '/**/;'])
      assert.ok(isEmptyStatement(sql), JSON.stringify(sql));
    for (const sql of ['select 1', '/*! select 1 */', '/*M! select 1 */', '/*+ hint */', '--x', '/* a */ do 1', '; x'])
      assert.ok(!isEmptyStatement(sql), JSON.stringify(sql));
  });

  test('USE, in all its spellings', () => {
    for (const sql of [
      'use shop',
      'USE shop;',
      ' /* x */ use\tshop ',
      'use `shop`',
      'use "shop"',
      'use/**/shop',
      'use#\nshop',
    ])
      assert.equal(useTarget(sql), 'shop', sql);
    assert.equal(useTarget('use `a``b`'), 'a`b');
    assert.equal(useTarget('used'), undefined);
    assert.equal(useTarget("select 'use shop'"), undefined);
    assert.equal(useTarget('use'), undefined);
  });

  test('KILL with a literal id', () => {
    for (const sql of ['kill 7', 'KILL QUERY 7', 'kill connection 7;', 'kill hard query 7', ' /* x */ kill soft 7 '])
      assert.equal(killTarget(sql)?.id, 7, sql);
    assert.deepEqual(killTarget('KILL QUERY 2147483649 ;'), { id: 2_147_483_649, before: 'KILL QUERY ', after: ' ;' });
    for (const sql of ['kill user bob', 'kill query id 7', 'kill 7 + 1', 'kill @id', 'select 7', 'kill'])
      assert.equal(killTarget(sql), undefined, sql);
  });

  test('no text takes them long, or throws', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 300 }), fc.constantFrom('', 'use ', 'kill ', '/*', '-- '), (text, head) => {
        isEmptyStatement(head + text);
        useTarget(head + text);
        killTarget(head + text);
      }),
    );
    const started = process.hrtime.bigint();
    isEmptyStatement('/**/'.repeat(8_000));
    useTarget(`use ${'`'.repeat(4_000)}`);
    killTarget(`kill ${' '.repeat(4_000)}`);
    assert.ok(process.hrtime.bigint() - started < 2_000_000_000n);
  });
});
