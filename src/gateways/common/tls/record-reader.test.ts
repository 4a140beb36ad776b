import assert from 'node:assert/strict';
import { randomBytes, randomInt } from 'node:crypto';
import { describe, test } from 'node:test';
import { testRecords } from '../../../../test/fixtures/tls.ts';
import { ALERT, TlsAlertError } from '../../../wire/tls/alert.ts';
import { RecordReader } from './record-reader.ts';
import { MAX_CONTENT_BYTES, sealedBytes, type TlsRecords } from './records.ts';

function seal(records: TlsRecords, content: Buffer): Buffer {
  const out = Buffer.alloc(sealedBytes(content.length));
  return out.subarray(0, records.seal(content, 0, content.length, out, 0));
}

/** A reader of a server's, what it gave, and the client that feeds it. */
function reading(recordsPerKey = 2 ** 24) {
  const server = testRecords('server');
  const client = testRecords('client', undefined, { recordsPerKey });
  const reader = new RecordReader(server);
  const got: Buffer[] = [];
  const onContent = (content: Buffer): void => {
    got.push(Buffer.from(content));
  };
  const feed = (bytes: Buffer): void => {
    // As from a read buffer: opened in place, and with something else behind.
    const buffer = Buffer.concat([bytes, Buffer.alloc(50, 23)]);
    reader.feed(buffer, bytes.length, onContent);
    buffer.fill(0xee);
  };
  return { server, client, reader, onContent, feed, all: () => Buffer.concat(got) };
}

describe('the record reader', () => {
  test('takes a stream however it is cut: at every offset, into single bytes, at random', () => {
    const contents = ['a', 'bc', '', 'd'.repeat(30)].map((text) => Buffer.from(text));
    const expected = Buffer.concat(contents);
    const length = contents.reduce((sum, one) => sum + one.length + 22, 0);
    for (let cut = 0; cut <= length; cut++) {
      const { client, feed, all } = reading();
      const bytes = Buffer.concat(contents.map((content) => seal(client, content)));
      feed(bytes.subarray(0, cut));
      feed(bytes.subarray(cut));
      assert.ok(all().equals(expected), `cut at ${cut}`);
    }
    const { client, feed, all } = reading();
    for (const byte of Buffer.concat(contents.map((content) => seal(client, content)))) feed(Buffer.from([byte]));
    assert.ok(all().equals(expected));
  });

  test('random sizes, random cuts, keys replaced in between', () => {
    for (let round = 0; round < 20; round++) {
      const { client, feed, all } = reading(1 + randomInt(20));
      const contents = Array.from({ length: 60 }, () =>
        randomBytes(randomInt(10) === 0 ? MAX_CONTENT_BYTES : randomInt(1, 3000)),
      );
      const bytes = Buffer.concat(contents.map((content) => seal(client, content)));
      for (let at = 0; at < bytes.length; ) {
        const size = 1 + randomInt(randomInt(2) === 0 ? 20 : 40_000);
        feed(bytes.subarray(at, at + size));
        at += size;
      }
      assert.ok(all().equals(Buffer.concat(contents)));
    }
  });

  test('stops at a record and goes on, whatever comes meanwhile', () => {
    for (let cut = 0; cut < 200; cut += 3) {
      const { client, reader, onContent, all } = reading();
      const texts = Array.from({ length: 10 }, (_, i) => `text ${i} `);
      const bytes = Buffer.concat(texts.map((text) => seal(client, Buffer.from(text))));
      let calls = 0;
      const stopping = (content: Buffer): void => {
        calls++;
        onContent(content);
        reader.stop();
      };
      reader.feed(Buffer.from(bytes.subarray(0, cut)), cut, stopping);
      const first = calls;
      assert.ok(first <= 1);
      if (first === 0) reader.stop();
      reader.feed(Buffer.from(bytes.subarray(cut)), bytes.length - cut, stopping);
      assert.equal(calls, first, 'it did not stop');
      for (let i = first; i < texts.length; i++) {
        reader.resume(stopping);
        assert.equal(calls, i + 1);
      }
      reader.resume(stopping);
      assert.equal(all().toString(), texts.join(''));
    }
  });

  test('may be stopped and resumed within a record', () => {
    const { client, reader, onContent, all } = reading();
    const texts = ['a', 'b', 'c', 'd'];
    const bytes = Buffer.concat(texts.map((text) => seal(client, Buffer.from(text))));
    const back = (content: Buffer): void => {
      onContent(content);
      reader.stop();
      reader.resume(back);
    };
    reader.feed(bytes, bytes.length, back);
    assert.equal(all().toString(), 'abcd');
  });

  test('refuses a record by its header, before the rest has come', () => {
    for (const [alert, header] of [
      [ALERT.unexpectedMessage, [22, 3, 3, 0, 5]],
      [ALERT.unexpectedMessage, [20, 3, 3, 0, 1]],
      [ALERT.recordOverflow, [23, 3, 3, 0x41, 1]],
      [ALERT.recordOverflow, [23, 3, 3, 255, 255]],
    ] as const) {
      for (const bytewise of [false, true]) {
        const { feed } = reading();
        const pieces = bytewise ? header.map((byte) => Buffer.from([byte])) : [Buffer.from(header)];
        assert.throws(
          () => pieces.forEach(feed),
          (error) => error instanceof TlsAlertError && error.alert === alert,
        );
      }
    }
  });

  test('gives nothing behind what it refused, and nothing behind close_notify', () => {
    const { client, feed, all } = reading();
    const [good, bad, behind] = ['good', 'bad', 'behind'].map((text) => seal(client, Buffer.from(text)));
    bad![7] = bad![7]! ^ 0x80;
    assert.throws(() => feed(Buffer.concat([good!, bad!, behind!])), TlsAlertError);
    feed(behind!);
    feed(seal(client, Buffer.from('later')));
    assert.equal(all().toString(), 'good');

    const ended = reading();
    const last = seal(ended.client, Buffer.from('last'));
    const close = ended.client.alert(ALERT.closeNotify);
    ended.feed(Buffer.concat([last, close, seal(ended.client, Buffer.from('behind'))]));
    ended.feed(randomBytes(100));
    assert.equal(ended.all().toString(), 'last');
    assert.ok(ended.server.ended);
  });
});
