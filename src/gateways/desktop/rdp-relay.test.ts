import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { RDP_FRAMES, RDP_SETUP, rdpFrame } from '../../../test/fixtures/desktop/rdp-session.ts';
import { Secret } from '../../core/secret.ts';
import { decodeClientInfo } from '../../wire/rdp/client-info.ts';
import { decodeMcsPdu, encodeSendDataIndication, encodeSendDataRequest } from '../../wire/rdp/mcs.ts';
import { decodeSharePdu } from '../../wire/rdp/share.ts';
import { RdpRelay } from './rdp-relay.ts';

const LOGON = { username: 'granted', domain: 'CORP', password: new Secret('kept') };
const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');

function relay(clipboard = true) {
  const seen = { input: 0, work: 0, ready: 0, clipboard: [] as string[], clipboardAllowed: clipboard };
  const made = new RdpRelay({
    selectedProtocol: 2,
    logon: LOGON,
    events: {
      input: () => {
        seen.input += 1;
      },
      work: () => {
        seen.work += 1;
      },
      ready: () => {
        seen.ready += 1;
      },
      clipboard: (direction, bytes) => seen.clipboard.push(`${direction} ${bytes}`),
      clipboardAllowed: () => seen.clipboardAllowed,
    },
  });
  const play = (frames: typeof RDP_FRAMES) =>
    frames.map(({ from, data }) => ({
      from,
      data,
      passed: Buffer.concat(from === 'client' ? made.fromClient(data) : made.fromServer(data)),
    }));
  return { made, seen, play };
}

describe('the RDP relay', () => {
  test('a recorded session: two frames of the client are touched, all else passes as it is', () => {
    const { seen, play } = relay();
    const changed = play(RDP_FRAMES).filter(({ data, passed }) => !data.equals(passed));
    assert.deepEqual(
      changed.map(({ from }) => from),
      ['client', 'client'],
    );
    const info = decodeMcsPdu(changed[1]!.passed);
    assert.ok('data' in info);
    const { username, domain, password } = decodeClientInfo(info.data);
    assert.deepEqual([username, domain, password], ['granted', 'CORP', 'kept']);
    assert.equal(seen.ready, 1);
    assert.ok(seen.input > 10);
    assert.ok(seen.clipboard.includes('send 36'));
    assert.ok(seen.clipboard.some((entry) => entry.startsWith('receive ')));
  });

  test('with the clipboard shut, nothing of its channel passes in either direction', () => {
    const { seen, play } = relay(false);
    const dropped = play(RDP_FRAMES).filter(({ passed }) => passed.length === 0);
    assert.ok(dropped.length > 5);
    for (const { data } of dropped) {
      const pdu = decodeMcsPdu(data);
      assert.ok('channelId' in pdu && pdu.channelId === 1004);
    }
    assert.deepEqual(seen.clipboard, []);
  });

  test('frames that share a chunk pass in one piece; a dropped one leaves its neighbours', () => {
    const { made, play, seen } = relay();
    play(RDP_SETUP);
    const picture = hex('00800e0408000400000001000000');
    const clipboard = rdpFrame('server', /^0300003a02f08068000503ec/);
    const chunk = Buffer.concat([picture, clipboard, picture]);
    assert.deepEqual(made.fromServer(chunk), [chunk]);
    seen.clipboardAllowed = false;
    assert.deepEqual(made.fromServer(chunk), [picture, picture]);
    assert.deepEqual(made.fromServer(chunk.subarray(0, 20)), [picture]);
    assert.deepEqual(made.fromServer(chunk.subarray(20)), [picture]);
  });

  test('channels that nobody asked for, and ones for drives and printers, stay shut', () => {
    const { made, play } = relay();
    play(RDP_SETUP);
    const chunk = hex('04000000 03000000 11223344');
    assert.deepEqual(made.fromClient(encodeSendDataRequest(1006, 1010, chunk)), []);
    assert.deepEqual(made.fromServer(encodeSendDataIndication(1010, chunk)), []);
  });

  test('a file under way is work, touch is input', () => {
    const { made, play, seen } = relay();
    play(RDP_SETUP);
    const before = seen.input;
    made.fromServer(encodeSendDataIndication(1004, hex('10000000 03000000 0900 0100 08000000 01000000 41424344')));
    assert.equal(seen.work, 1);
    const name = Buffer.from('Microsoft::Windows::RDS::Input\0').toString('hex');
    made.fromServer(encodeSendDataIndication(1005, hex(`21000000 03000000 10 07 ${name}`)));
    const touch = encodeSendDataRequest(1006, 1005, hex('08000000 03000000 30 07 0300 06000000'));
    made.fromClient(touch);
    assert.equal(seen.input, before + 1);
    made.fromClient(encodeSendDataRequest(1006, 1005, hex('08000000 03000000 30 07 0600 06000000')));
    made.fromClient(encodeSendDataRequest(1006, 1005, hex('08000000 03000000 30 08 0300 06000000')));
    assert.equal(seen.input, before + 1, 'hover and other channels are none');
    made.fromServer(encodeSendDataIndication(1005, hex('02000000 03000000 40 07')));
    made.fromClient(touch);
    assert.equal(seen.input, before + 1);
  });

  test('dynamic channels for devices stay shut, whoever claims that they are open', () => {
    const { made, play } = relay();
    play(RDP_SETUP);
    const name = (text: string) => Buffer.from(`${text}\0`).toString('hex');
    const create = (id: string, text: string) =>
      encodeSendDataIndication(1005, hex(`21000000 03000000 10 ${id} ${name(text)}`));
    const graphics = create('05', 'Microsoft::Windows::RDS::Graphics');
    assert.deepEqual(made.fromServer(graphics), [graphics]);
    const accepted = encodeSendDataRequest(1006, 1005, hex('06000000 03000000 10 05 00000000'));
    assert.deepEqual(made.fromClient(accepted), [accepted]);
    for (const shut of ['URBDRC', 'PNPDR', 'RDCamera_Device_Enumerator', 'AUDIO_INPUT', 'RDPDR']) {
      assert.deepEqual(made.fromServer(create('09', shut)), [], shut);
      assert.deepEqual(made.fromClient(encodeSendDataRequest(1006, 1005, hex('06000000 03000000 10 09 00000000'))), []);
      assert.deepEqual(made.fromClient(encodeSendDataRequest(1006, 1005, hex('08000000 01000000 30 09 01020304'))), []);
      assert.deepEqual(made.fromClient(encodeSendDataRequest(1006, 1005, hex('08000000 02000000 05060708'))), []);
      assert.deepEqual(made.fromClient(encodeSendDataRequest(1006, 1005, hex('08000000 03000000 70 09 010203'))), []);
    }
    const compressed = encodeSendDataRequest(1006, 1005, hex('08000000 03002000 30 05 010203'));
    assert.deepEqual(made.fromClient(compressed), []);
    // An id that is given to a channel that is shut is shut as well.
    made.fromServer(create('05', 'URBDRC'));
    assert.deepEqual(made.fromClient(accepted), []);
  });

  test('the order of a connection is demanded: nothing before the Client Info, and no second name', () => {
    const input = hex('04 04 00 1e');
    assert.throws(() => relay().made.fromClient(input), /before the connection is set up/);
    assert.throws(() => relay().made.fromClient(rdpFrame('client', /^0300000802f08028/)), /Connect-Initial belongs/);
    const { made, play } = relay();
    const info = RDP_SETUP.findIndex(({ data }) => data.toString('hex').startsWith('0300014f02f08064000503eb'));
    play(RDP_SETUP.slice(0, info));
    assert.throws(() => made.fromClient(encodeSendDataRequest(1006, 1003, Buffer.alloc(40))), /Client Info belongs/);
    assert.deepEqual(made.fromClient(encodeSendDataRequest(1006, 1004, Buffer.alloc(40))), []);
    made.fromClient(RDP_SETUP[info]!.data);
    assert.deepEqual(made.fromClient(RDP_SETUP[info]!.data), [], 'a second Client Info is dropped');
    assert.throws(() => made.fromClient(RDP_SETUP[0]!.data), { code: 'decode' });
    assert.throws(() => made.fromServer(rdpFrame('server', /^030000..02f0807f66/)), /second Connect-Response/);
    assert.throws(() => made.fromClient(hex('47455420')), { code: 'decode' });
  });

  test('farewell: Set Error Info with the code of the cause, then the ultimatum', () => {
    const end = (cause: 'idle' | 'killed' | 'max_session_ttl') => ({ cause, text: '', tell: true });
    assert.deepEqual(relay().made.farewell(end('idle')), []);
    for (const [cause, code] of [
      ['idle', 3],
      ['max_session_ttl', 4],
      ['killed', 1],
    ] as const) {
      const { made, play } = relay();
      play(RDP_SETUP);
      const [info, ultimatum, ...more] = made.farewell(end(cause));
      const pdu = decodeMcsPdu(info!);
      assert.ok('data' in pdu);
      const share = decodeSharePdu(pdu.data);
      assert.ok(share.type === 'data' && share.body.readUInt32LE(0) === code);
      assert.equal(decodeMcsPdu(ultimatum!).type, 'disconnect-provider-ultimatum');
      assert.deepEqual(more, []);
    }
  });
});
