import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { DecodeError } from '../../core/errors.ts';
import { type BodyFilter, ListFilter, WatchFilter } from './list-filter.ts';

const keep = (namespace: string, name: string): boolean => name.startsWith('web') && namespace !== 'secret';

function filtered(filter: BodyFilter, text: string, ...cuts: number[]): string {
  const bytes = Buffer.from(text);
  const offsets = [0, ...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length].sort((a, b) => a - b);
  const parts = offsets.slice(1).map((end, i) => filter.push(bytes.subarray(offsets[i]!, end)));
  return Buffer.concat([...parts, filter.end()]).toString();
}

const pod = (namespace: string, name: string) => ({
  metadata: { name, namespace, annotations: { 'a"]}{[': '\\" items: [ {"metadata":{"name":"web"}} ]' } },
  spec: { items: [{ metadata: { name: 'web-nested' } }] },
});
const LIST = {
  kind: 'PodList',
  metadata: { resourceVersion: '1', items: ['not these'] },
  items: [
    pod('default', 'db'),
    pod('default', 'web-1'),
    pod('secret', 'web-2'),
    pod('team', 'web-3'),
    pod('team', 'x'),
  ],
  apiVersion: 'v1',
};
const EXPECTED = { ...LIST, items: [LIST.items[1], LIST.items[3]] };

describe('lists', () => {
  test('only what may be seen stays, split at every offset and however it is laid out', () => {
    for (const text of [JSON.stringify(LIST), JSON.stringify(LIST, null, 2), `${JSON.stringify(LIST)}\n`]) {
      for (let at = 0; at <= Buffer.byteLength(text); at += 1)
        assert.deepEqual(JSON.parse(filtered(new ListFilter(keep), text, at)), EXPECTED, `split at ${at}`);
    }
  });

  test('rows of a table go by their objects', () => {
    const table = {
      kind: 'Table',
      columnDefinitions: [{ name: 'items' }],
      rows: [
        { cells: ['db'], object: pod('default', 'db') },
        { cells: ['web'], object: pod('default', 'web') },
        { cells: ['web without an object'] },
        { cells: ['web'], object: null },
      ],
    };
    assert.deepEqual(JSON.parse(filtered(new ListFilter(keep), JSON.stringify(table), 30, 77)), {
      ...table,
      rows: [table.rows[1]],
    });
  });

  test('nothing to show is an empty list; no list stays none', () => {
    const none = { ...LIST, items: [LIST.items[0]] };
    assert.deepEqual(JSON.parse(filtered(new ListFilter(keep), JSON.stringify(none))), { ...LIST, items: [] });
    assert.equal(filtered(new ListFilter(keep), '{"items":null,"kind":"PodList"}'), '{"items":null,"kind":"PodList"}');
    assert.equal(filtered(new ListFilter(keep), '{"items":[ ]}'), '{"items":[]}');
  });

  test('both `items` and `rows`, and a second `items`, are filtered', () => {
    const items = JSON.stringify(LIST.items);
    const text = `{"items":${items},"rows":[{"object":{"metadata":{"name":"db"}}}],"items":${items}}`;
    assert.doesNotMatch(filtered(new ListFilter(keep), text), /"db"|"x"|web-2/);
  });

  test('what cannot be read is refused, not passed on', () => {
    for (const text of [
      '[]',
      'null',
      '"items"',
      '{"items":["web"]}',
      '{"items":[1]}',
      '{"items":[[{"metadata":{"name":"web"}}]]}',
      '{"\\u0069tems":[]}',
      '{"items":[{"metadata":{"name":"web"}}',
      '{"items":[{"a":}]}',
      '}',
    ])
      assert.throws(() => filtered(new ListFilter(keep), text), DecodeError, text);
    const long = `{"items":[{"metadata":{"name":"web","x":"${'y'.repeat(9_000_000)}"}}]}`;
    assert.throws(() => filtered(new ListFilter(keep), long), DecodeError);
  });

  test('any JSON list in any pieces', () => {
    const item = fc.record({
      metadata: fc.record({ name: fc.constantFrom('web', 'db', 'web-é'), namespace: fc.constantFrom('a', 'secret') }),
      data: fc.jsonValue(),
    });
    fc.assert(
      fc.property(
        fc.array(item, { maxLength: 8 }),
        fc.jsonValue(),
        fc.array(fc.nat(5000), { maxLength: 8 }),
        fc.constantFrom(undefined, 1),
        (items, extra, cuts, indent) => {
          const list = { extra, items, kind: 'List' };
          const expected = { ...list, items: items.filter(({ metadata }) => keep(metadata.namespace, metadata.name)) };
          assert.deepEqual(
            JSON.parse(filtered(new ListFilter(keep), JSON.stringify(list, null, indent), ...cuts)),
            JSON.parse(JSON.stringify(expected)),
          );
        },
      ),
    );
  });

  test('any bytes: nothing but DecodeError', () => {
    const part = fc.constantFrom(
      '{',
      '}',
      '[',
      ']',
      '"',
      'items',
      ':',
      ',',
      '\\',
      '"items":[',
      '{"metadata":{"name":"web"}}',
      ' ',
      '1',
    );
    fc.assert(
      fc.property(fc.array(part, { maxLength: 20 }), (parts) => {
        const filter = new ListFilter(keep);
        try {
          for (const text of parts) filter.push(Buffer.from(text));
          filter.end();
        } catch (error) {
          assert.ok(error instanceof DecodeError, String(error));
        }
      }),
      { numRuns: 2000 },
    );
  });
});

describe('watches', () => {
  const event = (type: string, object: unknown) => `${JSON.stringify({ type, object })}\n`;

  test('only events of what may be seen, split at every offset', () => {
    const text = [
      event('ADDED', pod('default', 'web-1')),
      event('ADDED', pod('default', 'db')),
      event('MODIFIED', { kind: 'Table', rows: [{ object: pod('default', 'db') }] }),
      event('MODIFIED', {
        kind: 'Table',
        rows: [{ object: pod('default', 'db') }, { object: pod('default', 'web-2') }],
      }),
      event('BOOKMARK', { metadata: { resourceVersion: '5' } }),
      event('ERROR', { kind: 'Status', message: 'too old' }),
      event('DELETED', {}),
    ].join('');
    const expected = [
      event('ADDED', pod('default', 'web-1')),
      event('MODIFIED', { kind: 'Table', rows: [{ object: pod('default', 'web-2') }] }),
      event('BOOKMARK', { metadata: { resourceVersion: '5' } }),
      event('ERROR', { kind: 'Status', message: 'too old' }),
    ].join('');
    for (let at = 0; at <= Buffer.byteLength(text); at += 1)
      assert.equal(filtered(new WatchFilter(keep), text, at), expected, `split at ${at}`);
  });

  test('an event that cannot be read, or never ends, is refused', () => {
    assert.throws(() => filtered(new WatchFilter(keep), 'no json\n'), DecodeError);
    assert.throws(() => filtered(new WatchFilter(keep), '[1]\n'), DecodeError);
    assert.throws(() => filtered(new WatchFilter(keep), 'x'.repeat(9_000_000)), DecodeError);
  });
});
