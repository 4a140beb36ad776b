import type { Clock } from '../../core/clock.ts';
import { errorMessage, NightlatchError } from '../../core/errors.ts';
import type { Session, SessionEnd } from '../../session/types.ts';
import {
  CONFIRMATION_WINDOW_OFFSET,
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
import type { PacketPeer } from './packet-peer.ts';
import { auditForward, auditProgram, noteExit } from './relay-audit.ts';
import { ChannelTable, RelayChannel } from './relay-channel.ts';
import { endChannels, flushNotice, showLine, showNotice } from './relay-notices.ts';
import { ReplyQueue } from './reply-queue.ts';
import {
  judgeChannelOpen,
  judgeChannelRequest,
  judgeGlobalRequest,
  judgeTargetOpen,
  type RelayGrants,
  type SshRules,
} from './rules.ts';

/** Largest data packet that either side is allowed to send: every implementation takes it, and it keeps memory small. */
const MAX_DATA_PACKET = 32_768;
/** Channels on one connection. */
const MAX_CHANNELS = 1024;

const REQUEST_FAILURE = Buffer.from([MSG.REQUEST_FAILURE]);

export interface RelayOptions {
  readonly client: PacketPeer;
  readonly target: PacketPeer;
  readonly session: Session;
  readonly clock: Clock;
  /** What the user's roles allow now. */
  rules(): SshRules;
}

/**
 * Joins an authenticated client and a target, one to one: packets pass as they are, with their channel numbers and windows, and are
 * looked at on the side. Only what policy asks for is changed or answered here.
 */
export class SshRelay {
  readonly #client: PacketPeer;
  readonly #target: PacketPeer;
  readonly #session: Session;
  readonly #options: RelayOptions;
  readonly #channels = new ChannelTable();
  readonly #grants: RelayGrants = { agent: false, remoteForwards: 0 };
  readonly #toClient: ReplyQueue;
  readonly #toTarget: ReplyQueue;
  #greeted = false;
  #ended: Promise<void> | undefined;

  constructor(options: RelayOptions) {
    this.#options = options;
    this.#client = options.client;
    this.#target = options.target;
    this.#session = options.session;
    const { client, target } = options;
    this.#toClient = new ReplyQueue((packet) => client.send(packet));
    this.#toTarget = new ReplyQueue((packet) => target.send(packet));
    client.onPacket = (packet) => this.#guard(packet, client, () => this.#fromClient(packet));
    target.onPacket = (packet) => this.#guard(packet, target, () => this.#fromTarget(packet));
    client.onWritable = (writable) => (writable ? target.resume() : target.pause());
    target.onWritable = (writable) => (writable ? client.resume() : client.pause());
    client.onClose = (closed) =>
      void this.#session.end(closed.by === 'error' ? 'error' : 'client_closed', `client: ${closed.detail}`);
    target.onClose = (closed) => void this.#session.end('target_closed', closed.detail);
  }

  /** Shows a warning, or that it no longer holds, on every terminal of the connection. */
  notice(kind: 'warning' | 'cancelled', text: string): void {
    if (this.#ended !== undefined) return;
    for (const channel of this.#channels.sessions()) showNotice(this.#client, channel, kind, text);
  }

  /** Tells the user why, ends what runs on the target, closes both sides. */
  close(end: SessionEnd): Promise<void> {
    this.#ended ??= this.#close(end);
    return this.#ended;
  }

  abort(): void {
    this.#client.abort();
    this.#target.abort();
  }

  async #close(end: SessionEnd): Promise<void> {
    const { clock } = this.#options;
    for (const channel of this.#channels.all()) auditProgram(this.#session, channel);
    await endChannels({ client: this.#client, target: this.#target, channels: this.#channels, clock, end });
  }

  /** Whoever sends what cannot be read is the one that is at fault. */
  #guard(packet: Buffer, sender: PacketPeer, handle: () => void): void {
    try {
      handle();
    } catch (error) {
      const who = sender === this.#client ? 'client' : 'target';
      const detail = `the ${who} sent a bad packet of type ${packet[0]}: ${errorMessage(error)}`;
      void this.#session.end(sender === this.#client ? 'error' : 'target_closed', detail);
    }
  }

  #fromClient(packet: Buffer): void {
    switch (packet[0]) {
      case MSG.CHANNEL_DATA:
      case MSG.CHANNEL_EXTENDED_DATA:
        this.#clientData(packet);
        return;
      case MSG.CHANNEL_WINDOW_ADJUST:
        this.#clientAdjust(packet);
        return;
      case MSG.CHANNEL_OPEN:
        this.#clientOpen(packet);
        return;
      case MSG.CHANNEL_OPEN_CONFIRMATION:
        this.#clientConfirmation(packet);
        return;
      case MSG.CHANNEL_OPEN_FAILURE: {
        const channel = this.#channels.byTarget(recipientChannel(packet));
        if (channel === undefined || channel.confirmed) return;
        this.#channels.remove(channel);
        this.#target.send(packet);
        return;
      }
      case MSG.CHANNEL_REQUEST:
        this.#clientRequest(packet);
        return;
      case MSG.CHANNEL_SUCCESS:
      case MSG.CHANNEL_FAILURE:
        this.#channels.byTarget(recipientChannel(packet))?.toTarget.reply(packet);
        return;
      case MSG.CHANNEL_EOF:
        if (this.#clientChannel(packet) !== undefined) this.#target.send(packet);
        return;
      case MSG.CHANNEL_CLOSE: {
        const channel = this.#clientChannel(packet);
        if (channel === undefined) return;
        channel.clientClosed = true;
        this.#target.send(packet);
        this.#removeIfClosed(channel);
        return;
      }
      case MSG.GLOBAL_REQUEST:
        this.#clientGlobal(packet);
        return;
      case MSG.REQUEST_SUCCESS:
      case MSG.REQUEST_FAILURE:
        this.#toTarget.reply(packet);
        return;
      default:
        throw new NightlatchError('protocol', 'no such message');
    }
  }

  /** The channel a message of the client is for; undefined for one that is gone, or that the client has closed. */
  #clientChannel(packet: Buffer): RelayChannel | undefined {
    const channel = this.#channels.byTarget(recipientChannel(packet));
    return channel?.confirmed && !channel.clientClosed ? channel : undefined;
  }

  #targetChannel(packet: Buffer): RelayChannel | undefined {
    const channel = this.#channels.byClient(recipientChannel(packet));
    return channel?.confirmed && !channel.targetClosed ? channel : undefined;
  }

  #clientData(packet: Buffer): void {
    const channel = this.#clientChannel(packet);
    if (channel === undefined) return;
    const terminal = channel.terminal;
    // What a terminal answers by itself arrives as input though nobody typed (SPEC 2.3).
    if (terminal === undefined || terminal.input.feed(dataOf(packet))) this.#session.activity('input');
    this.#target.send(packet);
  }

  #clientAdjust(packet: Buffer): void {
    const channel = this.#clientChannel(packet);
    if (channel === undefined) return;
    const bytes = decodeWindowAdjust(packet);
    const forTarget = channel.adjust(bytes);
    if (forTarget === bytes) this.#target.send(packet);
    else if (forTarget > 0) this.#target.send(encodeWindowAdjust(channel.targetId, forTarget));
  }

  #clientOpen(packet: Buffer): void {
    const open = decodeChannelOpen(packet);
    const refuse = (reason: number, text: string) =>
      this.#client.send(encodeChannelOpenFailure(open.sender, reason, text));
    if (this.#channels.size >= MAX_CHANNELS) {
      refuse(OPEN_FAILURE.RESOURCE_SHORTAGE, 'too many channels');
      return;
    }
    const verdict = judgeChannelOpen(open, this.#options.rules(), this.#channels.sessions().length);
    if (!verdict.allowed) {
      auditForward(this.#session, open, false, verdict.text);
      refuse(verdict.reason, verdict.text);
      return;
    }
    const channel = this.#newChannel(open.type, 'client');
    if (!this.#channels.setClientId(channel, open.sender)) {
      throw new NightlatchError('protocol', `channel ${open.sender} is open already`);
    }
    channel.clientMaxPacket = open.maxPacket;
    // The packet's bytes are gone by the time of the answer.
    const request = { ...open, data: Buffer.from(open.data) };
    channel.onOpened = (ok, text) => auditForward(this.#session, request, ok, text);
    this.#session.activity('input');
    const copy = Buffer.from(packet);
    if (open.type === 'session') copy.writeUInt32BE(channel.reserveWindow(open.window), open.windowOffset);
    copy.writeUInt32BE(Math.min(open.maxPacket, MAX_DATA_PACKET), open.windowOffset + 4);
    this.#target.send(copy);
  }

  #newChannel(type: string, openedBy: 'client' | 'target'): RelayChannel {
    return new RelayChannel(type, openedBy, {
      client: (packet) => this.#client.send(packet),
      target: (packet) => this.#target.send(packet),
    });
  }

  /** The client takes a channel that the target opened. */
  #clientConfirmation(packet: Buffer): void {
    const confirmation = decodeChannelOpenConfirmation(packet);
    const channel = this.#channels.byTarget(confirmation.recipient);
    if (channel === undefined || channel.confirmed) return;
    if (!this.#channels.setClientId(channel, confirmation.sender)) {
      throw new NightlatchError('protocol', `channel ${confirmation.sender} is open already`);
    }
    channel.clientMaxPacket = confirmation.maxPacket;
    this.#target.send(clampConfirmation(packet));
  }

  #clientRequest(packet: Buffer): void {
    const channel = this.#clientChannel(packet);
    if (channel === undefined) return;
    const request = decodeChannelRequest(packet);
    const verdict = judgeChannelRequest(request, channel, this.#options.rules());
    if (verdict === 'refuse') {
      if (request.wantReply) channel.toClient.answer(encodeChannelMessage(MSG.CHANNEL_FAILURE, channel.clientId));
      return;
    }
    if (verdict.activity) this.#session.activity('input');
    if (request.name === 'auth-agent-req@openssh.com') this.#grants.agent = true;
    verdict.accepted?.();
    if (channel.program !== undefined && channel.terminal !== undefined && !this.#greeted) {
      // Once a connection, before the program's first output: which limit applies (SPEC 2.5).
      this.#greeted = true;
      showLine(this.#client, channel, this.#session.connectText);
    }
    if (request.wantReply) {
      channel.toClient.passedOn((reply) => {
        if (reply[0] === MSG.CHANNEL_FAILURE) verdict.failed?.();
      });
    }
    this.#target.send(packet);
  }

  #clientGlobal(packet: Buffer): void {
    const request = decodeGlobalRequest(packet);
    const verdict = judgeGlobalRequest(request, this.#options.rules());
    if (!verdict.allowed) {
      if (request.wantReply) this.#toClient.answer(REQUEST_FAILURE);
      return;
    }
    if (request.wantReply) {
      this.#toClient.passedOn((reply) => verdict.answered?.(this.#session, this.#grants, reply));
    }
    this.#target.send(packet);
  }

  #fromTarget(packet: Buffer): void {
    switch (packet[0]) {
      case MSG.CHANNEL_DATA:
      case MSG.CHANNEL_EXTENDED_DATA:
        this.#targetData(packet);
        return;
      case MSG.CHANNEL_WINDOW_ADJUST:
        if (this.#targetChannel(packet) !== undefined) this.#client.send(packet);
        return;
      case MSG.CHANNEL_EOF: {
        const channel = this.#targetChannel(packet);
        if (channel === undefined) return;
        channel.targetEof = true;
        this.#client.send(packet);
        return;
      }
      case MSG.CHANNEL_CLOSE: {
        const channel = this.#targetChannel(packet);
        if (channel === undefined) return;
        channel.targetClosed = true;
        this.#client.send(packet);
        this.#removeIfClosed(channel);
        return;
      }
      case MSG.CHANNEL_REQUEST:
        this.#targetRequest(packet);
        return;
      case MSG.CHANNEL_SUCCESS:
      case MSG.CHANNEL_FAILURE:
        this.#channels.byClient(recipientChannel(packet))?.toClient.reply(packet);
        return;
      case MSG.CHANNEL_OPEN:
        this.#targetOpen(packet);
        return;
      case MSG.CHANNEL_OPEN_CONFIRMATION:
        this.#targetConfirmation(packet);
        return;
      case MSG.CHANNEL_OPEN_FAILURE: {
        const channel = this.#channels.byClient(recipientChannel(packet));
        if (channel === undefined || channel.confirmed) return;
        this.#channels.remove(channel);
        channel.onOpened(false, 'refused by the target');
        this.#client.send(packet);
        return;
      }
      case MSG.GLOBAL_REQUEST: {
        // Liveness is a matter of each side (keepalive@openssh.com), and the target's host keys are none of the client's business.
        if (decodeGlobalRequest(packet).wantReply) this.#toTarget.answer(REQUEST_FAILURE);
        return;
      }
      case MSG.REQUEST_SUCCESS:
      case MSG.REQUEST_FAILURE:
        this.#toClient.reply(packet);
        return;
      default:
        throw new NightlatchError('protocol', 'no such message');
    }
  }

  #targetData(packet: Buffer): void {
    const channel = this.#targetChannel(packet);
    if (channel === undefined) return;
    if (channel.terminal !== undefined) {
      this.#session.activity('output');
      channel.terminal.screen.feed(dataOf(packet));
      this.#client.send(packet);
      if (channel.pendingNotice !== undefined) flushNotice(this.#client, channel);
      return;
    }
    channel.atLineStart = packet[packet.length - 1] === 0x0a;
    // Work under way (SPEC 2.3): a program without a terminal. Forwarded ports count where the connection has no terminal.
    const work = channel.type === 'session' || !this.#channels.hasTerminal();
    this.#session.activity(work ? 'work' : 'output');
    this.#client.send(packet);
  }

  #targetRequest(packet: Buffer): void {
    const channel = this.#targetChannel(packet);
    if (channel === undefined) return;
    const request = decodeChannelRequest(packet);
    switch (request.name) {
      case 'exit-status':
      case 'exit-signal':
        noteExit(channel, request);
        auditProgram(this.#session, channel);
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
    this.#client.send(packet);
  }

  #targetOpen(packet: Buffer): void {
    const open = decodeChannelOpen(packet);
    const verdict = judgeTargetOpen(open, this.#options.rules(), this.#grants);
    if (!verdict.allowed || this.#channels.size >= MAX_CHANNELS) {
      const text = verdict.allowed ? 'too many channels' : verdict.text;
      const reason = verdict.allowed ? OPEN_FAILURE.RESOURCE_SHORTAGE : verdict.reason;
      this.#target.send(encodeChannelOpenFailure(open.sender, reason, text));
      return;
    }
    const channel = this.#newChannel(open.type, 'target');
    if (!this.#channels.setTargetId(channel, open.sender)) {
      throw new NightlatchError('protocol', `channel ${open.sender} is open already`);
    }
    const copy = Buffer.from(packet);
    copy.writeUInt32BE(Math.min(open.maxPacket, MAX_DATA_PACKET), open.windowOffset + 4);
    this.#client.send(copy);
  }

  #targetConfirmation(packet: Buffer): void {
    const confirmation = decodeChannelOpenConfirmation(packet);
    const channel = this.#channels.byClient(confirmation.recipient);
    if (channel === undefined || channel.confirmed) return;
    if (!this.#channels.setTargetId(channel, confirmation.sender)) {
      throw new NightlatchError('protocol', `channel ${confirmation.sender} is open already`);
    }
    channel.onOpened(true, '');
    this.#client.send(clampConfirmation(packet));
  }

  #removeIfClosed(channel: RelayChannel): void {
    if (!channel.clientClosed || !channel.targetClosed) return;
    auditProgram(this.#session, channel);
    this.#channels.remove(channel);
  }
}

/** The data of SSH_MSG_CHANNEL_DATA or _EXTENDED_DATA, without a copy; what follows the announced length is left out. */
function dataOf(packet: Buffer): Buffer {
  const start = packet[0] === MSG.CHANNEL_DATA ? 9 : 13;
  if (packet.length < start) throw new NightlatchError('protocol', 'a data packet is too short');
  return packet.subarray(start, start + packet.readUInt32BE(start - 4));
}

function clampConfirmation(packet: Buffer): Buffer {
  const offset = CONFIRMATION_WINDOW_OFFSET + 4;
  if (packet.readUInt32BE(offset) <= MAX_DATA_PACKET) return packet;
  const copy = Buffer.from(packet);
  copy.writeUInt32BE(MAX_DATA_PACKET, offset);
  return copy;
}
