import { NightlatchError } from '../../core/errors.ts';

/** Requests that may wait for their answers at a time. */
const MAX_WAITING = 1024;

type Slot = { packet: Buffer | undefined; onReply: ((packet: Buffer) => void) | undefined };

/**
 * Keeps answers in the order of their requests (RFC 4254 section 4): some requests are passed on and answered by the other side,
 * some are answered here, and whoever asked knows an answer by its place alone.
 */
export class ReplyQueue {
  readonly #send: (packet: Buffer) => void;
  readonly #slots: Slot[] = [];

  /** `send` takes the answers to whoever asked. */
  constructor(send: (packet: Buffer) => void) {
    this.#send = send;
  }

  /** A request has been passed on; its answer will come by `reply`. */
  passedOn(onReply?: (packet: Buffer) => void): void {
    this.#push({ packet: undefined, onReply });
  }

  /** A request is answered here. */
  answer(packet: Buffer): void {
    this.#push({ packet, onReply: undefined });
    this.#flush();
  }

  /** An answer from the other side. An answer nobody waits for is dropped. */
  reply(packet: Uint8Array): void {
    const slot = this.#slots.find((candidate) => candidate.packet === undefined);
    if (slot === undefined) return;
    slot.packet = Buffer.from(packet);
    slot.onReply?.(slot.packet);
    this.#flush();
  }

  #push(slot: Slot): void {
    if (this.#slots.length >= MAX_WAITING)
      throw new NightlatchError('limit_exceeded', 'too many requests wait for answers');
    this.#slots.push(slot);
  }

  #flush(): void {
    while (this.#slots[0]?.packet !== undefined) this.#send(this.#slots.shift()!.packet!);
  }
}
