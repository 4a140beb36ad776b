import { NightlatchError } from '../../core/errors.ts';
import {
  decodeChannelOpen,
  decodeChannelOpenConfirmation,
  decodeChannelRequest,
  decodeGlobalRequest,
  encodeChannelMessage,
  encodeChannelOpenFailure,
  MSG,
  OPEN_FAILURE,
  recipientChannel,
} from '../../wire/ssh/messages.ts';
import { auditProgram, noteExit } from './relay-audit.ts';
import type { RelayChannel } from './relay-channel.ts';
import {
  clampConfirmation,
  dataOf,
  MAX_CHANNELS,
  MAX_DATA_PACKET,
  newChannel,
  REQUEST_FAILURE,
  type RelayLink,
  removeIfClosed,
} from './relay-link.ts';
import { flushNotice } from './relay-notices.ts';
import { judgeTargetOpen } from './rules.ts';

/** The way from the target to the client. */
export class TargetPackets {
  readonly #link: RelayLink;

  constructor(link: RelayLink) {
    this.#link = link;
  }

  packet(packet: Buffer): void {
    switch (packet[0]) {
      case MSG.CHANNEL_DATA:
      case MSG.CHANNEL_EXTENDED_DATA:
        this.#data(packet);
        return;
      case MSG.CHANNEL_WINDOW_ADJUST:
        if (this.#channel(packet) !== undefined) this.#link.client.send(packet);
        return;
      case MSG.CHANNEL_EOF: {
        const channel = this.#channel(packet);
        if (channel === undefined) return;
        channel.targetEof = true;
        this.#link.client.send(packet);
        return;
      }
      case MSG.CHANNEL_CLOSE: {
        const channel = this.#channel(packet);
        if (channel === undefined) return;
        channel.targetClosed = true;
        this.#link.client.send(packet);
        removeIfClosed(this.#link, channel);
        return;
      }
      case MSG.CHANNEL_REQUEST:
        this.#request(packet);
        return;
      case MSG.CHANNEL_SUCCESS:
      case MSG.CHANNEL_FAILURE:
        this.#link.channels.byClient(recipientChannel(packet))?.toClient.reply(packet);
        return;
      case MSG.CHANNEL_OPEN:
        this.#open(packet);
        return;
      case MSG.CHANNEL_OPEN_CONFIRMATION:
        this.#confirmation(packet);
        return;
      case MSG.CHANNEL_OPEN_FAILURE: {
        const channel = this.#link.channels.byClient(recipientChannel(packet));
        if (channel === undefined || channel.confirmed) return;
        this.#link.channels.remove(channel);
        channel.onOpened(false, 'refused by the target');
        this.#link.client.send(packet);
        return;
      }
      case MSG.GLOBAL_REQUEST: {
        // Liveness is a matter of each side (keepalive@openssh.com), and the target's host keys are none of the client's business.
        if (decodeGlobalRequest(packet).wantReply) this.#link.toTarget.answer(REQUEST_FAILURE);
        return;
      }
      case MSG.REQUEST_SUCCESS:
      case MSG.REQUEST_FAILURE:
        this.#link.toClient.reply(packet);
        return;
      default:
        throw new NightlatchError('protocol', 'no such message');
    }
  }

  #channel(packet: Buffer): RelayChannel | undefined {
    const channel = this.#link.channels.byClient(recipientChannel(packet));
    return channel?.confirmed && !channel.targetClosed ? channel : undefined;
  }

  #data(packet: Buffer): void {
    const channel = this.#channel(packet);
    if (channel === undefined) return;
    if (channel.terminal !== undefined) {
      this.#link.session.activity('output');
      channel.terminal.screen.feed(dataOf(packet));
      this.#link.client.send(packet);
      if (channel.pendingNotice !== undefined) flushNotice(this.#link.client, channel);
      return;
    }
    channel.atLineStart = packet[packet.length - 1] === 0x0a;
    // Work under way (SPEC 2.3): a program without a terminal. Forwarded ports count where the connection has no terminal.
    const work = channel.type === 'session' || !this.#link.channels.hasTerminal();
    this.#link.session.activity(work ? 'work' : 'output');
    this.#link.client.send(packet);
  }

  #request(packet: Buffer): void {
    const channel = this.#channel(packet);
    if (channel === undefined) return;
    const request = decodeChannelRequest(packet);
    switch (request.name) {
      case 'exit-status':
      case 'exit-signal':
        noteExit(channel, request);
        auditProgram(this.#link.session, channel);
        break;
      case 'eow@openssh.com':
      case 'xon-xoff':
        break;
      default:
        // keepalive@openssh.com among others: answered here.
        if (request.wantReply) channel.toTarget.answer(encodeChannelMessage(MSG.CHANNEL_FAILURE, channel.targetId));
        return;
    }
    if (request.wantReply) channel.toTarget.passedOn();
    this.#link.client.send(packet);
  }

  #open(packet: Buffer): void {
    const open = decodeChannelOpen(packet);
    const verdict = judgeTargetOpen(open, this.#link.rules(), this.#link.grants);
    if (!verdict.allowed || this.#link.channels.size >= MAX_CHANNELS) {
      const text = verdict.allowed ? 'too many channels' : verdict.text;
      const reason = verdict.allowed ? OPEN_FAILURE.RESOURCE_SHORTAGE : verdict.reason;
      this.#link.target.send(encodeChannelOpenFailure(open.sender, reason, text));
      return;
    }
    const channel = newChannel(this.#link, open.type, 'target');
    if (!this.#link.channels.setTargetId(channel, open.sender)) {
      throw new NightlatchError('protocol', `channel ${open.sender} is open already`);
    }
    const copy = Buffer.from(packet);
    copy.writeUInt32BE(Math.min(open.maxPacket, MAX_DATA_PACKET), open.windowOffset + 4);
    this.#link.client.send(copy);
  }

  #confirmation(packet: Buffer): void {
    const confirmation = decodeChannelOpenConfirmation(packet);
    const channel = this.#link.channels.byClient(confirmation.recipient);
    if (channel === undefined || channel.confirmed) return;
    if (!this.#link.channels.setTargetId(channel, confirmation.sender)) {
      throw new NightlatchError('protocol', `channel ${confirmation.sender} is open already`);
    }
    channel.onOpened(true, '');
    this.#link.client.send(clampConfirmation(packet));
  }
}
