import type { Duplex } from 'node:stream';
import type { Clock, Timer } from '../../core/clock.ts';
import { errorMessage } from '../../core/errors.ts';
import type { IdleWarning, Session, SessionControl, SessionEnd } from '../../session/types.ts';
import { TerminalInput } from '../../wire/terminal/input.ts';
import { encodeRestore, encodeWarning, encodeWarningCancelled } from '../../wire/terminal/notice.ts';
import { TerminalScreen } from '../../wire/terminal/screen.ts';
import type { FastPath } from '../common/fast-path.ts';
import { StreamRelay } from '../common/stream-relay.ts';
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
const NOTHING: Buffer = Buffer.alloc(0);

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
  /** The relay goes below the streams where it can. */
  readonly fastPath?: FastPath | undefined;
}

/** What the API server has agreed to. */
export interface RelayStart {
  readonly target: Duplex;
  readonly protocol: StreamProtocol;
  /** For the client, before anything else: the head of the answer. */
  readonly head: Buffer;
  /** What either has sent already. */
  readonly fromTarget: Buffer;
  readonly fromClient: Buffer;
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
  readonly #fastPath: FastPath | undefined;
  readonly #screen: TerminalScreen | undefined;
  readonly #input: TerminalInput | undefined;
  /** Aborted when the session ends while the API server is still being reached. */
  readonly opening = new AbortController();
  #session: Session | undefined;
  #target: Duplex | undefined;
  #protocol: StreamProtocol | undefined;
  #relay: StreamRelay | undefined;
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

  constructor({ clock, client, tty, execCleanup, fastPath }: StreamSessionDeps) {
    this.#clock = clock;
    this.#client = client;
    this.#tty = tty;
    this.#cleanup = execCleanup;
    this.#fastPath = fastPath;
    if (tty) {
      this.#screen = new TerminalScreen();
      this.#input = new TerminalInput(this.#screen);
    }
    client.on('error', () => undefined);
    client.once('close', this.#onClientGone);
    // Until both sides speak nothing is read; a client that ends its direction has gone.
    client.once('end', () => {
      if (this.#relay === undefined) client.end();
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

  /** Both sides speak now. */
  relay({ target, protocol, head, fromTarget, fromClient }: RelayStart): void {
    const client = this.#client;
    this.#target = target;
    this.#protocol = protocol;
    this.#state = 'relaying';
    const relay = new StreamRelay(
      client,
      target,
      {
        fromClient: this.#onClientData,
        fromServer: this.#onTargetData,
        clientEnded: this.#onClientEnd,
        serverEnded: this.#onTargetGone,
        failed: () => undefined,
      },
      this.#fastPath,
    );
    this.#relay = relay;
    // The relay goes below the streams only where nothing is under way in them.
    client.write(head, () => {
      const early = [fromClient, client.read() ?? NOTHING, fromTarget, target.read() ?? NOTHING] as Buffer[];
      relay.start(Buffer.concat(early.slice(0, 2)), Buffer.concat(early.slice(2)));
    });
  }

  // --- data ---

  /** What of the client's bytes goes on: all, unless nothing. */
  readonly #onClientData = (chunk: Buffer, length: number): Buffer | undefined => {
    // After the end the client is read only so that its connection closes in order.
    if (this.#state !== 'relaying' || this.#clientBroken) return NOTHING;
    try {
      this.#protocol!.client(chunk.subarray(0, length));
      return undefined;
    } catch (error) {
      // What follows cannot be read any more, so it does not go on either.
      this.#clientBroken = true;
      void this.#session?.end('error', errorMessage(error));
      return NOTHING;
    }
  };

  /** How many of the target's bytes go on as they came. */
  readonly #onTargetData = (chunk: Buffer, length: number): number => {
    try {
      if (this.#state === 'relaying' && this.#notice === undefined) {
        this.#protocol!.target(chunk.subarray(0, length), false);
        return length;
      }
      if (this.#state !== 'ended') this.#carefully(chunk.subarray(0, length));
    } catch (error) {
      this.#boundaryReached = undefined;
      this.#state = 'ended';
      this.#target?.destroy();
      void this.#session?.end('error', errorMessage(error));
      this.#client.destroy();
    }
    return 0;
  };

  /** Something waits to be put in: frame by frame. */
  #carefully(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      const waiting = this.#notice !== undefined || this.#boundaryReached !== undefined;
      // What comes behind the end is not for this client any more.
      if (this.#state === 'ending' && !waiting) return;
      const read = this.#protocol!.target(chunk.subarray(at), waiting);
      this.#relay!.tellClient(Buffer.from(chunk.subarray(at, at + read)));
      at += read;
      if (!this.#protocol!.atBoundary) continue;
      if (this.#boundaryReached !== undefined) this.#boundaryReached();
      else this.#putNotice(false);
    }
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
    this.#relay!.tellClient(this.#protocol!.output(bytes));
    return true;
  }

  // --- the end ---

  readonly #onClientEnd = (): void => {
    if (this.#state !== 'relaying') this.#relay!.endClient();
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
        resolve();
      };
      this.#boundaryReached = reached;
      const timer = this.#clock.at(this.#clock.now() + BOUNDARY_LIMIT_MS, reached);
      if (this.#target!.destroyed || this.#target!.readableEnded) reached();
    });
  }

  #finish(protocol: StreamProtocol | undefined): void {
    if (this.#state !== 'ending') return;
    const relay = this.#relay!;
    relay.muteClient();
    if (protocol === undefined) {
      if (this.#protocol!.atBoundary) relay.tellClient(this.#protocol!.leave());
      relay.endClient();
      this.#target!.destroy();
    } else {
      this.#tellClient(protocol);
      this.#leaveTarget(protocol);
    }
    this.#after(LINGER_MS, () => relay.endClient());
  }

  #tellClient(protocol: StreamProtocol): void {
    const relay = this.#relay!;
    if (!protocol.atBoundary) {
      const padding = protocol.padding();
      if (padding === undefined) {
        this.#client.destroy();
        return;
      }
      protocol.target(padding, false);
      relay.tellClient(padding);
    }
    const preface = this.#screen === undefined ? NOTHING : encodeRestore(this.#screen);
    const { frames, later } = protocol.end(this.#endText, preface);
    relay.tellClient(frames);
    if (later !== undefined) this.#after(LATER_MS, () => relay.tellClient(later));
    if (frames.length === 0) relay.endClient();
  }

  #leaveTarget(protocol: StreamProtocol): void {
    const target = this.#target!;
    const keys = this.#cleanup() === 'hangup' ? protocol.hangup(this.#tty ? HANGUP_KEYS : NOTHING) : NOTHING;
    if (keys.length === 0 || !target.writable) {
      target.destroy();
      return;
    }
    this.#relay!.tellServer(keys);
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
