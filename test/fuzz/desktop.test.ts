// Random and mutated input to every decoder of the desktop protocols: an answer or a DecodeError, never anything else.
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { DecodeError } from '../../src/core/errors.ts';
import { Secret } from '../../src/core/secret.ts';
import { parseOpenMessage } from '../../src/gateways/desktop/control-codec.ts';
import { RdpRelay } from '../../src/gateways/desktop/rdp-relay.ts';
import type { RelayEvents } from '../../src/gateways/desktop/relay.ts';
import { VncRelay } from '../../src/gateways/desktop/vnc-relay.ts';
import { decodeTsRequest, encodeTsRequest } from '../../src/wire/rdp/credssp.ts';
import { RdpFrameSplitter } from '../../src/wire/rdp/frames.ts';
import { decodeConnectInitial, decodeConnectResponse } from '../../src/wire/rdp/gcc.ts';
import { decodeFastPathInput, decodeSlowPathInput } from '../../src/wire/rdp/input.ts';
import { decodeMcsPdu } from '../../src/wire/rdp/mcs.ts';
import { decodeNtlmChallenge } from '../../src/wire/rdp/ntlm.ts';
import { decodeRdCleanPathRequest, encodeRdCleanPathRequest } from '../../src/wire/rdp/rdcleanpath.ts';
import { decodeSharePdu } from '../../src/wire/rdp/share.ts';
import { decodeClipboardChunk, decodeDynamicChannelChunk } from '../../src/wire/rdp/virtual-channel.ts';
import { decodeX224ConnectionConfirm } from '../../src/wire/rdp/x224.ts';
import { RfbClientSplitter } from '../../src/wire/rfb/client-messages.ts';
import { decodePixelFormat } from '../../src/wire/rfb/pixel-format.ts';
import { RfbServerSplitter } from '../../src/wire/rfb/server-messages.ts';
import { RDP_FRAMES, RDP_SETUP } from '../fixtures/desktop/rdp-session.ts';

const RUNS = { numRuns: 2_000 };
const FORMAT = decodePixelFormat(Buffer.from('20180001 00ff00ff00ff 100800000000'.replaceAll(' ', ''), 'hex'), 0);
const EVENTS: RelayEvents = {
  input: () => undefined,
  work: () => undefined,
  ready: () => undefined,
  clipboard: () => undefined,
  clipboardAllowed: () => true,
};

const bytes = fc.uint8Array({ maxLength: 200 }).map((array) => Buffer.from(array));
/** A recorded frame with some of its bytes changed and its end cut off. */
const mutated = fc
  .record({
    frame: fc.constantFrom(...RDP_FRAMES.map(({ data }) => data)),
    changes: fc.array(fc.record({ at: fc.nat(), to: fc.nat(255) }), { maxLength: 6 }),
    cut: fc.option(fc.nat(), { freq: 4 }),
  })
  .map(({ frame, changes, cut }) => {
    const copy = Buffer.from(frame);
    for (const { at, to } of changes) copy[at % copy.length] = to;
    return cut === null ? copy : copy.subarray(0, cut % copy.length);
  });

function mayRefuse(decode: () => unknown): void {
  try {
    decode();
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
  }
}

describe('desktop decoders, fuzzed', () => {
  const request = encodeRdCleanPathRequest({ destination: 'a:3389', proxyAuth: 't', x224: Buffer.alloc(11) });
  const tsRequest = encodeTsRequest({
    version: 6,
    negoToken: Buffer.alloc(20),
    pubKeyAuth: Buffer.alloc(4),
    errorCode: 5,
  });
  for (const [name, decode, seed] of [
    ['RDCleanPath', decodeRdCleanPathRequest, request],
    ['TSRequest', decodeTsRequest, tsRequest],
    ['NTLM challenge', decodeNtlmChallenge, Buffer.concat([Buffer.from('NTLMSSP\0\x02\0\0\0'), Buffer.alloc(60)])],
    ['X.224 confirm', decodeX224ConnectionConfirm, Buffer.from('030000130ed000000000000200080001000000', 'hex')],
    ['fast-path input', decodeFastPathInput, Buffer.from('0c0d001e2000082c01c800804100', 'hex')],
    ['slow-path input', decodeSlowPathInput, Buffer.alloc(28, 1)],
    ['share PDU', decodeSharePdu, Buffer.from('16001700ea03ea030100000104002f00000003000000', 'hex')],
    ['clipboard chunk', decodeClipboardChunk, Buffer.from('10000000030000000500010008000000', 'hex')],
    ['dynamic channel chunk', decodeDynamicChannelChunk, Buffer.from('10000000030000001007414200', 'hex')],
    ['Connect-Initial', decodeConnectInitial, RDP_FRAMES[0]!.data.subarray(7)],
    ['Connect-Response', decodeConnectResponse, RDP_FRAMES[1]!.data.subarray(7)],
  ] as const) {
    test(name, () => {
      fc.assert(
        fc.property(
          fc.array(fc.record({ at: fc.nat(), to: fc.nat(255) }), { maxLength: 8 }),
          bytes,
          (changes, tail) => {
            const copy = Buffer.concat([seed, tail]);
            for (const { at, to } of changes) copy[at % seed.length] = to;
            mayRefuse(() => decode(copy));
            mayRefuse(() => decode(copy.subarray(0, seed.length)));
            mayRefuse(() => decode(tail));
          },
        ),
        RUNS,
      );
    });
  }

  test('MCS, on mutated frames of a session', () => {
    fc.assert(
      fc.property(mutated, (frame) => mayRefuse(() => decodeMcsPdu(frame))),
      RUNS,
    );
  });

  test('frames: the same frames however the stream is cut', () => {
    const stream = Buffer.concat(RDP_FRAMES.slice(0, 30).map(({ data }) => data));
    fc.assert(
      fc.property(fc.array(fc.nat(stream.length), { maxLength: 20 }), (cuts) => {
        const splitter = new RdpFrameSplitter();
        let frames = 0;
        let last = 0;
        for (const cut of [...cuts.sort((a, b) => a - b), stream.length]) {
          frames += splitter.push(stream.subarray(last, cut)).frames.length;
          last = cut;
        }
        return frames === 30 && splitter.pending === 0;
      }),
      { numRuns: 500 },
    );
  });

  test('the RDP relay, set up and then given mutated frames from both sides', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.boolean(), mutated), { maxLength: 8 }),
        fc.nat(RDP_SETUP.length),
        (frames, setUp) => {
          const logon = { username: 'u', domain: '', password: new Secret('p') };
          const relay = new RdpRelay({ selectedProtocol: 1, logon, events: EVENTS });
          for (const { from, data } of RDP_SETUP.slice(0, setUp)) {
            if (from === 'client') relay.fromClient(data);
            else relay.fromServer(data);
          }
          for (const [client, data] of frames) {
            mayRefuse(() => (client ? relay.fromClient(data) : relay.fromServer(data)));
          }
          relay.farewell({ cause: 'idle', text: '', tell: true });
        },
      ),
      RUNS,
    );
  });

  test('RFB, both ways and through the relay', () => {
    const typed = fc.tuple(fc.constantFrom(0, 1, 2, 3, 4, 5, 6, 150, 248, 250, 251, 255), bytes).map(([type, rest]) => {
      return Buffer.concat([Buffer.from([type]), rest]);
    });
    fc.assert(
      fc.property(fc.array(typed, { maxLength: 6 }), (chunks) => {
        const splitters = [new RfbClientSplitter(1_000), new RfbServerSplitter(FORMAT)];
        for (const splitter of splitters) mayRefuse(() => chunks.forEach((chunk) => void splitter.push(chunk)));
        const relay = new VncRelay(FORMAT, EVENTS);
        mayRefuse(() => chunks.forEach((chunk) => void relay.fromClient(chunk)));
        mayRefuse(() => chunks.forEach((chunk) => void relay.fromServer(chunk)));
      }),
      RUNS,
    );
  });

  test("the page's first message", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
        const open = parseOpenMessage(text);
        return open === undefined || open.type === 'open';
      }),
      RUNS,
    );
  });
});
