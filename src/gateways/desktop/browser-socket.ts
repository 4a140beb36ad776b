import type { RawData, WebSocket } from 'ws';
import type { Clock, Timer } from '../../core/clock.ts';
import { NightlatchError } from '../../core/errors.ts';
import { CLOSE_SESSION_ENDED, closeReason } from './control-codec.ts';
import type { DesktopControlMessage } from './control-messages.ts';

/** Pictures that wait for the browser: above this the desktop is read no further until half of it is gone. */
const HIGH_WATER_BYTES = 512 * 1024;
const PING_INTERVAL_MS = 20_000;
/** Bytes from the browser that may wait while the desktop is being connected. */
const MAX_UNREAD_BYTES = 64 * 1024;
const MAX_TEXT_BYTES = 8 * 1024;

interface Waiting {
  /** What the bytes hold, and how many they were; undefined while there are too few. */
  readonly decode: (bytes: Buffer) => { readonly length: number; readonly value: unknown } | undefined;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

/**
 * The browser's end of a desktop session: control messages as text, the desktop protocol as binary messages. Pings by
 * itself, since a desktop whose screen is still sends nothing for minutes.
 */
export class BrowserSocket {
  readonly #ws: WebSocket;
  readonly #clock: Clock;
  #ping: Timer;
  #answered = true;
  #open: { resolve: (text: string) => void; reject: (error: Error) => void } | undefined;
  #text: string | undefined;
  #waiting: Waiting | undefined;
  #unread: Buffer = Buffer.alloc(0);
  #sink: ((bytes: Buffer) => void) | undefined;
  #congested = false;
  #failure: Error | undefined;
  /** Resolves when the connection is gone, with what ended it. */
  readonly closed: Promise<'closed' | 'silent'>;
  #silent = false;
  /** Called when the browser has taken enough for more. */
  onDrain: () => void = () => undefined;

  constructor(ws: WebSocket, clock: Clock) {
    this.#ws = ws;
    this.#clock = clock;
    ws.on('message', this.#onMessage);
    ws.on('pong', () => {
      this.#answered = true;
    });
    ws.on('error', () => undefined);
    this.closed = new Promise((resolve) => {
      ws.once('close', () => {
        this.#ping.cancel();
        this.#fail(new NightlatchError('cancelled', 'the browser closed the connection'));
        resolve(this.#silent ? 'silent' : 'closed');
      });
    });
    this.#ping = this.#nextPing();
  }

  /** The page's first message. @throws {NightlatchError} `cancelled` when the browser goes away before. */
  opening(): Promise<string> {
    return new Promise((resolve, reject) => {
      if (this.#text !== undefined) resolve(this.#text);
      else if (this.#failure !== undefined) reject(this.#failure);
      else this.#open = { resolve, reject };
    });
  }

  /**
   * The next thing that `decode` finds at the start of what the browser sent. One at a time, before `pipe`.
   * @throws what `decode` throws; {NightlatchError} `cancelled` when the browser goes away before.
   */
  read<T>(decode: (bytes: Buffer) => { readonly length: number; readonly value: T } | undefined): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#waiting = { decode, resolve: (value) => resolve(value as T), reject };
      this.#serve();
      if (this.#waiting !== undefined && this.#failure !== undefined) this.#fail(this.#failure);
    });
  }

  /** From now on all bytes go to `sink`, those first that were not read. */
  pipe(sink: (bytes: Buffer) => void): void {
    this.#sink = sink;
    const unread = this.#unread;
    this.#unread = Buffer.alloc(0);
    if (unread.length > 0) sink(unread);
  }

  /** Sends protocol bytes. False when the browser has enough for now: `onDrain` follows. */
  send(data: Buffer): boolean {
    if (this.#ws.readyState !== this.#ws.OPEN) return true;
    this.#ws.send(data, { binary: true }, this.#onSent);
    if (this.#ws.bufferedAmount > HIGH_WATER_BYTES) this.#congested = true;
    return !this.#congested;
  }

  control(message: DesktopControlMessage): void {
    if (this.#ws.readyState === this.#ws.OPEN) this.#ws.send(JSON.stringify(message));
  }

  /** Stops and resumes reading from the browser. */
  pause(): void {
    this.#ws.pause();
  }

  resume(): void {
    this.#ws.resume();
  }

  /** Begins to close, with the reason; `closed` follows. */
  close(text: string): void {
    // A paused socket would never read the browser's own close.
    this.#sink = () => undefined;
    this.#ws.resume();
    this.#ws.close(CLOSE_SESSION_ENDED, closeReason(text));
  }

  terminate(): void {
    this.#ws.terminate();
  }

  readonly #onSent = (): void => {
    if (!this.#congested || this.#ws.bufferedAmount > HIGH_WATER_BYTES / 2) return;
    this.#congested = false;
    this.onDrain();
  };

  readonly #onMessage = (data: RawData, isBinary: boolean): void => {
    const bytes = toBuffer(data);
    if (isBinary) {
      if (this.#sink !== undefined) {
        this.#sink(bytes);
        return;
      }
      this.#unread = this.#unread.length === 0 ? bytes : Buffer.concat([this.#unread, bytes]);
      this.#serve();
      if (this.#unread.length > MAX_UNREAD_BYTES) {
        this.#fail(new NightlatchError('limit_exceeded', 'the browser sent too much before the desktop was connected'));
        this.#ws.terminate();
      }
      return;
    }
    // The page speaks once; what follows is of a later version of it, and of no consequence.
    if (this.#text !== undefined) return;
    this.#text = bytes.length <= MAX_TEXT_BYTES ? bytes.toString('utf8') : '';
    this.#open?.resolve(this.#text);
    this.#open = undefined;
  };

  #serve(): void {
    const waiting = this.#waiting;
    if (waiting === undefined) return;
    try {
      const found = waiting.decode(this.#unread);
      if (found === undefined) return;
      this.#waiting = undefined;
      this.#unread = this.#unread.subarray(found.length);
      waiting.resolve(found.value);
    } catch (error) {
      this.#waiting = undefined;
      waiting.reject(error as Error);
    }
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    this.#open?.reject(this.#failure);
    this.#open = undefined;
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.reject(this.#failure);
  }

  #nextPing(): Timer {
    return this.#clock.at(this.#clock.now() + PING_INTERVAL_MS, () => {
      if (!this.#answered) {
        this.#silent = true;
        this.#ws.terminate();
        return;
      }
      this.#answered = false;
      if (this.#ws.readyState === this.#ws.OPEN) this.#ws.ping();
      // A page sees no pings; it needs a sign of life of its own.
      this.control({ type: 'alive' });
      this.#ping = this.#nextPing();
    });
  }
}

function toBuffer(data: RawData): Buffer {
  if (Buffer.isBuffer(data)) return data;
  return Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data);
}
