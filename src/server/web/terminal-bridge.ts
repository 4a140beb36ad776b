import type { RawData, WebSocket } from 'ws';
import { z } from 'zod';
import type { Timer } from '../../core/clock.ts';
import { errorMessage, NightlatchError } from '../../core/errors.ts';
import type { SshGateway } from '../../gateways/ssh/gateway.ts';
import type { LocalChannel } from '../../gateways/ssh/local-channel.ts';
import type { SessionNotices } from '../../gateways/ssh/node-connection.ts';
import type { Session } from '../../session/types.ts';
import { CLOSE_TERMINAL_ENDED, type TerminalControlMessage } from '../../wire/api/terminal-messages.ts';
import type { ServerContext } from '../context.ts';
import { connectSsh, encodePtyRequest, encodeWindowChange, type SshClient } from './ssh-client.ts';
import type { OpenTerminal } from './terminals.ts';

/** Output that waits for the browser: above this the channel is read no further until half of it is gone. */
const HIGH_WATER_BYTES = 256 * 1024;
const PING_INTERVAL_MS = 20_000;
/** Largest message of the page: what is pasted at once. */
export const MAX_TERMINAL_MESSAGE_BYTES = 1024 * 1024;
const MAX_CELLS = 1_000;

const size = z.number().int().min(1).max(MAX_CELLS);
const resizeSchema = z.object({ type: z.literal('resize'), columns: size, rows: size });

/** Which terminal a browser asks for, and who asks. */
export interface TerminalRequest {
  readonly user: string;
  readonly login: string;
  readonly node: string;
  readonly clientAddr: string;
  /** End of the web session, milliseconds since the epoch. */
  readonly notAfterMs: number;
  readonly columns: number;
  readonly rows: number;
}

/** Joins a browser's WebSocket and a shell on a node, through the SSH gateway. */
export class TerminalBridge implements SessionNotices, OpenTerminal {
  readonly #ctx: ServerContext;
  readonly #ws: WebSocket;
  readonly #request: TerminalRequest;
  #client: SshClient | undefined;
  #channel: LocalChannel | undefined;
  #session: Session | undefined;
  #told = false;
  #size: { columns: number; rows: number };
  #ping: Timer;
  #answered = true;

  constructor(ctx: ServerContext, gateway: SshGateway, ws: WebSocket, request: TerminalRequest) {
    this.#ctx = ctx;
    this.#ws = ws;
    this.#request = request;
    this.#size = { columns: request.columns, rows: request.rows };
    ws.on('message', (data, isBinary) => this.#message(toBuffer(data), isBinary));
    ws.on('pong', () => {
      this.#answered = true;
    });
    ws.on('error', () => undefined);
    ws.once('close', () => {
      this.#ping.cancel();
      this.#client?.end();
    });
    this.#ping = this.#nextPing();
    void this.#run(gateway);
  }

  /** The id of the session, once there is one. */
  get sessionId(): string | undefined {
    return this.#session?.id;
  }

  /** The user whose session this is. */
  get user(): string {
    return this.#request.user;
  }

  /** The connection behind the terminal, for file transfers within the same session. */
  get client(): SshClient | undefined {
    return this.#client;
  }

  ready(session: Session): void {
    this.#session = session;
  }

  warning({ text, remainingMs, policy: { timeoutMs, timeoutSource } }: Parameters<SessionNotices['warning']>[0]): void {
    this.#tell({ type: 'warning', text, remainingMs, idleTimeoutMs: timeoutMs, timeoutSource });
  }

  kept(text: string): void {
    this.#tell({ type: 'kept', text });
  }

  policyChanged({ timeoutMs, timeoutSource }: Parameters<SessionNotices['policyChanged']>[0]): void {
    this.#tell({ type: 'policy', idleTimeoutMs: timeoutMs, timeoutSource });
  }

  end({ cause, text }: Parameters<SessionNotices['end']>[0]): void {
    this.#finish(cause, text);
  }

  async #run(gateway: SshGateway): Promise<void> {
    const { columns: _columns, rows: _rows, ...request } = this.#request;
    try {
      const client = await connectSsh(this.#ctx, gateway, { ...request, notices: this });
      this.#client = client;
      if (this.#ws.readyState !== this.#ws.OPEN) {
        client.end();
        return;
      }
      void client.closed.then((detail) => this.#finish('target_closed', `Session ended: ${detail}.`));
      await this.#shell(client);
    } catch (error) {
      if (!(error instanceof NightlatchError)) {
        this.#ctx.log.error('a web terminal could not be opened', { error: errorMessage(error) });
      }
      this.#finish('denied', error instanceof NightlatchError ? error.message : 'the terminal could not be opened');
      this.#client?.end();
    }
  }

  async #shell(client: SshClient): Promise<void> {
    const channel = await client.openSession();
    this.#channel = channel;
    const { columns, rows } = this.#size;
    channel.request('pty-req', encodePtyRequest(columns, rows));
    channel.request('shell', new Uint8Array(0));
    channel.on('data', (data: Buffer) => this.#output(data));
    channel.once('close', () => {
      // The shell has ended by itself, or the gateway has told why it ends.
      this.#finish('target_closed', 'The shell has ended.');
      client.end();
    });
    const { policy, id } = this.#session!;
    this.#tell({
      type: 'ready',
      sessionId: id,
      idleTimeoutMs: policy.timeoutMs,
      timeoutSource: policy.timeoutSource,
    });
  }

  #output(data: Buffer): void {
    // What follows the end is the text for terminals without an overlay.
    if (this.#told || this.#ws.readyState !== this.#ws.OPEN) return;
    this.#ws.send(data, { binary: true }, () => {
      if (this.#channel?.isPaused() && this.#ws.bufferedAmount <= HIGH_WATER_BYTES / 2) this.#channel.resume();
    });
    if (this.#ws.bufferedAmount > HIGH_WATER_BYTES) this.#channel?.pause();
  }

  #message(bytes: Buffer, isBinary: boolean): void {
    if (isBinary) {
      const channel = this.#channel;
      if (channel === undefined || channel.destroyed) return;
      if (!channel.write(bytes)) {
        this.#ws.pause();
        channel.once('drain', () => this.#ws.resume());
      }
      return;
    }
    const parsed = resizeSchema.safeParse(jsonOf(bytes));
    if (!parsed.success) return;
    this.#size = parsed.data;
    this.#channel?.request('window-change', encodeWindowChange(parsed.data.columns, parsed.data.rows));
  }

  #tell(message: TerminalControlMessage): void {
    if (!this.#told && this.#ws.readyState === this.#ws.OPEN) this.#ws.send(JSON.stringify(message));
  }

  /** Tells the page the end once, and closes. */
  #finish(cause: string, text: string): void {
    this.#tell({ type: 'end', cause, text });
    this.#told = true;
    // A paused socket would never read the browser's own close.
    this.#ws.resume();
    this.#ws.close(CLOSE_TERMINAL_ENDED);
  }

  #nextPing(): Timer {
    const { clock } = this.#ctx;
    return clock.at(clock.now() + PING_INTERVAL_MS, () => {
      if (!this.#answered) {
        this.#ws.terminate();
        return;
      }
      this.#answered = false;
      if (this.#ws.readyState === this.#ws.OPEN) this.#ws.ping();
      this.#tell({ type: 'alive' });
      this.#ping = this.#nextPing();
    });
  }
}

function toBuffer(data: RawData): Buffer {
  if (Buffer.isBuffer(data)) return data;
  return Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data);
}

function jsonOf(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch {
    return undefined;
  }
}
