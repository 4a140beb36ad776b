import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { describe, test } from 'node:test';
import tls from 'node:tls';
import { DecodeError } from '../../core/errors.ts';
import { decodeClientHello } from './client-hello.ts';

/** What Node's TLS sends first. */
async function helloOf(options: tls.ConnectionOptions): Promise<Buffer> {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  const client = tls.connect({ port, host: '127.0.0.1', ...options });
  client.on('error', () => undefined);
  const [socket] = (await once(server, 'connection')) as [net.Socket];
  const [hello] = (await once(socket, 'data')) as [Buffer];
  client.destroy();
  socket.destroy();
  server.close();
  return hello;
}

/** The same message in records of `size` bytes. */
function inRecords(hello: Buffer, size: number): Buffer {
  const message = hello.subarray(5);
  const records: Buffer[] = [];
  for (let at = 0; at < message.length; at += size) {
    const content = message.subarray(at, at + size);
    records.push(Buffer.from([22, 3, 1, content.length >>> 8, content.length & 0xff]), content);
  }
  return Buffer.concat(records);
}

function message(body: Buffer): Buffer {
  const head = Buffer.from([22, 3, 1, 0, 0, 1, 0, 0, 0]);
  head.writeUInt16BE(body.length + 4, 3);
  head.writeUIntBE(body.length, 6, 3);
  return Buffer.concat([head, body]);
}

const extension = (type: number, body: number[]): Buffer =>
  Buffer.from([type >>> 8, type & 0xff, body.length >>> 8, body.length & 0xff, ...body]);

/** A ClientHello with these extensions and nothing else of interest. */
function withExtensions(...extensions: Buffer[]): Buffer {
  const all = Buffer.concat(extensions);
  const fixed = Buffer.alloc(34 + 1 + 4 + 2 + 2);
  fixed.set([0, 2, 0x13, 1, 1, 0], 35);
  fixed.writeUInt16BE(all.length, 41);
  return message(Buffer.concat([fixed, all]));
}

describe('ClientHello', async () => {
  const full = await helloOf({ servername: 'kube.example.com', ALPNProtocols: ['h2', 'http/1.1'] });

  test('name, protocols and version of what Node sends', async () => {
    const expected = { serverName: 'kube.example.com', alpn: ['h2', 'http/1.1'], offersTls13: true };
    assert.deepEqual(decodeClientHello(full), expected);
    assert.deepEqual(decodeClientHello(await helloOf({ maxVersion: 'TLSv1.2' })), {
      serverName: undefined,
      alpn: [],
      offersTls13: false,
    });
  });

  test('waits at every offset, in one record and in several, and ignores what comes behind', () => {
    for (const bytes of [full, inRecords(full, Math.ceil(full.length / 5))]) {
      for (let length = 0; length < bytes.length; length++)
        assert.equal(decodeClientHello(bytes.subarray(0, length)), undefined, `after ${length} bytes`);
      const expected = decodeClientHello(full);
      assert.deepEqual(decodeClientHello(bytes), expected);
      assert.deepEqual(decodeClientHello(Buffer.concat([bytes, Buffer.from('garbage')])), expected);
    }
  });

  test('an old ClientHello may have no extensions', () => {
    const body = Buffer.alloc(34 + 1 + 4 + 2);
    body.set([0, 2, 0, 47, 1, 0], 35);
    assert.deepEqual(decodeClientHello(message(body)), { serverName: undefined, alpn: [], offersTls13: false });
  });

  test('TLS 1.3 is what the extension lists, among others and not in part', () => {
    const versions = (...list: number[]): Buffer => extension(43, [list.length, ...list]);
    assert.equal(decodeClientHello(withExtensions(versions(0x0a, 0x0a, 3, 4, 3, 3)))?.offersTls13, true);
    assert.equal(decodeClientHello(withExtensions(versions(3, 3, 3, 2)))?.offersTls13, false);
    // 03 04 across two entries.
    assert.equal(decodeClientHello(withExtensions(versions(1, 3, 4, 1)))?.offersTls13, false);
    assert.throws(() => decodeClientHello(withExtensions(versions(3, 4, 3))), DecodeError);
  });

  test('refuses what is no ClientHello, as early as it can be told', () => {
    for (const text of ['GET / HTTP/1.1\r\n\r\n', 'SSH-2.0-OpenSSH\r\n', '\x80\x2e\x01\x03\x01'])
      assert.throws(() => decodeClientHello(Buffer.from(text, 'latin1')), DecodeError);
    assert.throws(() => decodeClientHello(Buffer.from('G')), DecodeError);
    // A ServerHello; an empty record; one that is too long.
    for (const bytes of [
      [22, 3, 3, 0, 4, 2],
      [22, 3, 3, 0, 0, 22],
      [22, 3, 3, 0x40, 1, 1],
    ])
      assert.throws(() => decodeClientHello(Buffer.from(bytes)), DecodeError);
  });

  test('refuses what would be kept too long: a length beyond bounds, and many small records', () => {
    assert.throws(() => decodeClientHello(Buffer.from([22, 3, 1, 0, 4, 1, 0, 0x80, 1])), DecodeError);
    assert.throws(() => decodeClientHello(inRecords(full, 10)), DecodeError);
  });

  test('refuses vectors that end beyond what holds them', () => {
    for (const broken of [
      extension(0, [0, 9, 0, 0, 6, 97]),
      extension(0, [0, 4, 0, 0, 6, 97]),
      extension(16, [0, 3, 3, 104, 50]),
      extension(16, [0, 9, 2, 104, 50]),
      Buffer.from([0, 16, 0, 9, 0]),
      Buffer.from([0]),
    ])
      assert.throws(() => decodeClientHello(withExtensions(broken)), DecodeError);
    assert.throws(() => decodeClientHello(message(Buffer.alloc(33))), DecodeError);
  });
});
