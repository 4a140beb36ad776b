import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, test } from 'node:test';
import { cryptoRecord, SUITES, testKeys, testRecords } from '../../../../test/fixtures/tls.ts';
import { ALERT, TlsAlertError } from '../../../wire/tls/alert.ts';
import { nextTrafficSecret } from '../../../wire/tls/key-schedule.ts';
import { MAX_CONTENT_BYTES, sealedBytes, type TlsRecords } from './records.ts';

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(/\s/g, ''), 'hex');
const [ALERTS, HANDSHAKE, DATA] = [21, 22, 23];
const KEY_UPDATE = Buffer.from([24, 0, 0, 1, 0]);
const KEY_UPDATE_REQUESTED = Buffer.from([24, 0, 0, 1, 1]);
const keys = testKeys();

/** Records that a client sends, one after the other. */
function fromClient(used = keys): (type: number, content: Buffer, padding?: number) => Buffer {
  let sequence = 0;
  return (type, content, padding = 0) =>
    cryptoRecord(
      used.suite,
      used.clientSecret,
      sequence++,
      Buffer.concat([content, Buffer.from([type]), Buffer.alloc(padding)]),
    );
}

function seal(records: TlsRecords, content: Buffer): Buffer {
  const out = Buffer.alloc(sealedBytes(content.length));
  return out.subarray(0, records.seal(content, 0, content.length, out, 0));
}

function open(records: TlsRecords, record: Buffer): Buffer {
  const copy = Buffer.from(record);
  const length = records.open(copy, 0);
  return copy.subarray(5, 5 + length);
}

function refuses(alert: number | undefined, fn: () => unknown, message?: RegExp): void {
  assert.throws(fn, (error) => {
    assert.ok(error instanceof TlsAlertError, String(error));
    assert.equal(error.alert, alert, error.message);
    if (message !== undefined) assert.match(error.message, message);
    return true;
  });
}

describe('records', () => {
  test('RFC 8448: application data and close_notify of the "Simple 1-RTT Handshake"', () => {
    const server = testRecords(
      'server',
      {
        suite: keys.suite,
        clientSecret: hex('9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5'),
        serverSecret: hex('a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643'),
      },
      { written: 1 },
    );
    const data = Buffer.from(Array.from({ length: 50 }, (_, i) => i));
    const sent =
      hex(`17 03 03 00 43 a2 3f 70 54 b6 2c 94 d0 af fa fe 82 28 ba 55 cb ef ac ea 42 f9 14 aa 66 bc ab 3f 2b 98 19 a8
      a5 b4 6b 39 5b d5 4a 9a 20 44 1e 2b 62 97 4e 1f 5a 62 92 a2 97 70 14 bd 1e 3d ea e6 3a ee bb 21 69 49 15 e4 0a`);
    assert.ok(open(server, sent).equals(data));
    const answer =
      hex(`17 03 03 00 43 2e 93 7e 11 ef 4a c7 40 e5 38 ad 36 00 5f c4 a4 69 32 fc 32 25 d0 5f 82 aa 1b 36 e3 0e fa
      f9 7d 90 e6 df fc 60 2d cb 50 1a 59 a8 fc c4 9c 4b f2 e5 f0 a2 1c 00 47 c2 ab f3 32 54 0d d0 32 e1 67 c2 95 5d`);
    assert.equal(seal(server, data).toString('hex'), answer.toString('hex'));
    open(server, hex('17 03 03 00 13 c9 87 27 60 65 56 66 b7 4d 7f f1 15 3e fd 6d b6 d0 b0 e3'));
    assert.ok(server.ended);
  });

  for (const suite of SUITES) {
    test(`${suite}: what is sealed is what node:crypto makes, and opens to what it was`, () => {
      const used = testKeys(suite);
      const [client, server] = [testRecords('client', used), testRecords('server', used)];
      for (const [sequence, size] of [0, 1, 15, 16, 17, 1000, MAX_CONTENT_BYTES - 1, MAX_CONTENT_BYTES].entries()) {
        const content = randomBytes(size);
        const record = seal(client, content);
        const inner = Buffer.concat([content, Buffer.from([DATA])]);
        assert.ok(record.equals(cryptoRecord(used.suite, used.clientSecret, sequence, inner)), `${size} bytes`);
        assert.ok(open(server, record).equals(content), `${size} bytes`);
      }
    });
  }

  test('padding is dropped, up to the longest record', () => {
    const server = testRecords('server');
    const next = fromClient();
    assert.equal(open(server, next(DATA, Buffer.from('x'), 1)).toString(), 'x');
    assert.equal(open(server, next(DATA, Buffer.from('ends in 0\0\0'), 100)).toString(), 'ends in 0\0\0');
    assert.equal(open(server, next(DATA, Buffer.from('x'), MAX_CONTENT_BYTES - 1)).toString(), 'x');
    assert.equal(open(server, next(DATA, Buffer.alloc(0), 7)).length, 0);
    assert.equal(open(server, next(DATA, Buffer.alloc(MAX_CONTENT_BYTES, 1))).length, MAX_CONTENT_BYTES);
  });

  test('refuses too long a content, and padding alone', () => {
    refuses(ALERT.recordOverflow, () =>
      open(testRecords('server'), fromClient()(DATA, Buffer.alloc(1), MAX_CONTENT_BYTES)),
    );
    refuses(ALERT.recordOverflow, () =>
      open(testRecords('server'), fromClient()(DATA, Buffer.alloc(MAX_CONTENT_BYTES + 1))),
    );
    refuses(ALERT.unexpectedMessage, () => open(testRecords('server'), fromClient()(0, Buffer.alloc(9))));
  });

  test('refuses every single bit that was changed, and a record that comes twice or too early', () => {
    const record = fromClient()(DATA, Buffer.from('data'));
    for (let bit = 0; bit < record.length * 8; bit++) {
      // Its length is the reader's to look at.
      if (bit >> 3 === 3 || bit >> 3 === 4) continue;
      const changed = Buffer.from(record);
      changed[bit >> 3] = changed[bit >> 3]! ^ (1 << (bit & 7));
      refuses(ALERT.badRecordMac, () => open(testRecords('server'), changed));
    }
    const server = testRecords('server');
    open(server, record);
    refuses(ALERT.badRecordMac, () => open(server, record));
    const next = fromClient();
    next(DATA, Buffer.from('first'));
    refuses(ALERT.badRecordMac, () => open(testRecords('server'), next(DATA, Buffer.from('second'))));
    for (let length = 0; length <= 16; length++)
      refuses(ALERT.badRecordMac, () =>
        open(testRecords('server'), Buffer.concat([Buffer.from([23, 3, 3, 0, length]), Buffer.alloc(length)])),
      );
  });

  test('refuses what is neither data nor alert nor handshake, and empty ones of those', () => {
    for (const type of [1, 20, 24, 25, 255])
      refuses(ALERT.unexpectedMessage, () => open(testRecords('server'), fromClient()(type, Buffer.from([1]))));
    for (const type of [ALERTS, HANDSHAKE])
      refuses(ALERT.unexpectedMessage, () => open(testRecords('server'), fromClient()(type, Buffer.alloc(0), 3)));
  });

  test('records without data are taken, and too many in a row are not', () => {
    const server = testRecords('server');
    const next = fromClient();
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 32; i++) open(server, next(DATA, Buffer.alloc(0)));
      open(server, next(DATA, Buffer.from('x')));
    }
    for (let i = 0; i < 32; i++) open(server, next(ALERTS, Buffer.from([1, ALERT.userCanceled])));
    refuses(ALERT.unexpectedMessage, () => open(server, next(DATA, Buffer.alloc(0))), /too many/);
  });
});

describe('alerts', () => {
  test('close_notify ends, user_canceled does not, everything else is an error that is not answered', () => {
    const server = testRecords('server');
    const next = fromClient();
    open(server, next(ALERTS, Buffer.from([1, ALERT.userCanceled])));
    assert.ok(!server.ended);
    // The level says nothing in TLS 1.3.
    open(server, next(ALERTS, Buffer.from([2, ALERT.closeNotify])));
    assert.ok(server.ended);
    for (const description of [ALERT.badRecordMac, 48, 255])
      refuses(
        undefined,
        () => open(testRecords('server'), fromClient()(ALERTS, Buffer.from([1, description]))),
        new RegExp(`alert ${description}$`),
      );
  });

  test('one alert is one record', () => {
    for (const content of [[1], [1, 0, 1, 0], [1, 0, 0]])
      refuses(ALERT.decodeError, () => open(testRecords('server'), fromClient()(ALERTS, Buffer.from(content))));
  });

  test('is sealed with the next number, as warning or as fatal', () => {
    const server = testRecords('server', keys, { written: 2 });
    seal(server, Buffer.from('data'));
    const record = (sequence: number, ...content: number[]): string =>
      cryptoRecord(keys.suite, keys.serverSecret, sequence, Buffer.from([...content, ALERTS])).toString('hex');
    assert.equal(server.alert(ALERT.badRecordMac).toString('hex'), record(3, 2, ALERT.badRecordMac));
    assert.equal(server.alert(ALERT.closeNotify).toString('hex'), record(4, 1, ALERT.closeNotify));
  });
});

describe('messages behind the handshake', () => {
  /** A ticket of so many bytes. */
  const ticket = (length: number): Buffer => {
    const bytes = Buffer.alloc(4 + length, 7);
    bytes[0] = 4;
    bytes.writeUIntBE(length, 1, 3);
    return bytes;
  };
  /** Records of a server, under one key. */
  const fromServer = (): ((type: number, content: Buffer) => Buffer) =>
    fromClient({ ...keys, clientSecret: keys.serverSecret });

  test('a client drops tickets: many in a record, in many records, cut anywhere, as many as there are', () => {
    const client = testRecords('client');
    const next = fromServer();
    assert.equal(open(client, next(HANDSHAKE, Buffer.concat([ticket(0), ticket(200), ticket(1)]))).length, 0);
    for (let cut = 1; cut < 54; cut++) {
      const bytes = Buffer.concat([ticket(20), ticket(26)]);
      open(client, next(HANDSHAKE, bytes.subarray(0, cut)));
      open(client, next(HANDSHAKE, bytes.subarray(cut)));
      open(client, next(DATA, Buffer.from('x')));
    }
    for (let i = 0; i < 200; i++) open(client, next(HANDSHAKE, ticket(300)));
    const long = ticket(65_535 + 300);
    for (let at = 0; at < long.length; at += MAX_CONTENT_BYTES)
      open(client, next(HANDSHAKE, long.subarray(at, at + MAX_CONTENT_BYTES)));
    assert.equal(open(client, next(DATA, Buffer.from('data'))).toString(), 'data');
  });

  test('a client refuses a ticket without end, in its length and in its pieces', () => {
    const next = fromServer();
    refuses(ALERT.decodeError, () => open(testRecords('client'), next(HANDSHAKE, Buffer.from([4, 1, 2, 0]))));
    const client = testRecords('client');
    const pieces = fromServer();
    open(client, pieces(HANDSHAKE, ticket(60_000).subarray(0, 5)));
    refuses(
      ALERT.unexpectedMessage,
      () => {
        for (let i = 0; i < 40; i++) open(client, pieces(HANDSHAKE, Buffer.alloc(1)));
      },
      /too many/,
    );
  });

  test('nothing comes between the parts of a message', () => {
    for (const [type, content] of [
      [DATA, Buffer.from('x')],
      [DATA, Buffer.alloc(0)],
      [ALERTS, Buffer.from([1, 0])],
    ] as const) {
      const client = testRecords('client');
      const next = fromServer();
      open(client, next(HANDSHAKE, ticket(20).subarray(0, 10)));
      refuses(ALERT.unexpectedMessage, () => open(client, next(type, content)));
    }
  });

  test('a server takes key updates only, a client also tickets; at the first byte', () => {
    for (let type = 0; type < 256; type++) {
      if (type === 24) continue;
      const message = Buffer.from([type]);
      refuses(ALERT.unexpectedMessage, () => open(testRecords('server'), fromClient()(HANDSHAKE, message)));
      if (type === 4) continue;
      refuses(ALERT.unexpectedMessage, () => open(testRecords('client'), fromServer()(HANDSHAKE, message)));
    }
  });

  for (const suite of SUITES) {
    test(`key updates, ${suite}: asked for and not, both ways, many`, () => {
      const used = testKeys(suite);
      const server = testRecords('server', used);
      let { clientSecret, serverSecret } = used;
      const record = (secret: Buffer, sequence: number, type: number, content: Buffer): Buffer =>
        cryptoRecord(used.suite, secret, sequence, Buffer.concat([content, Buffer.from([type])]));
      let written = 0;
      for (let round = 0; round < 40; round++) {
        const asks = round % 3 === 0;
        assert.equal(open(server, record(clientSecret, 0, DATA, Buffer.from('before'))).toString(), 'before');
        open(server, record(clientSecret, 1, HANDSHAKE, asks ? KEY_UPDATE_REQUESTED : KEY_UPDATE));
        clientSecret = nextTrafficSecret(used.suite, clientSecret);
        const expected: Buffer[] = [];
        if (asks) {
          expected.push(record(serverSecret, written, HANDSHAKE, KEY_UPDATE));
          serverSecret = nextTrafficSecret(used.suite, serverSecret);
          written = 0;
        }
        expected.push(record(serverSecret, written++, DATA, Buffer.from('answer')));
        assert.ok(seal(server, Buffer.from('answer')).equals(Buffer.concat(expected)), `round ${round}`);
      }
    });
  }

  test('a key update may be cut; several asked for at once are answered by one', () => {
    const server = testRecords('server');
    const secrets = [keys.clientSecret];
    for (let i = 0; i < 3; i++) secrets.push(nextTrafficSecret(keys.suite, secrets.at(-1)!));
    const record = (secret: number, sequence: number, content: Buffer): Buffer =>
      cryptoRecord(keys.suite, secrets[secret]!, sequence, Buffer.concat([content, Buffer.from([HANDSHAKE])]));
    open(server, record(0, 0, KEY_UPDATE_REQUESTED.subarray(0, 2)));
    open(server, record(0, 1, KEY_UPDATE_REQUESTED.subarray(2)));
    open(server, record(1, 0, KEY_UPDATE_REQUESTED));
    open(server, record(2, 0, KEY_UPDATE_REQUESTED));
    const client = testRecords('client');
    const answer = seal(server, Buffer.from('x'));
    assert.equal(answer.length, 5 + 5 + 17 + 5 + 1 + 17);
    assert.equal(open(client, answer.subarray(0, 27)).length, 0);
    assert.equal(open(client, answer.subarray(27)).toString(), 'x');
  });

  test('refuses a key update of a wrong length or content, and what follows one in its record', () => {
    for (const [alert, bytes] of [
      [ALERT.decodeError, [24, 0, 0, 0]],
      [ALERT.decodeError, [24, 0, 0, 2, 0, 0]],
      [ALERT.decodeError, [24, 0, 255, 255]],
      [ALERT.illegalParameter, [24, 0, 0, 1, 2]],
      [ALERT.unexpectedMessage, [24, 0, 0, 1, 0, 24]],
      [ALERT.unexpectedMessage, [24, 0, 0, 1, 0, 24, 0, 0, 1, 0]],
    ] as const)
      refuses(alert, () => open(testRecords('server'), fromClient()(HANDSHAKE, Buffer.from(bytes))));
  });

  test('key updates without end are refused', () => {
    const server = testRecords('server');
    let secret = keys.clientSecret;
    const inner = Buffer.concat([KEY_UPDATE, Buffer.from([HANDSHAKE])]);
    refuses(
      ALERT.unexpectedMessage,
      () => {
        for (let i = 0; i < 40; i++) {
          open(server, cryptoRecord(keys.suite, secret, 0, inner));
          secret = nextTrafficSecret(keys.suite, secret);
        }
      },
      /too many/,
    );
  });

  test('a key is replaced after its records, alerts among them, those before the takeover too', () => {
    const server = testRecords('server', keys, { recordsPerKey: 5, written: 2 });
    const client = testRecords('client');
    // What was written before: two tickets.
    const next = fromServer();
    for (let i = 0; i < 2; i++) open(client, next(HANDSHAKE, ticket(50)));
    let updates = 0;
    for (let i = 0; i < 50; i++) {
      if (i % 7 === 6) open(client, server.alert(ALERT.userCanceled));
      const sealed = seal(server, Buffer.from(`record ${i}`));
      const first = 5 + sealed.readUInt16BE(3);
      if (first < sealed.length) {
        updates++;
        assert.equal(open(client, sealed.subarray(0, first)).length, 0);
      }
      const data = first < sealed.length ? sealed.subarray(first) : sealed;
      assert.equal(open(client, data).toString(), `record ${i}`);
    }
    assert.equal(updates, 11);
  });

  test('nothing that is sealed, in any order, uses a number of a key twice', () => {
    const server = testRecords('server', keys, { recordsPerKey: 3 });
    const seen = new Set<string>();
    for (let i = 0; i < 100; i++) {
      // The same content each time: two records under one nonce would be alike.
      const sealed = i % 4 === 3 ? server.alert(ALERT.userCanceled) : seal(server, Buffer.from('same'));
      for (let at = 0; at < sealed.length; ) {
        const length = 5 + sealed.readUInt16BE(at + 3);
        const text = sealed.toString('hex', at, at + length);
        assert.ok(!seen.has(text), 'a record came twice');
        seen.add(text);
        at += length;
      }
    }
  });
});
