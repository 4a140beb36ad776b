import { NightlatchError } from '../../core/errors.ts';
import {
  decodeChannelOpen,
  decodeChannelOpenConfirmation,
  decodeChannelRequest,
  decodeGlobalRequest,
  decodeWindowAdjust,
  encodeChannelMessage,
  encodeChannelOpenFailure,
  encodeWindowAdjust,
  MSG,
  OPEN_FAILURE,
  recipientChannel,
} from '../../wire/ssh/messages.ts';
import { auditForward } from './relay-audit.ts';
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
import { showLine } from './relay-notices.ts';
import { judgeChannelOpen, judgeChannelRequest, judgeGlobalRequest } from './rules.ts';

/** The way from the client to the target. */
export class ClientPackets {
  readonly #link: RelayLink;
  #greeted = false;

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
        this.#adjust(packet);
        return;
      case MSG.CHANNEL_OPEN:
        this.#open(packet);
        return;
      case MSG.CHANNEL_OPEN_CONFIRMATION:
        this.#confirmation(packet);
        return;
      case MSG.CHANNEL_OPEN_FAILURE: {
        const channel = this.#link.channels.byTarget(recipientChannel(packet));
        if (channel === undefined || channel.confirmed) return;
        this.#link.channels.remove(channel);
        this.#link.target.send(packet);
        return;
      }
      case MSG.CHANNEL_REQUEST:
        this.#request(packet);
        return;
      case MSG.CHANNEL_SUCCESS:
      case MSG.CHANNEL_FAILURE:
        this.#link.channels.byTarget(recipientChannel(packet))?.toTarget.reply(packet);
        return;
      case MSG.CHANNEL_EOF:
        if (this.#channel(packet) !== undefined) this.#link.target.send(packet);
        return;
      case MSG.CHANNEL_CLOSE: {
        const channel = this.#channel(packet);
        if (channel === undefined) return;
        channel.clientClosed = true;
        this.#link.target.send(packet);
        removeIfClosed(this.#link, channel);
        return;
      }
      case MSG.GLOBAL_REQUEST:
        this.#global(packet);
        return;
      case MSG.REQUEST_SUCCESS:
      case MSG.REQUEST_FAILURE:
        this.#link.toTarget.reply(packet);
        return;
      default:
        throw new NightlatchError('protocol', 'no such message');
    }
  }

  /** The channel a message of the client is for; undefined for one that is gone, or that the client has closed. */
  #channel(packet: Buffer): RelayChannel | undefined {
    const channel = this.#link.channels.byTarget(recipientChannel(packet));
    return channel?.confirmed && !channel.clientClosed ? channel : undefined;
  }

  #data(packet: Buffer): void {
    const channel = this.#channel(packet);
    if (channel === undefined) return;
    const terminal = channel.terminal;
    // What a terminal answers by itself arrives as input though nobody typed (SPEC 2.3).
    if (terminal === undefined || terminal.input.feed(dataOf(packet))) this.#link.session.activity('input');
    this.#link.target.send(packet);
  }

  #adjust(packet: Buffer): void {
    const channel = this.#channel(packet);
    if (channel === undefined) return;
    const bytes = decodeWindowAdjust(packet);
    const forTarget = channel.adjust(bytes);
    if (forTarget === bytes) this.#link.target.send(packet);
    else if (forTarget > 0) this.#link.target.send(encodeWindowAdjust(channel.targetId, forTarget));
  }

  #open(packet: Buffer): void {
    const open = decodeChannelOpen(packet);
    const refuse = (reason: number, text: string) =>
      this.#link.client.send(encodeChannelOpenFailure(open.sender, reason, text));
    if (this.#link.channels.size >= MAX_CHANNELS) {
      refuse(OPEN_FAILURE.RESOURCE_SHORTAGE, 'too many channels');
      return;
    }
    const verdict = judgeChannelOpen(open, this.#link.rules(), this.#link.channels.sessions().length);
    if (!verdict.allowed) {
      auditForward(this.#link.session, open, false, verdict.text);
      refuse(verdict.reason, verdict.text);
      return;
    }
    const channel = newChannel(this.#link, open.type, 'client');
    if (!this.#link.channels.setClientId(channel, open.sender)) {
      throw new NightlatchError('protocol', `channel ${open.sender} is open already`);
    }
    channel.clientMaxPacket = open.maxPacket;
    // The packet's bytes are gone by the time of the answer.
    const request = { ...open, data: Buffer.from(open.data) };
    channel.onOpened = (ok, text) => auditForward(this.#link.session, request, ok, text);
    this.#link.session.activity('input');
    const copy = Buffer.from(packet);
    if (open.type === 'session') copy.writeUInt32BE(channel.reserveWindow(open.window), open.windowOffset);
    copy.writeUInt32BE(Math.min(open.maxPacket, MAX_DATA_PACKET), open.windowOffset + 4);
    this.#link.target.send(copy);
  }

  /** The client takes a channel that the target opened. */
  #confirmation(packet: Buffer): void {
    const confirmation = decodeChannelOpenConfirmation(packet);
    const channel = this.#link.channels.byTarget(confirmation.recipient);
    if (channel === undefined || channel.confirmed) return;
    if (!this.#link.channels.setClientId(channel, confirmation.sender)) {
      throw new NightlatchError('protocol', `channel ${confirmation.sender} is open already`);
    }
    channel.clientMaxPacket = confirmation.maxPacket;
    this.#link.target.send(clampConfirmation(packet));
  }

  #request(packet: Buffer): void {
    const channel = this.#channel(packet);
    if (channel === undefined) return;
    const request = decodeChannelRequest(packet);
    const verdict = judgeChannelRequest(request, channel, this.#link.rules());
    if (verdict === 'refuse') {
      if (request.wantReply) channel.toClient.answer(encodeChannelMessage(MSG.CHANNEL_FAILURE, channel.clientId));
      return;
    }
    if (verdict.activity) this.#link.session.activity('input');
    if (request.name === 'auth-agent-req@openssh.com') this.#link.grants.agent = true;
    verdict.accepted?.();
    if (channel.program !== undefined && channel.terminal !== undefined && !this.#greeted) {
      // Once a connection, before the program's first output: which limit applies (SPEC 2.5).
      this.#greeted = true;
      showLine(this.#link.client, channel, this.#link.session.connectText);
    }
    if (request.wantReply) {
      channel.toClient.passedOn((reply) => {
        if (reply[0] === MSG.CHANNEL_FAILURE) verdict.failed?.();
      });
    }
    this.#link.target.send(packet);
  }

  #global(packet: Buffer): void {
    const request = decodeGlobalRequest(packet);
    const verdict = judgeGlobalRequest(request, this.#link.rules());
    if (!verdict.allowed) {
      if (request.wantReply) this.#link.toClient.answer(REQUEST_FAILURE);
      return;
    }
    if (request.wantReply) {
      this.#link.toClient.passedOn((reply) => verdict.answered?.(this.#link.session, this.#link.grants, reply));
    }
    this.#link.target.send(packet);
  }
}
