import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { decodePixelFormat } from '../../wire/rfb/pixel-format.ts';
import { VncRelay } from './vnc-relay.ts';

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');
const FORMAT = hex('20 18 00 01 00ff 00ff 00ff 10 08 00 000000');

function relay(clipboard = true) {
  const seen = { input: 0, clipboard: [] as string[] };
  const made = new VncRelay(decodePixelFormat(FORMAT, 0), {
    input: () => {
      seen.input += 1;
    },
    work: () => undefined,
    ready: () => undefined,
    clipboard: (direction, bytes) => seen.clipboard.push(`${direction} ${bytes}`),
    clipboardAllowed: () => clipboard,
  });
  return { made, seen };
}

const CLIENT_CUT = hex('06 000000 00000003 616263');
const SERVER_CUT = hex('03 000000 00000003 616263');
const BELL = hex('02');

describe('the VNC relay', () => {
  test('keys and pointer are input, the rest is not', () => {
    const { made, seen } = relay();
    const press = hex('04 01 0000 00000061');
    assert.deepEqual(made.fromClient(press), [press]);
    made.fromClient(hex('ff 00 0001 00000061 0000001e'));
    made.fromClient(hex('05 00 0001 0001'));
    assert.equal(seen.input, 3);
    made.fromClient(Buffer.concat([hex('04 00 0000 00000061'), hex('03 01 0000 0000 0320 0258'), CLIENT_CUT]));
    assert.equal(seen.input, 3);
  });

  test('the clipboard passes and is told, or is dropped both ways', () => {
    const open = relay();
    assert.deepEqual(open.made.fromClient(CLIENT_CUT), [CLIENT_CUT]);
    assert.deepEqual(Buffer.concat(open.made.fromServer(Buffer.concat([BELL, SERVER_CUT, BELL]))).length, 13);
    assert.deepEqual(open.seen.clipboard, ['send 3', 'receive 3']);
    const shut = relay(false);
    assert.deepEqual(shut.made.fromClient(CLIENT_CUT), []);
    assert.deepEqual(
      Buffer.concat(shut.made.fromServer(Buffer.concat([BELL, SERVER_CUT, BELL]))),
      Buffer.concat([BELL, BELL]),
    );
    assert.deepEqual(shut.seen.clipboard, []);
  });

  test('encodings that cannot be followed are not asked for, nor the extended clipboard where it is shut', () => {
    const asked = hex('02 00 0005 00000007 00000005 00000015 fffffecb c0a1e5ce');
    assert.deepEqual(relay().made.fromClient(asked), [hex('02 00 0002 00000007 c0a1e5ce')]);
    assert.deepEqual(relay(false).made.fromClient(asked), [hex('02 00 0001 00000007')]);
  });

  test('nobody switches the machine off', () => {
    assert.deepEqual(relay().made.fromClient(hex('fa 00 01 02')), []);
  });

  test('the pixel format stands once pictures were asked for', () => {
    const { made } = relay();
    const format = Buffer.concat([hex('00 000000'), FORMAT]);
    assert.deepEqual(made.fromClient(format), [format]);
    made.fromClient(hex('03 01 0000 0000 0320 0258'));
    assert.throws(() => made.fromClient(format), { code: 'decode' });
  });
});
