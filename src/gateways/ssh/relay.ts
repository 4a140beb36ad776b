import type { Clock } from '../../core/clock.ts';
import { errorMessage } from '../../core/errors.ts';
import type { Session, SessionEnd } from '../../session/types.ts';
import { ClientPackets } from './client-packets.ts';
import type { PacketPeer } from './packet-peer.ts';
import { auditProgram } from './relay-audit.ts';
import { ChannelTable } from './relay-channel.ts';
import type { RelayLink } from './relay-link.ts';
import { endChannels, showNotice } from './relay-notices.ts';
import { ReplyQueue } from './reply-queue.ts';
import type { SshRules } from './rules.ts';
import { TargetPackets } from './target-packets.ts';

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
  readonly #link: RelayLink;
  readonly #clock: Clock;
  #ended: Promise<void> | undefined;

  constructor({ client, target, session, clock, rules }: RelayOptions) {
    this.#clock = clock;
    this.#link = {
      client,
      target,
      session,
      channels: new ChannelTable(),
      grants: { agent: false, remoteForwards: 0 },
      toClient: new ReplyQueue((packet) => client.send(packet)),
      toTarget: new ReplyQueue((packet) => target.send(packet)),
      rules,
    };
    const [fromClient, fromTarget] = [new ClientPackets(this.#link), new TargetPackets(this.#link)];
    client.onPacket = (packet) => this.#guard(packet, client, () => fromClient.packet(packet));
    target.onPacket = (packet) => this.#guard(packet, target, () => fromTarget.packet(packet));
    client.onWritable = (writable) => (writable ? target.resume() : target.pause());
    target.onWritable = (writable) => (writable ? client.resume() : client.pause());
    client.onClose = (closed) =>
      void session.end(closed.by === 'error' ? 'error' : 'client_closed', `client: ${closed.detail}`);
    target.onClose = (closed) => void session.end('target_closed', closed.detail);
  }

  /** Shows a warning, or that it no longer holds, on every terminal of the connection. */
  notice(kind: 'warning' | 'cancelled', text: string): void {
    if (this.#ended !== undefined) return;
    const { client, channels } = this.#link;
    for (const channel of channels.sessions()) showNotice(client, channel, kind, text);
  }

  /** Tells the user why, ends what runs on the target, closes both sides. */
  close(end: SessionEnd): Promise<void> {
    this.#ended ??= this.#close(end);
    return this.#ended;
  }

  abort(): void {
    this.#link.client.abort();
    this.#link.target.abort();
  }

  async #close(end: SessionEnd): Promise<void> {
    const { client, target, session, channels } = this.#link;
    for (const channel of channels.all()) auditProgram(session, channel);
    await endChannels({ client, target, channels, clock: this.#clock, end });
  }

  /** Whoever sends what cannot be read is the one that is at fault. */
  #guard(packet: Buffer, sender: PacketPeer, handle: () => void): void {
    try {
      handle();
    } catch (error) {
      const isClient = sender === this.#link.client;
      const detail = `the ${isClient ? 'client' : 'target'} sent a bad packet of type ${packet[0]}: ${errorMessage(error)}`;
      void this.#link.session.end(isClient ? 'error' : 'target_closed', detail);
    }
  }
}
