import { Duplex, Writable } from 'node:stream';
import { NightlatchError } from '../../core/errors.ts';
import {
  type ChannelOpen,
  type ChannelRequest,
  decodeChannelData,
  decodeChannelExtendedData,
  decodeChannelOpen,
  decodeChannelOpenConfirmation,
  decodeChannelRequest,
  decodeGlobalRequest,
  decodeWindowAdjust,
  EXTENDED_DATA_STDERR,
  encodeChannelData,
  encodeChannelExtendedData,
  encodeChannelMessage,
  encodeChannelOpen,
  encodeChannelOpenConfirmation,
  encodeChannelOpenFailure,
  encodeChannelRequest,
  encodeWindowAdjust,
  type GlobalRequest,
  MSG,
  OPEN_FAILURE,
  recipientChannel,
} from '../../wire/ssh/messages.ts';

/** Window that is granted, and the share of it after which it is granted again, in bytes. */
const WINDOW = 2 * 1024 * 1024;
const GRANT_AFTER = WINDOW / 4;
const MAX_PACKET = 32_768;
/** Bytes that a reader may leave unread in the stream before the window shrinks. */
const HIGH_WATER = 64 * 1024;
const MAX_CHANNELS = 256;

interface Waiting {
  readonly stderr: boolean;
  data: Buffer;
  readonly done: () => void;
}

/** A channel that ends here, as a stream: what is read was sent by the peer, what is written goes to it, within both windows. */
export class LocalChannel extends Duplex {
  readonly type: string;
  readonly localId: number;
  /** Where standard error of a program goes (RFC 4254 section 5.2). */
  readonly stderr: Writable;
  /** Requests of the peer; says whether it worked. */
  onRequest: (request: ChannelRequest) => boolean = () => false;

  readonly #host: ChannelHost;
  #remoteId = -1;
  #sendWindow = 0;
  #maxPacket = MAX_PACKET;
  #receiveWindow = WINDOW;
  #consumed = 0;
  #waiting: Waiting[] = [];
  #eofSent = false;
  #closeSent = false;
  #closeReceived = false;

  constructor(host: ChannelHost, type: string, localId: number) {
    super({ highWaterMark: HIGH_WATER, allowHalfOpen: true, emitClose: true });
    this.type = type;
    this.localId = localId;
    this.#host = host;
    this.stderr = new Writable({
      highWaterMark: HIGH_WATER,
      write: (data: Buffer, _encoding, done) => this.#queue(true, data, done),
    });
    this.stderr.on('error', () => {});
    this.on('error', () => {});
  }

  /** The peer's number, window and largest packet are known. */
  opened(remoteId: number, window: number, maxPacket: number): void {
    this.#remoteId = remoteId;
    this.#sendWindow = window;
    this.#maxPacket = Math.max(1, Math.min(maxPacket, MAX_PACKET));
  }

  get remoteId(): number {
    return this.#remoteId;
  }

  /** Sends a request that wants no answer: `exit-status`, `exit-signal`. */
  request(name: string, data: Uint8Array): void {
    if (!this.#closeSent) this.#host.send(encodeChannelRequest(this.#remoteId, name, false, data));
  }

  /** Data of the peer. @throws {NightlatchError} `protocol` when it is more than the window allows. */
  received(data: Buffer): void {
    if (data.length > this.#receiveWindow)
      throw new NightlatchError('protocol', 'more data came than the window allows');
    this.#receiveWindow -= data.length;
    if (this.readableEnded || this.destroyed) return;
    this.#consumed += data.length;
    if (this.push(Buffer.from(data))) this.#grant();
  }

  adjusted(bytes: number): void {
    this.#sendWindow = Math.min(this.#sendWindow + bytes, 0xffff_ffff);
    this.pump();
  }

  eofReceived(): void {
    this.push(null);
  }

  closeReceived(): void {
    this.#closeReceived = true;
    if (!this.destroyed) {
      this.push(null);
      this.destroy();
    }
    this.#sendClose();
    this.#host.forget(this);
  }

  /** Writes what waits, as far as window and peer allow. */
  pump(): void {
    while (this.#waiting.length > 0 && this.#sendWindow > 0 && this.#host.writable && !this.#closeSent) {
      const next = this.#waiting[0]!;
      const part = next.data.subarray(0, Math.min(next.data.length, this.#sendWindow, this.#maxPacket));
      this.#sendWindow -= part.length;
      this.#host.send(
        next.stderr
          ? encodeChannelExtendedData(this.#remoteId, EXTENDED_DATA_STDERR, part)
          : encodeChannelData(this.#remoteId, part),
      );
      next.data = next.data.subarray(part.length);
      if (next.data.length === 0) {
        this.#waiting.shift();
        next.done();
      }
    }
  }

  override _read(): void {
    this.#grant();
  }

  override _write(data: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.#queue(false, data, done);
  }

  override _final(done: () => void): void {
    if (!this.#eofSent && !this.#closeSent) {
      this.#eofSent = true;
      this.#host.send(encodeChannelMessage(MSG.CHANNEL_EOF, this.#remoteId));
    }
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#sendClose();
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const { done: written } of waiting) written();
    if (this.#closeReceived) this.#host.forget(this);
    done(error);
  }

  #queue(stderr: boolean, data: Buffer, done: () => void): void {
    if (this.#closeSent || data.length === 0) {
      done();
      return;
    }
    this.#waiting.push({ stderr, data, done });
    this.pump();
  }

  #grant(): void {
    if (this.#consumed < GRANT_AFTER || this.#closeSent) return;
    this.#host.send(encodeWindowAdjust(this.#remoteId, this.#consumed));
    this.#receiveWindow += this.#consumed;
    this.#consumed = 0;
  }

  #sendClose(): void {
    if (this.#closeSent || this.#remoteId < 0) return;
    this.#closeSent = true;
    this.#host.send(encodeChannelMessage(MSG.CHANNEL_CLOSE, this.#remoteId));
  }
}

export type OpenAnswer =
  | { readonly accept: (channel: LocalChannel) => void }
  | { readonly refuse: number; readonly text: string }
  /** Decided later (a connection is being made). */
  | { readonly later: Promise<OpenAnswer> };

export interface ChannelHostHandlers {
  /** The peer asks for a channel. */
  open(request: ChannelOpen): OpenAnswer;
  /** The peer asks for something else; `true`, or the data of the answer, says that it is done. */
  global(request: GlobalRequest): boolean | Buffer | Promise<boolean | Buffer>;
}

/** The connection protocol (RFC 4254) where channels end here: the jump host and the embedded node. */
export class ChannelHost {
  /** False while the peer takes nothing. */
  writable = true;
  readonly #send: (packet: Buffer) => void;
  readonly #handlers: ChannelHostHandlers;
  readonly #channels = new Map<number, LocalChannel>();
  readonly #opening = new Map<number, (channel: LocalChannel | undefined) => void>();
  #replies = Promise.resolve();
  #nextId = 0;
  #closed = false;
  /** Told when the last channel is gone. */
  onEmpty: () => void = () => {};

  constructor(send: (packet: Buffer) => void, handlers: ChannelHostHandlers) {
    this.#send = send;
    this.#handlers = handlers;
  }

  get size(): number {
    return this.#channels.size;
  }

  send(packet: Buffer): void {
    if (!this.#closed) this.#send(packet);
  }

  setWritable(writable: boolean): void {
    this.writable = writable;
    if (writable) for (const channel of [...this.#channels.values()]) channel.pump();
  }

  forget(channel: LocalChannel): void {
    if (this.#channels.delete(channel.localId) && this.#channels.size === 0) this.onEmpty();
  }

  /** Ends every channel; nothing is sent any more. */
  close(): void {
    this.#closed = true;
    for (const channel of [...this.#channels.values()]) channel.destroy();
    this.#channels.clear();
    for (const answer of [...this.#opening.values()]) answer(undefined);
    this.#opening.clear();
  }

  /** Asks the peer for a channel; undefined when it refuses. */
  open(type: string, data: Uint8Array): Promise<LocalChannel | undefined> {
    if (this.#closed || this.#channels.size >= MAX_CHANNELS) return Promise.resolve(undefined);
    const channel = this.#create(type);
    const { promise, resolve } = Promise.withResolvers<LocalChannel | undefined>();
    this.#opening.set(channel.localId, resolve);
    this.send(encodeChannelOpen(type, channel.localId, WINDOW, MAX_PACKET, data));
    return promise;
  }

  /** Handles one packet of the peer. @throws {DecodeError}; {NightlatchError} `protocol` */
  packet(packet: Buffer): void {
    const type = packet[0]!;
    if (type === MSG.GLOBAL_REQUEST) this.#global(decodeGlobalRequest(packet));
    else if (type === MSG.CHANNEL_OPEN) this.#openRequest(decodeChannelOpen(packet));
    else if (type === MSG.CHANNEL_OPEN_CONFIRMATION) this.#confirmed(packet);
    else if (type > MSG.CHANNEL_OPEN && type <= MSG.CHANNEL_FAILURE) this.#channelMessage(type, packet);
    else if (type !== MSG.REQUEST_SUCCESS && type !== MSG.REQUEST_FAILURE) {
      throw new NightlatchError('protocol', `no message ${type}`);
    }
  }

  #create(type: string): LocalChannel {
    const channel = new LocalChannel(this, type, this.#nextId++);
    this.#channels.set(channel.localId, channel);
    return channel;
  }

  #confirmed(packet: Buffer): void {
    const confirmation = decodeChannelOpenConfirmation(packet);
    const answer = this.#opening.get(confirmation.recipient);
    const channel = this.#channels.get(confirmation.recipient);
    if (answer === undefined || channel === undefined) return;
    this.#opening.delete(confirmation.recipient);
    channel.opened(confirmation.sender, confirmation.window, confirmation.maxPacket);
    answer(channel);
  }

  #channelMessage(type: number, packet: Buffer): void {
    const id = recipientChannel(packet);
    const channel = this.#channels.get(id);
    if (channel === undefined) return;
    switch (type) {
      case MSG.CHANNEL_OPEN_FAILURE:
        if (!this.#opening.has(id)) return;
        this.#opening.get(id)!(undefined);
        this.#opening.delete(id);
        this.forget(channel);
        channel.destroy();
        return;
      case MSG.CHANNEL_WINDOW_ADJUST:
        channel.adjusted(decodeWindowAdjust(packet));
        return;
      case MSG.CHANNEL_DATA:
        channel.received(decodeChannelData(packet));
        return;
      case MSG.CHANNEL_EXTENDED_DATA:
        channel.received(decodeChannelExtendedData(packet).data);
        return;
      case MSG.CHANNEL_EOF:
        channel.eofReceived();
        return;
      case MSG.CHANNEL_CLOSE:
        channel.closeReceived();
        return;
      case MSG.CHANNEL_REQUEST: {
        const request = decodeChannelRequest(packet);
        const ok = channel.onRequest(request);
        if (!request.wantReply) return;
        this.send(encodeChannelMessage(ok ? MSG.CHANNEL_SUCCESS : MSG.CHANNEL_FAILURE, channel.remoteId));
        return;
      }
    }
  }

  /** Answers keep the order of the requests, also where one takes its time. */
  #global(request: GlobalRequest): void {
    const result = this.#handlers.global({ ...request, data: Buffer.from(request.data) });
    if (!request.wantReply) return;
    this.#replies = this.#replies
      .then(() => result)
      .catch(() => false)
      .then((answer) => {
        const type = answer === false ? MSG.REQUEST_FAILURE : MSG.REQUEST_SUCCESS;
        this.send(Buffer.concat([Buffer.from([type]), Buffer.isBuffer(answer) ? answer : Buffer.alloc(0)]));
      });
  }

  #openRequest(request: ChannelOpen): void {
    if (this.#channels.size >= MAX_CHANNELS) {
      this.send(encodeChannelOpenFailure(request.sender, OPEN_FAILURE.RESOURCE_SHORTAGE, 'too many channels'));
      return;
    }
    this.#answerOpen(request, this.#handlers.open(request));
  }

  #answerOpen(request: ChannelOpen, answer: OpenAnswer): void {
    if ('later' in answer) {
      void answer.later.then((decided) => this.#answerOpen(request, decided));
      return;
    }
    if ('refuse' in answer) {
      this.send(encodeChannelOpenFailure(request.sender, answer.refuse, answer.text));
      return;
    }
    const channel = this.#create(request.type);
    channel.opened(request.sender, request.window, request.maxPacket);
    this.send(
      encodeChannelOpenConfirmation({
        recipient: request.sender,
        sender: channel.localId,
        window: WINDOW,
        maxPacket: MAX_PACKET,
      }),
    );
    answer.accept(channel);
    if (this.#closed) channel.destroy();
  }
}
