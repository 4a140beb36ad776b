import { NightlatchError } from '../../core/errors.ts';
import type { Session } from '../../session/types.ts';
import { CONFIRMATION_WINDOW_OFFSET, MSG } from '../../wire/ssh/messages.ts';
import type { PacketPeer } from './packet-peer.ts';
import { auditProgram } from './relay-audit.ts';
import { type ChannelTable, RelayChannel } from './relay-channel.ts';
import type { ReplyQueue } from './reply-queue.ts';
import type { RelayGrants, SshRules } from './rules.ts';

/** Largest data packet that either side is allowed to send: every implementation takes it, and it keeps memory small. */
export const MAX_DATA_PACKET = 32_768;
/** Channels on one connection. */
export const MAX_CHANNELS = 1024;

export const REQUEST_FAILURE = Buffer.from([MSG.REQUEST_FAILURE]);

/** What both directions of a relay share. */
export interface RelayLink {
  readonly client: PacketPeer;
  readonly target: PacketPeer;
  readonly session: Session;
  readonly channels: ChannelTable;
  readonly grants: RelayGrants;
  /** Answers to the client's and to the target's global requests. */
  readonly toClient: ReplyQueue;
  readonly toTarget: ReplyQueue;
  /** What the user's roles allow now. */
  rules(): SshRules;
}

export function newChannel({ client, target }: RelayLink, type: string, openedBy: 'client' | 'target'): RelayChannel {
  return new RelayChannel(type, openedBy, {
    client: (packet) => client.send(packet),
    target: (packet) => target.send(packet),
  });
}

/** Forgets a channel that both sides have closed. */
export function removeIfClosed({ session, channels }: RelayLink, channel: RelayChannel): void {
  if (!channel.clientClosed || !channel.targetClosed) return;
  auditProgram(session, channel);
  channels.remove(channel);
}

/** The data of SSH_MSG_CHANNEL_DATA or _EXTENDED_DATA, without a copy; what follows the announced length is left out. */
export function dataOf(packet: Buffer): Buffer {
  const start = packet[0] === MSG.CHANNEL_DATA ? 9 : 13;
  if (packet.length < start) throw new NightlatchError('protocol', 'a data packet is too short');
  return packet.subarray(start, start + packet.readUInt32BE(start - 4));
}

/** SSH_MSG_CHANNEL_OPEN_CONFIRMATION with the largest packet that a relay takes. */
export function clampConfirmation(packet: Buffer): Buffer {
  const offset = CONFIRMATION_WINDOW_OFFSET + 4;
  if (packet.readUInt32BE(offset) <= MAX_DATA_PACKET) return packet;
  const copy = Buffer.from(packet);
  copy.writeUInt32BE(MAX_DATA_PACKET, offset);
  return copy;
}
