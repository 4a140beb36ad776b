import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { CommandTextBuilder, MAX_AUDITED_BYTES } from './command-text.ts';

function textOf(...words: readonly (string | Buffer)[]): string {
  const builder = new CommandTextBuilder(String(words[0]).toUpperCase(), words.length);
  for (const word of words.slice(1)) builder.argument(Buffer.from(word));
  return builder.finish().text;
}

describe('commands in the audit log', () => {
  test('as redis-cli would take them', () => {
    assert.equal(textOf('set', 'key', 'va lue'), 'SET key "va lue"');
    assert.equal(textOf('SET', '', 'a"b\\c\r\n'), 'SET "" "a\\"b\\\\c\\r\\n"');
    assert.equal(textOf('SET', 'schlüssel', Buffer.from([0, 255, 65])), 'SET schlüssel "\\x00\\xffA"');
  });

  test('passwords are left out', () => {
    for (const words of [
      ['AUTH', 's3cret'],
      ['AUTH', 'app', 's3cret'],
      ['HELLO', '3', 'AUTH', 'app', 's3cret', 'SETNAME', 'me'],
      ['CONFIG', 'SET', 'requirepass', 's3cret', 'maxmemory', '1'],
      ['CONFIG', 'SET', 'maxmemory', '1', 'masterauth', 's3cret'],
      ['ACL', 'SETUSER', 'app', 'on', '>s3cret', '~*'],
      ['ACL', 'SETUSER', 'app', '#s3cret'],
      ['MIGRATE', 'h', '1', 'k', '0', '10', 'AUTH', 's3cret'],
      ['MIGRATE', 'h', '1', 'k', '0', '10', 'AUTH2', 'app', 's3cret', 'KEYS', 'k'],
      ['SENTINEL', 'SET', 'm', 'auth-pass', 's3cret'],
    ]) {
      const text = textOf(...words);
      assert.ok(!text.includes('s3cret'), text);
      assert.match(text, /\(redacted\)/);
    }
    assert.equal(textOf('AUTH', 'app', 'x'), 'AUTH app (redacted)');
    assert.equal(textOf('CONFIG', 'SET', 'maxmemory', '100'), 'CONFIG SET maxmemory 100');
  });

  test('long arguments and long commands are cut, and say so', () => {
    const builder = new CommandTextBuilder('SET', 3);
    builder.argument(Buffer.from('k'));
    builder.argument(Buffer.alloc(1_024, 'x'), 5_000);
    assert.deepEqual(builder.finish(), { text: `SET k ${'x'.repeat(1_024)}...(3976 more bytes)`, truncated: true });
    const many = new CommandTextBuilder('DEL', 10_000);
    for (let i = 1; i < 10_000; i++) many.argument(Buffer.from(`key:${i}`));
    const { text, truncated } = many.finish();
    assert.ok(truncated && text.length <= MAX_AUDITED_BYTES && text.length > MAX_AUDITED_BYTES - 100);
  });
});
