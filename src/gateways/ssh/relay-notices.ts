import type { Clock } from '../../core/clock.ts';
import type { SessionEnd } from '../../session/types.ts';
import { SshWriter } from '../../wire/ssh/buffer.ts';
import {
  DISCONNECT,
  EXTENDED_DATA_STDERR,
  encodeChannelData,
  encodeChannelExtendedData,
  encodeChannelMessage,
  encodeChannelOpenFailure,
  encodeChannelRequest,
  MSG,
  OPEN_FAILURE,
  recipientChannel,
} from '../../wire/ssh/messages.ts';
import { encodeEnd, encodeWarning, encodeWarningCancelled, sanitizeText } from '../../wire/terminal/notice.ts';
import type { PacketPeer } from './packet-peer.ts';
import type { ChannelTable, RelayChannel } from './relay-channel.ts';

/** Exit status of a program that was cut: what `ssh` itself uses when its connection breaks. */
const CUT_EXIT_STATUS = 255;
/** How long the client may take to read its end before the connection is closed, in milliseconds; SPEC 2.4 allows 2 s in all. */
const TELL_MS = 1_000;

/** Shows a notice on the channel's terminal now, or as soon as its output is at rest. Channels without a terminal show none. */
export function showNotice(
  client: PacketPeer,
  channel: RelayChannel,
  kind: 'warning' | 'cancelled',
  text: string,
): void {
  if (channel.terminal === undefined || !channel.confirmed || channel.targetEof || channel.targetClosed) return;
  if (kind === 'cancelled' && !channel.warned) {
    // The warning never came to be shown: there is nothing to take back.
    channel.pendingNotice = undefined;
    return;
  }
  channel.pendingNotice = { kind, text };
  flushNotice(client, channel);
}

/** Writes a waiting notice if the terminal's output is at rest. */
export function flushNotice(client: PacketPeer, channel: RelayChannel): void {
  const notice = channel.pendingNotice;
  const screen = channel.terminal?.screen;
  if (notice === undefined || screen === undefined || !screen.atRest) return;
  channel.pendingNotice = undefined;
  const data = (notice.kind === 'warning' ? encodeWarning : encodeWarningCancelled)(notice.text, screen);
  if (data.length === 0 || !channel.takeReserve(data.length)) return;
  channel.warned = notice.kind === 'warning';
  screen.feed(data);
  client.send(encodeChannelData(channel.clientId, data));
}

/** Writes a line on a terminal that nothing has been written on yet. */
export function showLine(client: PacketPeer, channel: RelayChannel, text: string): void {
  if (text === '' || channel.terminal === undefined) return;
  const data = Buffer.from(`${sanitizeText(text)}\r\n`);
  if (!channel.takeReserve(data.length)) return;
  channel.terminal.screen.feed(data);
  client.send(encodeChannelData(channel.clientId, data));
}

export interface EndOptions {
  readonly client: PacketPeer;
  readonly target: PacketPeer;
  readonly channels: ChannelTable;
  readonly clock: Clock;
  readonly end: SessionEnd;
}

/** The end of a connection (SPEC 2.4): the user is told on every session channel, the target's programs are hung up, both sides close. */
export async function endChannels({ client, target, channels, clock, end }: EndOptions): Promise<void> {
  client.onWritable = () => {};
  target.onWritable = () => {};
  client.onClose = () => {};
  target.onClose = () => {};
  target.onPacket = () => {};
  const targetGone = hangUp(target, channels, end.text);
  if (end.tell) await tellClient(client, channels, clock, end.text);
  await Promise.all([client.disconnect(DISCONNECT.BY_APPLICATION, end.text), targetGone]);
}

/**
 * Ends what runs on the target: SIGHUP to the programs (RFC 4254 section 6.9), as when a terminal is closed; sshd sends it by itself only
 * where there is a terminal. What ignores SIGHUP (`nohup`) or has left its process group stays, as the target's own rules have it.
 */
function hangUp(target: PacketPeer, channels: ChannelTable, text: string): Promise<void> {
  const hup = new SshWriter(16).string('HUP').finish();
  for (const channel of channels.all()) {
    if (!channel.confirmed || channel.clientClosed) continue;
    if (channel.running) target.send(encodeChannelRequest(channel.targetId, 'signal', false, hup));
    target.send(encodeChannelMessage(MSG.CHANNEL_CLOSE, channel.targetId));
  }
  return target.disconnect(DISCONNECT.BY_APPLICATION, text);
}

/** Writes the reason and closes every session channel; waits until the client has read it, but not for long. */
async function tellClient(client: PacketPeer, channels: ChannelTable, clock: Clock, text: string): Promise<void> {
  const open = new Set<number>();
  for (const channel of channels.all()) {
    if (channel.openedBy === 'client' && !channel.confirmed) {
      client.send(encodeChannelOpenFailure(channel.clientId, OPEN_FAILURE.CONNECT_FAILED, text));
    } else if (channel.confirmed && channel.type === 'session') {
      tellChannel(client, channel, text);
      if (!channel.clientClosed) open.add(channel.targetId);
    }
  }
  if (open.size === 0) return;
  // `ssh` drops what it has not written yet when it reads SSH_MSG_DISCONNECT: it must have closed its channels first.
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = clock.at(clock.now() + TELL_MS, resolve);
  client.onClose = () => resolve();
  client.onPacket = (packet) => {
    if (packet[0] !== MSG.CHANNEL_CLOSE) return;
    open.delete(recipientChannel(packet));
    if (open.size === 0) resolve();
  };
  // A client that had to wait for the target may have been paused.
  client.resume();
  await promise;
  timer.cancel();
}

function tellChannel(client: PacketPeer, channel: RelayChannel, text: string): void {
  if (channel.targetClosed) return;
  if (!channel.targetEof) {
    const screen = channel.terminal?.screen;
    if (screen === undefined) {
      const line = Buffer.from(`${channel.atLineStart ? '' : '\n'}${sanitizeText(text)}\n`);
      if (channel.takeReserve(line.length)) {
        client.send(encodeChannelExtendedData(channel.clientId, EXTENDED_DATA_STDERR, line));
      }
    } else {
      const data = encodeEnd(text, screen);
      if (channel.takeReserve(data.length)) client.send(encodeChannelData(channel.clientId, data));
    }
  }
  if (channel.exit === undefined) {
    const status = new SshWriter(4).uint32(CUT_EXIT_STATUS).finish();
    client.send(encodeChannelRequest(channel.clientId, 'exit-status', false, status));
  }
  if (!channel.targetEof) client.send(encodeChannelMessage(MSG.CHANNEL_EOF, channel.clientId));
  client.send(encodeChannelMessage(MSG.CHANNEL_CLOSE, channel.clientId));
}
