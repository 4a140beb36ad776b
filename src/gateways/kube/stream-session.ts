import type { Duplex } from 'node:stream';
import type { Clock, Timer } from '../../core/clock.ts';
import { errorMessage } from '../../core/errors.ts';
import type { IdleWarning, Session, SessionControl, SessionEnd } from '../../session/types.ts';
import { TerminalInput } from '../../wire/terminal/input.ts';
import { encodeRestore, encodeWarning, encodeWarningCancelled } from '../../wire/terminal/notice.ts';
import { TerminalScreen } from '../../wire/terminal/screen.ts';
import { type KubeFailure, refuseUpgrade } from './status.ts';
import type { StreamListener, StreamName, StreamProtocol } from './streams.ts';

/** How long a frame that the target has begun may take to end before it is filled up. */
const BOUNDARY_LIMIT_MS = 300;
/** Between the reason on a forwarded port's error stream and the end of the connection (measured: kubectl needs it). */
const LATER_MS = 300;
/** A client that has been told and does not close is closed. */
const LINGER_MS = 1_000;
/** Between the last key presses of `hangup` and the end of the connection to the target. */
const HANGUP_MS = 300;
/** What ends a foreground program and then a shell: Ctrl-C, Ctrl-D. */
const HANGUP_KEYS = Uint8Array.of(3, 4);
const NOTHING = new Uint8Array(0);

/** What becomes of a shell in a container when its session is ended by the gateway. */
export type ExecCleanup = 'none' | 'hangup';

/** A notice for a terminal that waits for a place to be put in. */
type Notice = { readonly kind: 'warning' | 'cancelled'; readonly text: string };

export interface StreamSessionDeps {
  readonly clock: Clock;
  readonly client: Duplex;
  readonly tty: boolean;
  /** Asked when the session ends, so that a changed role counts. */
  execCleanup(): ExecCleanup;
}

/**
 * One upgraded connection from the client to the API server: passes the bytes, reports activity (SPEC 2.3), and puts in the warning
 * and the reason of the end where the stream of frames allows it.
 */
export class StreamSession implements SessionControl, StreamListener {
  readonly #clock: Clock;
  readonly #client: Duplex;
  readonly #tty: boolean;
  readonly #cleanup: () => ExecCleanup;
  readonly #screen: TerminalScreen | undefined;
  readonly #input: TerminalInput | undefined;
  /** Aborted when the session ends while the API server is still being reached. */
  readonly opening = new AbortController();
  #session: Session | undefined;
  #target: Duplex | undefined;
  #protocol: StreamProtocol | undefined;
  #state: 'opening' | 'answered' | 'relaying' | 'ending' | 'ended' = 'opening';
  #failure: KubeFailure | undefined;
  #notice: Notice | undefined;
  #warningShown = false;
  #clientBroken = false;
  #noticeTimer: Timer | undefined;
  #timers: Timer[] = [];
  #endText = '';
  #hungUp: Promise<void> | undefined;
  #boundaryReached: (() => void) | undefined;
  #onForward: ((port: string) => void) | undefined;

  constructor({ clock, client, tty, execCleanup }: StreamSessionDeps) {
    this.#clock = clock;
    this.#client = client;
    this.#tty = tty;
    this.#cleanup = execCleanup;
    if (tty) {
      this.#screen = new TerminalScreen();
      this.#input = new TerminalInput(this.#screen);
    }
    client.on('error', () => undefined);
    client.once('close', this.#onClientGone);
    // Until both sides speak nothing is read; a client that ends its direction has gone.
    client.once('end', () => {
      if (this.#state !== 'relaying') client.end();
    });
  }

  /** The session exists; from here on the client's going away ends it. */
  opened(session: Session, onForward?: (port: string) => void): void {
    this.#session = session;
    this.#onForward = onForward;
    if (this.#client.destroyed) this.#onClientGone();
  }

  get isOpening(): boolean {
    return this.#state === 'opening';
  }

  /** What the client is told if the session ends before the API server has agreed. */
  refuseWith(failure: KubeFailure): void {
    this.#failure = failure;
  }

  /** The client has had its whole answer, a refusal of the API server: its connection only has to be closed. */
  answered(): void {
    if (this.#state === 'opening') this.#state = 'answered';
  }

  /** Both sides speak now. What either has sent already goes first. */
  relay(target: Duplex, protocol: StreamProtocol, fromTarget: Buffer, fromClient: Buffer): void {
    this.#target = target;
    this.#protocol = protocol;
    this.#state = 'relaying';
    const client = this.#client;
    target.on('error', () => undefined);
    client.on('drain', () => target.resume());
    target.on('drain', () => client.resume());
    if (fromTarget.length > 0) this.#onTargetData(fromTarget);
    if (fromClient.length > 0) this.#onClientData(fromClient);
    client.on('data', this.#onClientData);
    client.on('end', this.#onClientEnd);
    target.on('data', this.#onTargetData);
    target.on('end', this.#onTargetGone);
    target.on('close', this.#onTargetGone);
    client.resume();
    target.resume();
  }

  // --- data ---

  readonly #onClientData = (chunk: Buffer): void => {
    // After the end the client is read only so that its connection closes in order.
    if (this.#state !== 'relaying' || this.#clientBroken) return;
    try {
      this.#protocol!.client(chunk);
    } catch (error) {
      // What follows cannot be read any more, so it does not go on either.
      this.#clientBroken = true;
      void this.#session?.end('error', errorMessage(error));
      return;
    }
    const target = this.#target!;
    if (!target.writable) return;
    gather(target);
    if (!target.write(chunk)) this.#client.pause();
  };

  readonly #onTargetData = (chunk: Buffer): void => {
    try {
      if (this.#state === 'relaying' && this.#notice === undefined) {
        this.#protocol!.target(chunk, false);
        this.#toClient(chunk);
      } else if (this.#state !== 'ended') this.#carefully(chunk);
    } catch (error) {
      this.#boundaryReached = undefined;
      this.#state = 'ended';
      this.#target?.destroy();
      void this.#session?.end('error', errorMessage(error));
      this.#client.destroy();
    }
  };

  /** Something waits to be put in: frame by frame. */
  #carefully(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      const waiting = this.#notice !== undefined || this.#boundaryReached !== undefined;
      const read = this.#protocol!.target(chunk.subarray(at), waiting);
      this.#toClient(chunk.subarray(at, at + read));
      at += read;
      if (!this.#protocol!.atBoundary) continue;
      if (this.#boundaryReached !== undefined) {
        // What comes behind is not for this client any more.
        this.#boundaryReached();
        return;
      }
      this.#putNotice(false);
    }
  }

  #toClient(chunk: Uint8Array): void {
    if (!this.#client.writable) return;
    gather(this.#client);
    if (!this.#client.write(chunk)) this.#target?.pause();
  }

  fromClient(stream: StreamName, length: number, bytes: Uint8Array | undefined): void {
    if (length === 0) return;
    if (stream === 'stdin') {
      if (this.#input === undefined || bytes === undefined || this.#input.feed(bytes)) this.#session?.activity('input');
    } else if (stream === 'data') this.#session?.activity('input');
  }

  fromTarget(stream: StreamName, length: number, bytes: Uint8Array | undefined): void {
    if (length === 0 || stream === 'error' || stream === 'stdin' || stream === 'resize') return;
    if (bytes !== undefined) this.#screen?.feed(bytes);
    this.#session?.activity(this.#tty ? 'output' : 'work');
  }

  forwarded(port: string): void {
    // Opening a connection through the port is something the client does.
    this.#session?.activity('input');
    this.#onForward?.(port);
  }

  // --- notices ---

  warn(warning: IdleWarning): void {
    this.#queueNotice({ kind: 'warning', text: warning.text });
  }

  warningCancelled(text: string): void {
    if (this.#notice?.kind === 'warning') this.#clearNotice();
    else if (this.#warningShown) this.#queueNotice({ kind: 'cancelled', text });
    this.#warningShown = false;
  }

  #queueNotice(notice: Notice): void {
    if (this.#screen === undefined || this.#state !== 'relaying') return;
    this.#clearNotice();
    this.#notice = notice;
    if (this.#putNotice(false)) return;
    // A program that stopped in the middle of a sequence must not keep the warning from its user.
    this.#noticeTimer = this.#clock.at(this.#clock.now() + BOUNDARY_LIMIT_MS, () => this.#putNotice(true));
  }

  #clearNotice(): void {
    this.#notice = undefined;
    this.#noticeTimer?.cancel();
    this.#noticeTimer = undefined;
  }

  /** Puts the notice in if the frames and (unless forced) the terminal's output allow it here. */
  #putNotice(force: boolean): boolean {
    const notice = this.#notice;
    const screen = this.#screen;
    if (notice === undefined || screen === undefined || this.#state !== 'relaying') return false;
    if (!this.#protocol!.atBoundary || !(force || screen.atRest)) return false;
    this.#clearNotice();
    const bytes =
      notice.kind === 'warning' ? encodeWarning(notice.text, screen) : encodeWarningCancelled(notice.text, screen);
    this.#warningShown = notice.kind === 'warning';
    if (bytes.length === 0) return true;
    screen.feed(bytes);
    this.#toClient(this.#protocol!.output(bytes));
    return true;
  }

  // --- the end ---

  readonly #onClientEnd = (): void => {
    if (this.#state !== 'relaying') this.#client.end();
    else this.#clientLeft();
  };

  readonly #onClientGone = (): void => {
    this.opening.abort();
    if (this.#state === 'opening' || this.#state === 'relaying') this.#clientLeft();
  };

  #clientLeft(): void {
    // Whoever hangs up after the exit status has come did not end the session: the command did.
    void this.#session?.end(this.#protocol?.targetFinished === true ? 'target_closed' : 'client_closed');
  }

  readonly #onTargetGone = (): void => {
    // What the target sent is in the client's buffer now; `close` sends it and ends.
    if (this.#state === 'relaying') void this.#session?.end('target_closed');
    else this.#boundaryReached?.();
  };

  async close(end: SessionEnd): Promise<void> {
    const state = this.#state;
    this.#clearNotice();
    this.#endText = end.text;
    const closed = new Promise<void>((resolve) => {
      if (this.#client.closed) resolve();
      else this.#client.once('close', () => resolve());
    });
    if (state === 'opening') {
      this.#state = 'ended';
      this.opening.abort();
      if (end.tell) refuseUpgrade(this.#client, this.#failure ?? { reason: 'Forbidden', message: end.text });
      else this.#client.destroy();
      this.#after(LINGER_MS, () => this.#client.destroy());
    } else if (state === 'answered') {
      this.#state = 'ended';
      this.#client.end();
      this.#after(LINGER_MS, () => this.#client.destroy());
    } else if (state === 'relaying' && end.tell && !this.#client.destroyed) {
      this.#state = 'ending';
      const finished = end.cause === 'target_closed' && this.#protocol!.targetFinished;
      if (finished) {
        this.#finish(undefined);
      } else {
        await this.#untilBoundary();
        this.#finish(this.#protocol);
      }
    } else {
      this.abort();
    }
    await Promise.all([closed, this.#hungUp]);
    this.#cancelTimers();
    this.#target?.destroy();
  }

  abort(): void {
    this.#state = 'ended';
    this.opening.abort();
    this.#boundaryReached?.();
    this.#cancelTimers();
    this.#client.destroy();
    this.#target?.destroy();
  }

  /** Waits for the end of the frame under way; fills it up when it does not come. */
  #untilBoundary(): Promise<void> {
    const protocol = this.#protocol!;
    if (protocol.atBoundary) return Promise.resolve();
    return new Promise((resolve) => {
      const reached = (): void => {
        timer.cancel();
        this.#boundaryReached = undefined;
        this.#target!.off('data', this.#onTargetData);
        resolve();
      };
      this.#boundaryReached = reached;
      const timer = this.#clock.at(this.#clock.now() + BOUNDARY_LIMIT_MS, reached);
      if (this.#target!.destroyed || this.#target!.readableEnded) reached();
    });
  }

  #finish(protocol: StreamProtocol | undefined): void {
    if (this.#state !== 'ending') return;
    const client = this.#client;
    const target = this.#target!;
    target.off('data', this.#onTargetData);
    client.resume();
    if (protocol === undefined) {
      if (this.#protocol!.atBoundary) client.write(this.#protocol!.leave());
      client.end();
      target.destroy();
    } else {
      this.#tellClient(protocol);
      this.#leaveTarget(protocol);
    }
    this.#after(LINGER_MS, () => client.end());
  }

  #tellClient(protocol: StreamProtocol): void {
    const client = this.#client;
    if (!protocol.atBoundary) {
      const padding = protocol.padding();
      if (padding === undefined) {
        client.destroy();
        return;
      }
      protocol.target(padding, false);
      client.write(padding);
    }
    const preface = this.#screen === undefined ? NOTHING : encodeRestore(this.#screen);
    const { frames, later } = protocol.end(this.#endText, preface);
    client.write(frames);
    if (later !== undefined) {
      this.#after(LATER_MS, () => {
        client.write(later);
      });
    }
    if (frames.length === 0) client.end();
  }

  #leaveTarget(protocol: StreamProtocol): void {
    const target = this.#target!;
    const keys = this.#cleanup() === 'hangup' ? protocol.hangup(this.#tty ? HANGUP_KEYS : NOTHING) : NOTHING;
    if (keys.length === 0 || !target.writable) {
      target.destroy();
      return;
    }
    target.resume();
    target.write(keys);
    this.#hungUp = new Promise((resolve) => {
      target.once('close', () => resolve());
      this.#after(HANGUP_MS, () => target.destroy());
    });
  }

  #after(ms: number, fn: () => void): void {
    this.#timers.push(this.#clock.at(this.#clock.now() + ms, fn));
  }

  #cancelTimers(): void {
    for (const timer of this.#timers) timer.cancel();
    this.#timers = [];
  }
}

/**
 * What is written until the end of this turn of the event loop goes out as one: TLS gives 16 KiB at a time, and a write for each costs a
 * multiple of the encryption.
 */
function gather(stream: Duplex): void {
  if (stream.writableCorked > 0) return;
  stream.cork();
  setImmediate(() => stream.uncork());
}
