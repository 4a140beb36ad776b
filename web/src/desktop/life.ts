import type { DesktopControlMessage } from '../../../src/gateways/desktop/control-messages.ts';
import type { DesktopEnd, DesktopEvents } from './events.ts';

/** What the page learns from the gateway beside the desktop protocol, and when the connection is gone. */
export interface ControlListener {
  /** Set when the connection is made. */
  socket: WebSocket | undefined;
  message(message: DesktopControlMessage): void;
  /** `reason` is the gateway's text where it closed the connection itself (code 4001). */
  closed(code: number, reason: string): void;
}

/** The gateway gives a sign of life every 20 seconds; after this long without one it is lost. */
const SILENCE_MS = 75_000;
/** A warning that nobody took back is followed by the end; it is given this long to arrive. */
const END_GRACE_MS = 5_000;
const LOST = 'The connection to the gateway was lost.';

/**
 * Turns what the gateway says into the page's events, with one end for every way in which a desktop can end.
 *
 * INVARIANT: `blank` has run before the page hears of the end. A gateway that cannot be heard any more blanks the picture as well:
 * nobody knows then whether the session still stands.
 */
export class DesktopLife implements ControlListener {
  readonly #events: DesktopEvents;
  readonly #blank: () => void;
  #ended = false;
  #watch: ReturnType<typeof setTimeout> | undefined;
  #deadline: ReturnType<typeof setTimeout> | undefined;

  constructor(events: DesktopEvents, blank: () => void) {
    this.#events = events;
    this.#blank = blank;
  }

  /** The connection that the gateway speaks over, once it was made. */
  socket: WebSocket | undefined;

  /** Leaves the desktop: the gateway takes it for the user's own wish. */
  closeSocket(): void {
    this.socket?.close(1000);
  }

  get ended(): boolean {
    return this.#ended;
  }

  message(message: DesktopControlMessage): void {
    if (this.#ended) return;
    clearTimeout(this.#watch);
    this.#watch = setTimeout(() => this.#lost(), SILENCE_MS);
    switch (message.type) {
      case 'alive':
        break;
      case 'ready':
        this.#events.ready?.(message);
        break;
      case 'policy':
        this.#events.policy?.(message.idleTimeoutMs, message.timeoutSource);
        break;
      case 'warning':
        clearTimeout(this.#deadline);
        this.#deadline = setTimeout(() => this.#lost(), message.remainingMs + END_GRACE_MS);
        this.#events.warning?.(message);
        break;
      case 'kept':
        clearTimeout(this.#deadline);
        this.#events.kept?.(message.text);
        break;
      case 'end':
        this.end({
          cause: message.cause,
          text: message.text,
          ...(message.problem === undefined ? {} : { problem: message.problem }),
        });
    }
  }

  closed(code: number, reason: string): void {
    this.end({ cause: code === 4001 ? 'error' : 'lost', text: reason !== '' ? reason : LOST });
  }

  #lost(): void {
    this.end({ cause: 'lost', text: LOST });
    this.closeSocket();
  }

  end(end: DesktopEnd): void {
    if (this.#ended) return;
    this.#ended = true;
    clearTimeout(this.#watch);
    clearTimeout(this.#deadline);
    this.#blank();
    this.#events.end(end);
  }
}
