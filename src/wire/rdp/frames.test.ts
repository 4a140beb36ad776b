import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { RDP_FRAMES } from '../../../test/fixtures/desktop/rdp-session.ts';
import { RdpFrameSplitter } from './frames.ts';

const SERVER = RDP_FRAMES.filter((frame) => frame.from === 'server').map((frame) => frame.data);
const STREAM = Buffer.concat(SERVER);

describe('RDP frames', () => {
  test('a recorded stream, whole and split at every offset, gives the frames that were recorded', () => {
    assert.deepEqual(
      new RdpFrameSplitter().push(STREAM).frames.map((frame) => frame.data),
      SERVER,
    );
    for (let cut = 0; cut <= STREAM.length; cut += 1) {
      const splitter = new RdpFrameSplitter();
      const first = splitter.push(STREAM.subarray(0, cut));
      const second = splitter.push(STREAM.subarray(cut));
      assert.equal(first.frames.length + second.frames.length, SERVER.length);
      assert.equal(splitter.pending, 0);
      assert.ok(Buffer.concat([first.bytes, second.bytes]).equals(STREAM));
    }
  });

  test('byte by byte', () => {
    const splitter = new RdpFrameSplitter();
    const frames = [...STREAM].flatMap((byte) => splitter.push(Buffer.from([byte])).frames);
    assert.deepEqual(
      frames.map((frame) => frame.data),
      SERVER,
    );
  });

  test('what waits does not change when the transport uses its memory again', () => {
    const splitter = new RdpFrameSplitter();
    const chunk = Buffer.from(SERVER[0]!.subarray(0, 20));
    splitter.push(chunk);
    chunk.fill(0xff);
    assert.deepEqual(splitter.push(SERVER[0]!.subarray(20)).frames[0]!.data, SERVER[0]);
  });

  test('refused: bytes that begin no frame, lengths shorter than their header', () => {
    for (const hex of ['47455420', '0300000602f0', '0001', '008001', '008000']) {
      assert.throws(() => new RdpFrameSplitter().push(Buffer.from(hex, 'hex')), { code: 'decode' }, hex);
    }
  });
});
