import type { DesktopControlMessage } from '../../../src/gateways/desktop/control-messages.ts';
import type { ControlListener } from './control-socket.ts';
import type { DesktopEnd, DesktopEvents } from './desktop.ts';

/**
 * Turns what the gateway says into the page's events, with one end for every way in which a desktop can end.
 *
 * INVARIANT: `blank` has run before the page hears of the end.
 */
export class DesktopLife implements ControlListener {
  readonly #events: DesktopEvents;
  readonly #blank: () => void;
  #ended = false;

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
    switch (message.type) {
      case 'ready':
        this.#events.ready?.(message);
        break;
      case 'policy':
        this.#events.policy?.(message.idleTimeoutMs, message.timeoutSource);
        break;
      case 'warning':
        this.#events.warning?.(message);
        break;
      case 'kept':
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
    const text = reason !== '' ? reason : 'The connection to the gateway was lost.';
    this.end({ cause: code === 4001 ? 'error' : 'lost', text });
  }

  end(end: DesktopEnd): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#blank();
    this.#events.end(end);
  }
}
