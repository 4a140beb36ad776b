import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { FakeClock, settle } from '../../../test/fixtures/fake-clock.ts';
import type { ActivityKind, Session, SessionEnd } from '../../session/types.ts';
import { SshReader, SshWriter } from '../../wire/ssh/buffer.ts';
import {
  decodeChannelData,
  decodeChannelOpen,
  decodeWindowAdjust,
  encodeChannelData,
  encodeChannelExtendedData,
  encodeChannelMessage,
  encodeChannelOpen,
  encodeChannelOpenConfirmation,
  encodeChannelRequest,
  encodeForwardedConnection,
  encodeGlobalRequest,
  encodeWindowAdjust,
  MSG,
  recipientChannel,
} from '../../wire/ssh/messages.ts';
import type { PacketPeer, PeerClosed } from './packet-peer.ts';
import { SshRelay } from './relay.ts';
import type { SshRules } from './rules.ts';

/** A side of the relay that keeps what it was sent. */
class FakePeer implements PacketPeer {
  sent: Buffer[] = [];
  paused = false;
  disconnected: string | undefined;
  aborted = false;
  onPacket: (packet: Buffer) => void = () => {};
  onWritable: (writable: boolean) => void = () => {};
  onClose: (closed: PeerClosed) => void = () => {};
  send(packet: Uint8Array): void {
    this.sent.push(Buffer.from(packet));
  }
  pause(): void {
    this.paused = true;
  }
  resume(): void {
    this.paused = false;
  }
  async disconnect(_reason: number, text: string): Promise<void> {
    this.disconnected = text;
  }
  abort(): void {
    this.aborted = true;
  }

  /** What was sent since the last call. */
  take(): Buffer[] {
    const { sent } = this;
    this.sent = [];
    return sent;
  }
}

class FakeSession {
  activities: ActivityKind[] = [];
  ends: string[] = [];
  audited: (readonly [string, string, Readonly<Record<string, unknown>>])[] = [];
  connectText = '';
  activity(kind: ActivityKind): void {
    this.activities.push(kind);
  }
  async end(cause: string, detail = ''): Promise<void> {
    this.ends.push(`${cause}: ${detail}`);
  }
  audit(event: string, code: string, fields: Readonly<Record<string, unknown>>): void {
    this.audited.push([event, code, fields]);
  }
  takeActivities(): ActivityKind[] {
    const { activities } = this;
    this.activities = [];
    return activities;
  }
}

const CLIENT_ID = 4;
const TARGET_ID = 9;
const WINDOW = 100_000;
const ALL: SshRules = {
  terminal: true,
  forwardAgent: true,
  localForwarding: true,
  remoteForwarding: true,
  maxSessions: 0,
};

function start(rules: Partial<SshRules> = {}) {
  const client = new FakePeer();
  const target = new FakePeer();
  const session = new FakeSession();
  const clock = new FakeClock();
  const relay = new SshRelay({
    client,
    target,
    session: session as unknown as Session,
    clock,
    rules: () => ({ ...ALL, ...rules }),
  });
  const pty = () => new SshWriter().string('xterm').uint32(80).uint32(24).uint32(0).uint32(0).string('').finish();
  return {
    client,
    target,
    session,
    clock,
    relay,
    fromClient: (packet: Buffer) => client.onPacket(packet),
    fromTarget: (packet: Buffer) => target.onPacket(packet),
    /** Opens the channel 4/9. */
    open(type = 'session', data: Uint8Array = Buffer.alloc(0), window = WINDOW) {
      client.onPacket(encodeChannelOpen(type, CLIENT_ID, window, 32_768, data));
      target.onPacket(
        encodeChannelOpenConfirmation({ recipient: CLIENT_ID, sender: TARGET_ID, window: 50_000, maxPacket: 32_768 }),
      );
    },
    request(name: string, data: Uint8Array = Buffer.alloc(0), wantReply = false) {
      client.onPacket(encodeChannelRequest(TARGET_ID, name, wantReply, data));
    },
    terminal() {
      this.open();
      this.request('pty-req', pty());
      this.request('shell');
      client.take();
      target.take();
      session.takeActivities();
    },
  };
}

const END: SessionEnd = { cause: 'idle', text: 'Session ended: no activity for 10m0s (role a).', tell: true };
const string = (value: string) => new SshWriter().string(value).finish();

describe('the relay', () => {
  test('passes packets as they are, with limits on their size', () => {
    const { client, target, open, fromClient, fromTarget } = start();
    client.onPacket(encodeChannelOpen('session', CLIENT_ID, 5_000_000, 1_000_000));
    const opened = decodeChannelOpen(target.take()[0]!);
    assert.equal(opened.maxPacket, 32_768);
    fromTarget(
      encodeChannelOpenConfirmation({ recipient: CLIENT_ID, sender: TARGET_ID, window: 7, maxPacket: 9 << 20 }),
    );
    assert.equal(client.take()[0]!.readUInt32BE(13), 32_768);
    const down = encodeChannelData(CLIENT_ID, Buffer.from('down'));
    const up = encodeChannelExtendedData(TARGET_ID, 1, Buffer.from('up'));
    fromTarget(down);
    fromClient(up);
    assert.deepEqual([client.take(), target.take()], [[down], [up]]);
    void open;
  });

  test('stops one side when the other takes nothing more', () => {
    const { client, target } = start();
    client.onWritable(false);
    assert.equal(target.paused, true);
    client.onWritable(true);
    assert.equal(target.paused, false);
    target.onWritable(false);
    assert.equal(client.paused, true);
  });

  test('drops what is for no channel, and what comes after a close', () => {
    const lab = start();
    lab.open();
    lab.client.take();
    lab.target.take();
    lab.fromClient(encodeChannelData(77, Buffer.from('x')));
    lab.fromTarget(encodeChannelData(77, Buffer.from('x')));
    lab.fromClient(encodeChannelMessage(MSG.CHANNEL_CLOSE, TARGET_ID));
    lab.fromClient(encodeChannelData(TARGET_ID, Buffer.from('late')));
    assert.equal(lab.client.take().length, 0);
    assert.deepEqual(lab.target.take(), [encodeChannelMessage(MSG.CHANNEL_CLOSE, TARGET_ID)]);
    lab.fromTarget(encodeChannelMessage(MSG.CHANNEL_CLOSE, CLIENT_ID));
    // The numbers are free again.
    lab.open();
    assert.deepEqual(lab.session.ends, []);
  });

  test("a number that is in use is the sender's fault", () => {
    const lab = start();
    lab.open();
    lab.client.onPacket(encodeChannelOpen('session', CLIENT_ID, 1, 1));
    assert.match(lab.session.ends[0]!, /^error: the client sent a bad packet of type 90/);
    lab.client.onPacket(encodeChannelOpen('session', 5, 1, 1));
    lab.fromTarget(encodeChannelOpenConfirmation({ recipient: 5, sender: TARGET_ID, window: 1, maxPacket: 1 }));
    assert.match(lab.session.ends[1]!, /^target_closed: the target sent a bad packet of type 91/);
  });
});

describe('what counts as activity', () => {
  test('with a terminal', () => {
    const lab = start();
    lab.terminal();
    const counted = (act: () => void) => {
      act();
      return lab.session.takeActivities();
    };
    assert.deepEqual(
      counted(() => lab.fromClient(encodeChannelData(TARGET_ID, Buffer.from('l')))),
      ['input'],
    );
    assert.deepEqual(
      counted(() => lab.fromTarget(encodeChannelData(CLIENT_ID, Buffer.from('out')))),
      ['output'],
    );
    for (const reply of ['\x1b[?1;2c', '\x1b[I', '\x1b[O', '\x1b[24;80R'])
      assert.deepEqual(
        counted(() => lab.fromClient(encodeChannelData(TARGET_ID, Buffer.from(reply)))),
        [],
        reply,
      );
    assert.deepEqual(
      counted(() => lab.request('window-change', Buffer.alloc(16))),
      [],
    );
    assert.deepEqual(
      counted(() => lab.fromClient(encodeWindowAdjust(TARGET_ID, 500))),
      [],
    );
    assert.deepEqual(
      counted(() => lab.fromTarget(encodeWindowAdjust(CLIENT_ID, 500))),
      [],
    );
    assert.deepEqual(
      counted(() => lab.fromClient(encodeGlobalRequest('keepalive@openssh.com', true))),
      [],
    );
    assert.deepEqual(
      counted(() => lab.fromTarget(encodeGlobalRequest('keepalive@openssh.com', true))),
      [],
    );
    assert.deepEqual(
      counted(() => lab.fromTarget(encodeChannelRequest(CLIENT_ID, 'keepalive@openssh.com', true))),
      [],
    );
    assert.deepEqual(
      counted(() => lab.request('signal', string('INT'))),
      ['input'],
    );
  });

  test('without a terminal', () => {
    const lab = start();
    lab.open();
    lab.request('exec', string('make'));
    assert.deepEqual(lab.session.takeActivities(), ['input', 'input']);
    lab.fromTarget(encodeChannelData(CLIENT_ID, Buffer.from('out')));
    lab.fromTarget(encodeChannelExtendedData(CLIENT_ID, 1, Buffer.from('err')));
    lab.fromClient(encodeChannelData(TARGET_ID, Buffer.from('in')));
    assert.deepEqual(lab.session.takeActivities(), ['work', 'work', 'input']);
  });

  test('a forwarded port counts by what comes, unless the connection has a terminal', () => {
    const data = encodeForwardedConnection({ host: 'db', port: 5432, originHost: '::1', originPort: 1 });
    const alone = start();
    alone.open('direct-tcpip', data);
    alone.session.takeActivities();
    alone.fromTarget(encodeChannelData(CLIENT_ID, Buffer.from('rows')));
    assert.deepEqual(alone.session.takeActivities(), ['work']);
    const beside = start();
    beside.terminal();
    beside.client.onPacket(encodeChannelOpen('direct-tcpip', 5, WINDOW, 32_768, data));
    beside.fromTarget(encodeChannelOpenConfirmation({ recipient: 5, sender: 10, window: 1, maxPacket: 1 }));
    beside.session.takeActivities();
    beside.fromTarget(encodeChannelData(5, Buffer.from('rows')));
    assert.deepEqual(beside.session.takeActivities(), ['output']);
  });
});

describe('notices in a terminal', () => {
  const textOf = (packets: Buffer[]) => packets.map((packet) => decodeChannelData(packet).toString()).join('');

  test('are put in, and taken back', () => {
    const lab = start();
    lab.terminal();
    lab.relay.notice('warning', 'ends in 60s');
    assert.match(textOf(lab.client.take()), /ends in 60s\r\n$/);
    lab.relay.notice('cancelled', 'goes on');
    assert.match(textOf(lab.client.take()), /goes on\r\n$/);
  });

  test('wait for the end of an escape sequence and of a character', () => {
    for (const [half, rest] of [
      ['\x1b[3', '1m'],
      ['\xc3', '\xa4'],
    ] as const) {
      const lab = start();
      lab.terminal();
      lab.fromTarget(encodeChannelData(CLIENT_ID, Buffer.from(half, 'latin1')));
      lab.client.take();
      lab.relay.notice('warning', 'ends in 60s');
      assert.deepEqual(lab.client.take(), []);
      lab.fromTarget(encodeChannelData(CLIENT_ID, Buffer.from(rest, 'latin1')));
      const [output, notice] = lab.client.take();
      assert.equal(decodeChannelData(output!).toString('latin1'), rest);
      assert.match(decodeChannelData(notice!).toString(), /ends in 60s/);
    }
  });

  test('a warning that was never shown is not taken back', () => {
    const lab = start();
    lab.terminal();
    lab.fromTarget(encodeChannelData(CLIENT_ID, Buffer.from('\x1b[')));
    lab.client.take();
    lab.relay.notice('warning', 'ends in 60s');
    lab.relay.notice('cancelled', 'goes on');
    lab.fromTarget(encodeChannelData(CLIENT_ID, Buffer.from('m')));
    assert.equal(lab.client.take().length, 1);
  });

  test('nothing is put into a channel without a terminal', () => {
    const lab = start();
    lab.open();
    lab.request('exec', string('cat'));
    lab.client.take();
    lab.relay.notice('warning', 'ends in 60s');
    assert.deepEqual(lab.client.take(), []);
  });

  test('the limit is named once, before the first output', () => {
    const lab = start();
    lab.session.connectText = 'This session ends after 10m0s without activity (role a).';
    lab.terminal();
    const shown = start();
    shown.session.connectText = lab.session.connectText;
    shown.open();
    shown.request('pty-req', new SshWriter().string('x').uint32(1).uint32(1).uint32(1).uint32(1).string('').finish());
    shown.client.take();
    shown.request('shell');
    assert.equal(textOf(shown.client.take()), 'This session ends after 10m0s without activity (role a).\r\n');
  });

  test('never overrun the client, whatever both sides do', () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('output' as const), bytes: fc.nat(20_000) }),
      fc.record({ kind: fc.constant('consume' as const), bytes: fc.nat(30_000) }),
      fc.record({ kind: fc.constant('notice' as const), bytes: fc.constant(0) }),
    );
    fc.assert(
      fc.property(fc.integer({ min: 100, max: 200_000 }), fc.array(step, { maxLength: 80 }), (window, steps) => {
        const lab = start();
        lab.open('session', Buffer.alloc(0), window);
        lab.request('pty-req', new SshWriter().string('x').uint32(1).uint32(1).uint32(1).uint32(1).string('').finish());
        const opened = decodeChannelOpen(lab.target.take()[0]!);
        // What the target believes it may send, and what the client has really granted and not got yet.
        let believed = opened.window;
        let granted = window;
        let unread = 0;
        const settleClient = () => {
          for (const packet of lab.client.take()) {
            if (packet[0] !== MSG.CHANNEL_DATA) continue;
            granted -= decodeChannelData(packet).length;
            unread += decodeChannelData(packet).length;
            assert.ok(granted >= 0, 'more was sent than the client granted');
          }
        };
        settleClient();
        for (const { kind, bytes } of steps) {
          if (kind === 'output') {
            const length = Math.min(bytes, believed);
            believed -= length;
            lab.fromTarget(encodeChannelData(CLIENT_ID, Buffer.alloc(length, 'x')));
          } else if (kind === 'notice') lab.relay.notice('warning', 'this session ends in 60s');
          else {
            const length = Math.min(bytes, unread);
            if (length === 0) continue;
            unread -= length;
            granted += length;
            lab.fromClient(encodeWindowAdjust(TARGET_ID, length));
          }
          settleClient();
          for (const packet of lab.target.take()) {
            if (packet[0] === MSG.CHANNEL_WINDOW_ADJUST) believed += decodeWindowAdjust(packet);
          }
          assert.ok(believed <= granted, 'the target believes in more than there is');
        }
      }),
      { numRuns: 200 },
    );
  });
});

describe('policy', () => {
  const reasonOf = (packet: Buffer) => {
    assert.equal(packet[0], MSG.CHANNEL_OPEN_FAILURE);
    const reader = new SshReader(packet, 5);
    reader.uint32();
    return reader.utf8();
  };
  const forward = encodeForwardedConnection({ host: 'db', port: 5432, originHost: '', originPort: 0 });

  test('channels that are not allowed never reach the target', () => {
    const lab = start({ localForwarding: false, maxSessions: 1 });
    lab.fromClient(encodeChannelOpen('direct-tcpip', 1, 1, 1, forward));
    lab.fromClient(encodeChannelOpen('tun@openssh.com', 2, 1, 1));
    lab.fromClient(encodeChannelOpen('x11', 3, 1, 1));
    assert.deepEqual(lab.target.take(), []);
    const [forwarding, tunnel] = lab.client.take().map(reasonOf);
    assert.match(forwarding!, /not allowed by your roles/);
    assert.match(tunnel!, /not supported/);
    assert.deepEqual(lab.session.audited[0]!.slice(0, 2), ['port', 'T3003E']);
    lab.open();
    lab.client.take();
    lab.fromClient(encodeChannelOpen('session', 8, 1, 1));
    assert.match(reasonOf(lab.client.take()[0]!), /max_sessions/);
  });

  test('the target may open only what the client asked for', () => {
    const lab = start();
    lab.fromTarget(encodeChannelOpen('forwarded-tcpip', 1, 1, 1));
    lab.fromTarget(encodeChannelOpen('auth-agent@openssh.com', 2, 1, 1));
    lab.fromTarget(encodeChannelOpen('session', 3, 1, 1));
    lab.fromTarget(encodeChannelOpen('x11', 4, 1, 1));
    assert.deepEqual(lab.client.take(), []);
    assert.deepEqual(
      lab.target.take().map((packet) => packet[0]),
      [92, 92, 92, 92],
    );
    lab.open();
    lab.request('auth-agent-req@openssh.com');
    lab.fromClient(encodeGlobalRequest('tcpip-forward', true, new SshWriter().string('').uint32(0).finish()));
    lab.fromTarget(new SshWriter().byte(MSG.REQUEST_SUCCESS).uint32(40_000).finish());
    lab.client.take();
    lab.fromTarget(encodeChannelOpen('auth-agent@openssh.com', 5, 1, 1));
    lab.fromTarget(encodeChannelOpen('forwarded-tcpip', 6, 1, 1));
    assert.equal(lab.client.take().length, 2);
    assert.deepEqual(lab.session.audited.at(-1), [
      'port',
      'T3003I',
      { addr: ':40000', direction: 'remote', success: true },
    ]);
  });

  test('answers keep the order of the requests, wherever they come from', () => {
    const lab = start();
    const names = ['tcpip-forward', 'keepalive@openssh.com', 'tcpip-forward', 'x@y', 'no-more-sessions@openssh.com'];
    for (const name of names)
      lab.fromClient(encodeGlobalRequest(name, true, new SshWriter().string('').uint32(1).finish()));
    assert.equal(lab.target.take().length, 3);
    assert.deepEqual(lab.client.take(), [], 'the first is not answered yet');
    for (const answer of [81, 82, 81]) lab.fromTarget(Buffer.from([answer]));
    assert.deepEqual(
      lab.client.take().map((packet) => packet[0]),
      [81, 82, 82, 82, 81],
    );
    lab.open();
    lab.client.take();
    lab.request('env', new SshWriter().string('A').string('b').finish(), true);
    lab.request('x11-req', Buffer.alloc(0), true);
    lab.request('exec', string('x'), true);
    for (const answer of [99, 100]) lab.fromTarget(encodeChannelMessage(answer, CLIENT_ID));
    assert.deepEqual(
      lab.client.take().map((packet) => packet[0]),
      [99, 100, 100],
    );
  });

  test('programs and copies are audited with their outcome', () => {
    const lab = start();
    const run = (name: string, command: string, exit: Buffer | undefined) => {
      lab.open();
      lab.request(name, string(command));
      if (exit !== undefined) lab.fromTarget(exit);
      lab.fromTarget(encodeChannelMessage(MSG.CHANNEL_CLOSE, CLIENT_ID));
      lab.fromClient(encodeChannelMessage(MSG.CHANNEL_CLOSE, TARGET_ID));
      return lab.session.audited.at(-1)!;
    };
    const status = (code: number) =>
      encodeChannelRequest(CLIENT_ID, 'exit-status', false, new SshWriter().uint32(code).finish());
    assert.deepEqual(run('exec', 'true', status(0)), ['exec', 'T3002I', { command: 'true', exitCode: '0' }]);
    assert.deepEqual(run('exec', 'false', status(1)), ['exec', 'T3002E', { command: 'false', exitCode: '1' }]);
    const killed = encodeChannelRequest(CLIENT_ID, 'exit-signal', false, string('TERM'));
    assert.deepEqual(run('exec', 'x', killed), ['exec', 'T3002E', { command: 'x', exitError: 'signal TERM' }]);
    assert.equal(run('exec', 'y', undefined)[1], 'T3002E');
    assert.deepEqual(run('subsystem', 'sftp', status(0)), ['subsystem', 'T3001I', { name: 'sftp', exitCode: '0' }]);
    const upload = run('exec', 'scp -p -t /tmp/x', status(0));
    assert.deepEqual([upload[0], upload[1], upload[2]['path']], ['scp', 'T3005I', '/tmp/x']);
    assert.equal(run('exec', 'scp -v -f -- /tmp/x', status(1))[1], 'T3004E');
  });
});

describe('the end', () => {
  test('is told on every session channel; both sides close', async () => {
    const lab = start();
    lab.terminal();
    lab.client.onPacket(encodeChannelOpen('session', 5, WINDOW, 32_768));
    lab.fromTarget(encodeChannelOpenConfirmation({ recipient: 5, sender: 10, window: 1, maxPacket: 1 }));
    lab.client.onPacket(encodeChannelRequest(10, 'exec', false, string('make')));
    lab.fromTarget(encodeChannelData(5, Buffer.from('no end of line')));
    lab.client.onPacket(encodeChannelOpen('session', 6, WINDOW, 32_768));
    lab.client.take();
    lab.target.take();
    const closed = lab.relay.close(END);
    await settle();
    const sent = lab.client.take();
    const of = (channel: number) => sent.filter((packet) => recipientChannel(packet) === channel);
    assert.deepEqual(
      of(CLIENT_ID).map((packet) => packet[0]),
      [MSG.CHANNEL_DATA, MSG.CHANNEL_REQUEST, MSG.CHANNEL_EOF, MSG.CHANNEL_CLOSE],
    );
    assert.match(
      decodeChannelData(of(CLIENT_ID)[0]!).toString(),
      /Session ended: no activity for 10m0s \(role a\)\.\r\n$/,
    );
    const second = of(5);
    assert.equal(second[0]![0], MSG.CHANNEL_EXTENDED_DATA);
    assert.equal(second[0]!.subarray(13).toString(), `\n${END.text}\n`);
    assert.equal(second[1]!.readUInt32BE(second[1]!.length - 4), 255);
    assert.equal(of(6)[0]![0], MSG.CHANNEL_OPEN_FAILURE);
    // The client has not closed its channels: it may still be reading.
    assert.equal(lab.client.disconnected, undefined);
    lab.fromClient(encodeChannelMessage(MSG.CHANNEL_CLOSE, TARGET_ID));
    lab.fromClient(encodeChannelMessage(MSG.CHANNEL_CLOSE, 10));
    await closed;
    assert.equal(lab.client.disconnected, END.text);
    assert.equal(lab.target.disconnected, END.text);
    assert.deepEqual(
      lab.target.take().map((packet) => packet[0]),
      [MSG.CHANNEL_REQUEST, MSG.CHANNEL_CLOSE, MSG.CHANNEL_REQUEST, MSG.CHANNEL_CLOSE],
      'programs are hung up, then closed',
    );
  });

  test('does not wait for long for a client that does not answer', async () => {
    const lab = start();
    lab.terminal();
    const closed = lab.relay.close(END);
    await lab.clock.advance(999);
    assert.equal(lab.client.disconnected, undefined);
    await lab.clock.advance(1);
    await closed;
    assert.equal(lab.client.disconnected, END.text);
  });

  test('says nothing to a client that is gone, and nothing twice', async () => {
    const lab = start();
    lab.terminal();
    const first = lab.relay.close({ ...END, tell: false });
    assert.equal(lab.relay.close(END), first);
    await first;
    assert.deepEqual(lab.client.take(), []);
  });

  test('a channel that has ended by itself is left alone', async () => {
    const lab = start();
    lab.open();
    lab.request('exec', string('true'));
    lab.fromTarget(encodeChannelRequest(CLIENT_ID, 'exit-status', false, new SshWriter().uint32(0).finish()));
    lab.fromTarget(encodeChannelMessage(MSG.CHANNEL_EOF, CLIENT_ID));
    lab.fromTarget(encodeChannelMessage(MSG.CHANNEL_CLOSE, CLIENT_ID));
    lab.client.take();
    const closed = lab.relay.close(END);
    await lab.clock.advance(1_000);
    await closed;
    assert.deepEqual(lab.client.take(), []);
  });
});
