import { TerminalInput } from '../../wire/terminal/input.ts';
import { TerminalScreen } from '../../wire/terminal/screen.ts';
import { ReplyQueue } from './reply-queue.ts';

/** What a channel runs, as far as the audit log is concerned. */
export interface Program {
  readonly kind: 'exec' | 'shell' | 'subsystem';
  /** Command line or name of the subsystem; '' for a shell. */
  readonly command: string;
}

/** How a program ended. */
export type ProgramExit = { readonly status: number } | { readonly signal: string };

/** Largest part of a client's window that is kept back for notices, in bytes. */
const NOTICE_RESERVE = 8 * 1024;

/** One channel of the relay. Both sides number it by themselves; the numbers pass through as they are. */
export class RelayChannel {
  readonly type: string;
  readonly openedBy: 'client' | 'target';
  /** The client's and the target's number; -1 until known. */
  clientId = -1;
  targetId = -1;
  /** Largest data packet the client takes, in bytes. */
  clientMaxPacket = 0;

  terminal: { readonly screen: TerminalScreen; readonly input: TerminalInput } | undefined;
  program: Program | undefined;
  exit: ProgramExit | undefined;
  audited = false;
  /** Told when the other side has taken or refused the channel. */
  onOpened: (ok: boolean, text: string) => void = () => {};
  /** Bytes towards the client passed on: whether the last one ended a line. */
  atLineStart = true;
  /** What each side has sent: EOF and CLOSE. */
  targetEof = false;
  targetClosed = false;
  clientClosed = false;
  /** A notice that waits until the terminal's output is at rest. */
  pendingNotice: { readonly kind: 'warning' | 'cancelled'; readonly text: string } | undefined;
  /** Whether a warning has been shown that was not cancelled since. */
  warned = false;

  /** Answers to the client's and the target's channel requests. */
  readonly toClient: ReplyQueue;
  readonly toTarget: ReplyQueue;
  #reserve = 0;
  #owed = 0;

  constructor(type: string, openedBy: 'client' | 'target', send: { client(p: Buffer): void; target(p: Buffer): void }) {
    this.type = type;
    this.openedBy = openedBy;
    this.toClient = new ReplyQueue(send.client);
    this.toTarget = new ReplyQueue(send.target);
  }

  /** Both sides know the channel. */
  get confirmed(): boolean {
    return this.clientId >= 0 && this.targetId >= 0;
  }

  /** The program has been started and has not ended, as far as is known. */
  get running(): boolean {
    return this.program !== undefined && this.exit === undefined && !this.targetClosed;
  }

  startTerminal(): void {
    const screen = new TerminalScreen();
    this.terminal = { screen, input: new TerminalInput(screen) };
  }

  /**
   * Keeps a part of the client's window back, which the target never hears of, so that a notice can be put in at any time
   * without blocking and without overrunning the client.
   * INVARIANT: the client's window = the target's view of it + reserve - owed, and owed <= reserve.
   * @returns the window for the target.
   */
  reserveWindow(window: number): number {
    this.#reserve = Math.min(NOTICE_RESERVE, window >>> 3);
    return window - this.#reserve;
  }

  /** Takes `bytes` of the reserve; false when there is not enough left. */
  takeReserve(bytes: number): boolean {
    if (this.#owed + bytes > this.#reserve || bytes > this.clientMaxPacket) return false;
    this.#owed += bytes;
    return true;
  }

  /** Bytes of a client's window adjustment that are the target's: what a notice has used is paid back first. */
  adjust(bytes: number): number {
    const repaid = Math.min(bytes, this.#owed);
    this.#owed -= repaid;
    return bytes - repaid;
  }
}

/** The channels of one connection, by the numbers of both sides. */
export class ChannelTable {
  readonly #byClient = new Map<number, RelayChannel>();
  readonly #byTarget = new Map<number, RelayChannel>();

  get size(): number {
    return Math.max(this.#byClient.size, this.#byTarget.size);
  }

  byClient(id: number): RelayChannel | undefined {
    return this.#byClient.get(id);
  }

  byTarget(id: number): RelayChannel | undefined {
    return this.#byTarget.get(id);
  }

  /** Enters the number one side has given. False when it is in use. */
  setClientId(channel: RelayChannel, id: number): boolean {
    if (this.#byClient.has(id)) return false;
    channel.clientId = id;
    this.#byClient.set(id, channel);
    return true;
  }

  setTargetId(channel: RelayChannel, id: number): boolean {
    if (this.#byTarget.has(id)) return false;
    channel.targetId = id;
    this.#byTarget.set(id, channel);
    return true;
  }

  remove(channel: RelayChannel): void {
    if (channel.clientId >= 0) this.#byClient.delete(channel.clientId);
    if (channel.targetId >= 0) this.#byTarget.delete(channel.targetId);
  }

  *all(): Iterable<RelayChannel> {
    yield* this.#byClient.values();
    for (const channel of this.#byTarget.values()) if (channel.clientId < 0) yield channel;
  }

  /** Session channels that a client has opened. */
  sessions(): RelayChannel[] {
    return [...this.#byClient.values()].filter((channel) => channel.type === 'session');
  }

  hasTerminal(): boolean {
    for (const channel of this.#byClient.values()) if (channel.terminal !== undefined) return true;
    return false;
  }
}
