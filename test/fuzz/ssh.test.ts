// Random and mutated input to every decoder of SSH: an answer or a DecodeError (a NightlatchError where the state decides), never anything else.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { DecodeError, NightlatchError } from '../../src/core/errors.ts';
import { IdentReader } from '../../src/gateways/ssh/ident.ts';
import { ChannelHost } from '../../src/gateways/ssh/local-channel.ts';
import { MAX_PACKET_LENGTH, PacketFramer } from '../../src/gateways/ssh/packet-stream.ts';
import { SshRelay } from '../../src/gateways/ssh/relay.ts';
import { parseScp } from '../../src/gateways/ssh/relay-audit.ts';
import { decodeRequest } from '../../src/gateways/ssh/server-auth.ts';
import type { Session } from '../../src/session/types.ts';
import { SshWriter } from '../../src/wire/ssh/buffer.ts';
import { decodeKexInit, encodeKexInit } from '../../src/wire/ssh/kexinit.ts';
import * as messages from '../../src/wire/ssh/messages.ts';
import { FakeClock } from '../fixtures/fake-clock.ts';

const RUNS = { numRuns: 1_000 };
const offer = {
  kex: ['curve25519-sha256'],
  hostKey: ['ssh-ed25519'],
  cipherClientToServer: ['aes128-gcm@openssh.com'],
  cipherServerToClient: ['aes128-gcm@openssh.com'],
  macClientToServer: [],
  macServerToClient: [],
};
const forward = messages.encodeForwardedConnection({ host: 'db', port: 1, originHost: '::1', originPort: 2 });
const pty = new SshWriter().string('xterm').uint32(80).uint32(24).uint32(0).uint32(0).string('\0').finish();
const text = (value: string) => new SshWriter().string(value).finish();

/** Well-formed packets of both sides of a connection, in an order that makes sense. */
const PACKETS: readonly Buffer[] = [
  messages.encodeChannelOpen('session', 0, 100_000, 32_768),
  messages.encodeChannelOpenConfirmation({ recipient: 0, sender: 0, window: 100_000, maxPacket: 32_768 }),
  messages.encodeChannelRequest(0, 'pty-req', true, pty),
  messages.encodeChannelRequest(0, 'env', false, Buffer.concat([text('LANG'), text('C')])),
  messages.encodeChannelRequest(0, 'exec', true, text('scp -t /tmp')),
  messages.encodeChannelRequest(0, 'exit-status', false, Buffer.alloc(4)),
  messages.encodeChannelRequest(0, 'exit-signal', false, text('TERM')),
  messages.encodeChannelRequest(0, 'window-change', false, Buffer.alloc(16)),
  messages.encodeChannelMessage(messages.MSG.CHANNEL_SUCCESS, 0),
  messages.encodeChannelData(0, Buffer.from('\x1b[31mtext')),
  messages.encodeChannelExtendedData(0, 1, Buffer.from('error')),
  messages.encodeWindowAdjust(0, 5),
  messages.encodeChannelOpen('direct-tcpip', 1, 100, 100, forward),
  messages.encodeChannelOpen('forwarded-tcpip', 2, 100, 100, forward),
  messages.encodeChannelOpenFailure(1, 1, 'no'),
  messages.encodeGlobalRequest('tcpip-forward', true, Buffer.concat([text('localhost'), Buffer.alloc(4)])),
  Buffer.from([81, 0, 0, 0, 9]),
  Buffer.from([82]),
  messages.encodeChannelMessage(messages.MSG.CHANNEL_EOF, 0),
  messages.encodeChannelMessage(messages.MSG.CHANNEL_CLOSE, 0),
];

const random = fc.uint8Array({ maxLength: 300 }).map((array) => Buffer.from(array));
/** A packet of the above with some of its bytes changed and perhaps its end cut off. */
const mutated = fc
  .record({
    packet: fc.constantFrom(...PACKETS, encodeKexInit(offer)),
    changes: fc.array(fc.record({ at: fc.nat(), to: fc.nat(255) }), { maxLength: 4 }),
    cut: fc.option(fc.nat(), { freq: 3 }),
  })
  .map(({ packet, changes, cut }) => {
    const copy = Buffer.from(packet);
    for (const { at, to } of changes) copy[at % copy.length] = to;
    return cut === null ? copy : copy.subarray(0, 1 + (cut % copy.length));
  });
const input = fc.oneof(random, mutated, fc.constantFrom(...PACKETS));

function mayRefuse(decode: () => unknown, kind: typeof NightlatchError | typeof DecodeError = DecodeError): void {
  try {
    decode();
  } catch (error) {
    if (!(error instanceof kind)) throw error;
  }
}

describe('SSH decoders, fuzzed', () => {
  const decoders: Record<string, (bytes: Buffer) => unknown> = {
    decodeKexInit,
    decodeRequest,
    decodeDisconnect: messages.decodeDisconnect,
    decodeGlobalRequest: messages.decodeGlobalRequest,
    decodeChannelOpen: messages.decodeChannelOpen,
    decodeChannelOpenConfirmation: messages.decodeChannelOpenConfirmation,
    decodeChannelRequest: messages.decodeChannelRequest,
    decodeWindowAdjust: messages.decodeWindowAdjust,
    decodeChannelData: messages.decodeChannelData,
    decodeChannelExtendedData: messages.decodeChannelExtendedData,
    decodeForwardedConnection: messages.decodeForwardedConnection,
    decodeForwardAddress: messages.decodeForwardAddress,
    decodePtyRequest: messages.decodePtyRequest,
    recipientChannel: messages.recipientChannel,
  };
  for (const [name, decode] of Object.entries(decoders)) {
    test(name, () => {
      fc.assert(
        fc.property(input, (bytes) => mayRefuse(() => decode(bytes))),
        RUNS,
      );
    });
  }

  test('a command line is scp or not', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.constantFrom('scp -t x', 'scp -r -f -- y')), (line) => void parseScp(line)),
      RUNS,
    );
  });

  test('identification strings, however they are cut', () => {
    const begin = fc.oneof(
      random,
      fc.constantFrom(Buffer.from('SSH-2.0-x\r\nrest'), Buffer.from('hello\nSSH-1.5-x\n')),
    );
    fc.assert(
      fc.property(begin, fc.array(random, { maxLength: 5 }), fc.boolean(), (first, others, lines) => {
        const reader = new IdentReader(lines);
        mayRefuse(() => {
          for (const chunk of [first, ...others]) if (reader.read(chunk) !== undefined) return;
        }, NightlatchError);
        assert.ok(reader.peer === undefined || reader.peer.length <= 255);
      }),
      RUNS,
    );
  });

  test('packets before there are keys: bounded, whatever the length field says', () => {
    fc.assert(
      fc.property(fc.array(random, { maxLength: 10 }), (chunks) => {
        const framer = new PacketFramer();
        mayRefuse(() => {
          for (const chunk of chunks) {
            framer.feed(Buffer.from(chunk), (payload) => {
              assert.ok(payload.length > 0 && payload.length <= MAX_PACKET_LENGTH);
              return true;
            });
          }
        }, NightlatchError);
      }),
      RUNS,
    );
  });

  test('the relay: the sender of a bad packet is named, nothing is thrown', () => {
    const side = fc.constantFrom('client' as const, 'target' as const);
    fc.assert(
      fc.property(fc.array(fc.tuple(side, input), { maxLength: 40 }), (steps) => {
        const peer = () => ({
          send: () => {},
          onPacket: (_packet: Buffer) => {},
          onWritable: () => {},
          onClose: () => {},
          pause: () => {},
          resume: () => {},
          disconnect: async () => {},
          abort: () => {},
        });
        const [client, target] = [peer(), peer()];
        const session = {
          activity: () => {},
          end: async () => {},
          audit: (...fields: unknown[]) => void JSON.stringify(fields),
          connectText: 'limit',
        };
        const relay = new SshRelay({
          client,
          target,
          session: session as unknown as Session,
          clock: new FakeClock(),
          rules: () => ({
            terminal: true,
            forwardAgent: true,
            localForwarding: true,
            remoteForwarding: true,
            maxSessions: 0,
          }),
        });
        for (const [from, packet] of steps) {
          if (packet.length > 0) (from === 'client' ? client : target).onPacket(Buffer.from(packet));
        }
        relay.notice('warning', 'soon');
        void relay.close({ cause: 'idle', text: 'over', tell: true });
      }),
      { numRuns: 500 },
    );
  });

  test('channels that end here', () => {
    fc.assert(
      fc.property(fc.array(input, { maxLength: 40 }), (packets) => {
        const host = new ChannelHost(() => {}, {
          open: () => ({ accept: (channel) => void channel.resume() }),
          global: () => true,
        });
        for (const packet of packets)
          if (packet.length > 0) mayRefuse(() => host.packet(Buffer.from(packet)), NightlatchError);
        host.close();
      }),
      { numRuns: 500 },
    );
  });
});
