// The connection sequence: MCS, GCC, Client Info, share PDUs, on frames recorded from IronRDP and xrdp.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { RDP_SETUP, rdpFrame } from '../../../test/fixtures/desktop/rdp-session.ts';
import { Secret } from '../../core/secret.ts';
import { decodeClientInfo, isClientInfo, rewriteClientInfo } from './client-info.ts';
import { decodeConnectInitial, decodeConnectResponse, rewriteConnectInitial } from './gcc.ts';
import {
  decodeMcsPdu,
  encodeDisconnectProviderUltimatum,
  encodeSendDataIndication,
  encodeSendDataRequest,
  type McsPdu,
} from './mcs.ts';
import { decodeSetErrorInfo, decodeSharePdu, encodeSetErrorInfo } from './share.ts';
import {
  decodeX224ConnectionConfirm,
  encodeX224ConnectionConfirm,
  encodeX224ConnectionRequest,
  x224ResponseFlags,
} from './x224.ts';

const CONNECT_INITIAL = rdpFrame('client', /^030001..02f0807f65/);
const CONNECT_RESPONSE = rdpFrame('server', /^030000..02f0807f66/);
const CLIENT_INFO = rdpFrame('client', /^0300014f02f08064000503eb/);

function connect(frame: Buffer): Extract<McsPdu, { body: Buffer }> {
  const pdu = decodeMcsPdu(frame);
  assert.ok('body' in pdu);
  return pdu;
}

function sendData(frame: Buffer): Extract<McsPdu, { channelId: number }> {
  const pdu = decodeMcsPdu(frame);
  assert.ok('channelId' in pdu);
  return pdu;
}

describe('X.224 negotiation', () => {
  test('a request carries the cookie and the protocols; a login cannot break out of the cookie', () => {
    const frame = encodeX224ConnectionRequest('deskuser', 3);
    const cookie = Buffer.from('Cookie: mstshash=deskuser\r\n').toString('hex');
    assert.equal(frame.toString('hex'), `0300002e29e00000000000${cookie}0100080003000000`);
    const sly = encodeX224ConnectionRequest('a\r\nb c', 1).toString('latin1');
    assert.match(sly, /mstshash=abc\r\n/);
  });

  test('confirms: a protocol, none, a refusal', () => {
    assert.deepEqual(decodeX224ConnectionConfirm(encodeX224ConnectionConfirm(2, 1)), { kind: 'selected', protocol: 2 });
    assert.equal(x224ResponseFlags(encodeX224ConnectionConfirm(2, 0x1f)), 0x1f);
    assert.deepEqual(decodeX224ConnectionConfirm(Buffer.from('0300000b06d00000000000', 'hex')), {
      kind: 'selected',
      protocol: 0,
    });
    const failure = encodeX224ConnectionConfirm(5, 0);
    failure[11] = 3;
    assert.deepEqual(decodeX224ConnectionConfirm(failure), { kind: 'failure', code: 5 });
    assert.throws(() => decodeX224ConnectionConfirm(Buffer.alloc(19)), { code: 'decode' });
  });
});

describe('MCS and GCC', () => {
  test('what the client asks for', () => {
    const { type, body } = connect(CONNECT_INITIAL);
    assert.equal(type, 'connect-initial');
    assert.deepEqual(decodeConnectInitial(body), {
      desktopWidth: 800,
      desktopHeight: 600,
      channels: ['cliprdr', 'drdynvc'],
    });
  });

  test('a block that comes twice is refused: the desktop would read the other one', () => {
    const sly = Buffer.from(CONNECT_INITIAL);
    // The four bytes behind CS_CORE, which is as long as it says, are the header of the next block.
    const core = sly.indexOf('01c0', sly.indexOf('Duca'), 'hex');
    const next = core + sly.readUInt16LE(core + 2);
    for (const [type, name] of [
      [0xc003, 'CS_NET'],
      [0xc001, 'CS_CORE'],
    ] as const) {
      const before = sly.readUInt16LE(next);
      assert.notEqual(before, type);
      sly.writeUInt16LE(type, next);
      assert.throws(() => decodeConnectInitial(connect(sly).body), {
        code: 'decode',
        message: `GCC: ${name} comes twice`,
      });
      sly.writeUInt16LE(before, next);
    }
  });

  test('what the server grants', () => {
    const { type, body } = connect(CONNECT_RESPONSE);
    assert.equal(type, 'connect-response');
    assert.deepEqual(decodeConnectResponse(body), {
      ioChannelId: 1003,
      channelIds: [1004, 1005],
      messageChannelId: undefined,
    });
  });

  test('rewriting sets 32 bits and the protocol, and touches nothing else', () => {
    const before = Buffer.from(CONNECT_INITIAL);
    const after = rewriteConnectInitial(CONNECT_INITIAL, 2);
    assert.ok(CONNECT_INITIAL.equals(before), 'the frame itself is left alone');
    const changed = [...after.keys()].filter((i) => after[i] !== before[i]);
    assert.equal(changed.length, 2);
    const [flags, protocol] = changed;
    assert.equal(after[flags!]! & ~before[flags!]!, 2);
    assert.equal(after[protocol!], 2);
    assert.equal(protocol! - flags!, 212 - 144);
    assert.deepEqual(rewriteConnectInitial(after, 2), after);
  });

  test('every cut is refused', () => {
    const initial = CONNECT_INITIAL.subarray(7);
    for (let end = 0; end < initial.length; end += 1) {
      assert.throws(() => decodeConnectInitial(initial.subarray(0, end)), { code: 'decode' });
    }
    const response = CONNECT_RESPONSE.subarray(7);
    for (let end = 0; end < response.length; end += 1) {
      assert.throws(() => decodeConnectResponse(response.subarray(0, end)), { code: 'decode' });
    }
  });

  test('data comes back as it was encoded, at both sizes of length', () => {
    for (const size of [0, 1, 127, 128, 5_000, 16_383]) {
      const data = Buffer.alloc(size, 7);
      const up = sendData(encodeSendDataRequest(1006, 1003, data));
      assert.deepEqual([up.type, up.initiator, up.channelId], ['send-data-request', 1006, 1003]);
      assert.ok(up.data.equals(data));
      assert.equal(sendData(encodeSendDataIndication(1003, data)).type, 'send-data-indication');
    }
    assert.throws(() => encodeSendDataRequest(1006, 1003, Buffer.alloc(16_384)), RangeError);
    const short = encodeSendDataRequest(1006, 1003, Buffer.alloc(10));
    short[13] = 9;
    assert.throws(() => decodeMcsPdu(short), /does not match/);
  });

  test('every frame of the recording is understood', () => {
    const types = RDP_SETUP.filter(({ data }) => data[0] === 3).map(({ data }) => decodeMcsPdu(data).type);
    assert.deepEqual(types.slice(0, 4), ['connect-initial', 'connect-response', 'erect-domain', 'attach-user-request']);
    assert.ok(!types.includes('x224-disconnect'));
  });

  test('the ultimatum', () => {
    const frame = encodeDisconnectProviderUltimatum(3);
    assert.equal(frame.toString('hex'), '0300000902f0802180');
    assert.deepEqual(decodeMcsPdu(frame), { type: 'disconnect-provider-ultimatum', reason: 3 });
  });
});

describe('Client Info', () => {
  const { data } = sendData(CLIENT_INFO);

  test('the gateway decides who signs in', () => {
    assert.ok(isClientInfo(data));
    assert.deepEqual(
      { ...decodeClientInfo(data), flags: 0 },
      { flags: 0, domain: '', username: 'deskuser', password: '-' },
    );
    const password = new Secret('pässword ☃');
    const rewritten = rewriteClientInfo(data, { username: 'admin', domain: 'CORP', password });
    const info = decodeClientInfo(rewritten);
    assert.deepEqual([info.domain, info.username, info.password], ['CORP', 'admin', 'pässword ☃']);
    assert.equal(info.flags & 8, 8, 'signs in by itself');
    const without = decodeClientInfo(rewriteClientInfo(rewritten, { username: 'x', domain: '', password: undefined }));
    assert.deepEqual([without.password, without.flags & 8], ['', 0]);
    const grown = rewritten.length - data.length;
    assert.equal(grown, 2 * ('CORPadminpässword ☃'.length - 'deskuser-'.length));
    assert.ok(rewritten.subarray(-100).equals(data.subarray(-100)), 'the extended info stays');
  });

  test('refused: another PDU, encrypted, not Unicode, cut short, longer than RDP allows', () => {
    const logon = { username: 'u', domain: '', password: undefined };
    const change = (offset: number, value: number) => {
      const copy = Buffer.from(data);
      copy[offset] = value;
      return copy;
    };
    assert.throws(() => rewriteClientInfo(change(0, 0x80), logon), /not a Client Info/);
    assert.throws(() => rewriteClientInfo(change(0, 0x48), logon), /encrypted/);
    assert.throws(() => rewriteClientInfo(change(8, data[8]! & ~0x10), logon), /Unicode/);
    assert.throws(() => rewriteClientInfo(change(15, 0xff), logon), { code: 'decode' });
    for (let end = 0; end < 50; end += 1) {
      assert.throws(() => rewriteClientInfo(data.subarray(0, end), logon), { code: 'decode' });
    }
    assert.throws(() => rewriteClientInfo(data, { ...logon, username: 'x'.repeat(300) }), RangeError);
  });
});

describe('share PDUs', () => {
  test('Demand Active names the share, which Set Error Info needs', () => {
    const demand = RDP_SETUP.map(({ data }) => data)
      .filter((frame) => frame[0] === 3)
      .map((frame) => decodeMcsPdu(frame))
      .flatMap((pdu) => (pdu.type === 'send-data-indication' ? [decodeSharePdu(pdu.data)] : []))
      .find((share) => share.type === 'demand-active');
    assert.equal(demand?.type === 'demand-active' ? demand.shareId : 0, 0x000103ea);
    const frame = encodeSetErrorInfo(1003, 0x000103ea, 3);
    assert.equal(frame.toString('hex'), '0300002402f08068000103eb701616001700ea03ea030100000104002f00000003000000');
    const share = decodeSharePdu(sendData(frame).data);
    assert.ok(share.type === 'data');
    assert.equal(share.pduType2, 47);
    assert.equal(decodeSetErrorInfo(share.body), 3);
  });

  test('licensing PDUs are none', () => {
    const license = rdpFrame('server', /^0300015102f08068000503eb/);
    assert.deepEqual(decodeSharePdu(sendData(license).data), { type: 'other' });
    assert.deepEqual(decodeSharePdu(Buffer.alloc(2)), { type: 'other' });
  });
});
