import type { Duplex } from 'node:stream';
import { EVENTS } from '../../audit/catalog.ts';
import { errorMessage } from '../../core/errors.ts';
import type { Logger } from '../../core/logger.ts';
import type { Session, SessionEnd } from '../../session/types.ts';
import { type ClientListener, ClientTap, type Decision, type SentStatement } from '../../wire/mysql/client-tap.ts';
import { COMMAND } from '../../wire/mysql/commands.ts';
import { encodeError, encodePacket } from '../../wire/mysql/packets.ts';
import { ResponseTracker } from '../../wire/mysql/response-tracker.ts';
import { ServerTap } from '../../wire/mysql/server-tap.ts';
import { DbRelay, type DbRelayHandlers, finishStream } from '../common/db-relay.ts';
import { errorOf } from './error-codes.ts';

const QUIT = encodePacket(0, Buffer.from([COMMAND.quit]));

/** The two connections of a session, and what the relay needs to know of it. */
export interface RelayOptions {
  readonly session: Session;
  readonly client: Duplex;
  readonly server: Duplex;
  readonly log: Logger;
  readonly auditQueries: boolean;
  /** Client and server have agreed to do without EOF packets. */
  readonly deprecateEof: boolean;
  /** Whether a command may pass. */
  decide(command: number, payload: Buffer, text: string): Decision;
  /** Ends the server connection from outside, with what it runs. */
  kill(): Promise<void>;
}

/**
 * A MySQL session in its command phase: relays, reports activity, and ends at a packet boundary. The protocol has no way to tell a client anything
 * between its commands, so nothing is warned. The session's timers are in session/; here is none.
 */
export class RelaySession implements DbRelayHandlers, ClientListener {
  readonly #options: RelayOptions;
  readonly #tracker: ResponseTracker;
  readonly #front: ClientTap;
  readonly #back: ServerTap;
  readonly #relay: DbRelay;
  readonly statement?: (statement: SentStatement) => void;
  /** Work has been reported as begun to the session. */
  #working = false;
  /** Work ends when the client's connection has taken what was written to it. */
  #draining = false;
  /** An answer that is replaced, as far as it has come. */
  #withheld: { parts: Buffer[]; rewrite: (packet: Buffer) => Buffer } | undefined;
  #closing: SessionEnd | undefined;
  #lastWords: (() => void) | undefined;

  constructor(options: RelayOptions) {
    this.#options = options;
    this.#tracker = new ResponseTracker({ deprecateEof: options.deprecateEof });
    if (options.auditQueries) this.statement = (statement) => this.#audit(statement);
    this.#front = new ClientTap(this.#tracker, this);
    this.#back = new ServerTap(this.#tracker);
    this.#relay = new DbRelay(options.client, options.server, this);
  }

  /** Starts with what either side sent behind the login. */
  start(earlyFromClient: Buffer, earlyFromServer: Buffer): void {
    this.#relay.start(earlyFromClient, earlyFromServer);
  }

  decide(command: number, payload: Buffer, text: string): Decision {
    return this.#options.decide(command, payload, text);
  }

  fromClient(chunk: Buffer): Buffer {
    const { session } = this.#options;
    const forward = this.#front.push(chunk);
    if (this.#front.input) session.activity('input');
    if (this.#tracker.busy && !this.#working) {
      this.#working = true;
      session.workStarted();
    }
    return forward;
  }

  fromServer(chunk: Buffer, length: number): number {
    if (this.#closing !== undefined) return this.#toBoundary(chunk, length);
    let taken = length;
    if (this.#tracker.rewrites || this.#withheld !== undefined) {
      this.#replaceAnswers(chunk, length);
      taken = 0;
    } else this.#back.push(chunk, 0, length);
    if (!this.#tracker.pending) this.#settled();
    return taken;
  }

  clientEnded(): void {
    const { session, server } = this.#options;
    // A client that has said goodbye may have sent commands before it: they are carried out to their end.
    if (this.#front.terminated && this.#closing === undefined && this.#tracker.busy) server.end();
    else void session.end('client_closed');
  }

  serverEnded(): void {
    void this.#options.session.end(this.#front.terminated ? 'client_closed' : 'target_closed');
  }

  failed(error: unknown): void {
    const { session, log } = this.#options;
    log.warn('mysql: a packet could not be read', { sid: session.id, error: errorMessage(error) });
    void session.end('error', errorMessage(error));
  }

  /** SessionControl.close */
  async close(end: SessionEnd): Promise<void> {
    const { client, server, log } = this.#options;
    this.#closing = end;
    this.#relay.muteClient();
    if (this.#tracker.busy && !this.#front.terminated) {
      this.#options.kill().catch((error: unknown) => {
        log.warn('mysql: a running statement could not be ended', { error: errorMessage(error) });
      });
    }
    if (end.tell && !this.#clientAtBoundary && !client.destroyed && !server.destroyed)
      await new Promise<void>((resolve) => {
        this.#lastWords = resolve;
        server.once('close', resolve);
      });
    const { code, sqlState } = errorOf(end.cause);
    const last =
      end.tell && this.#clientAtBoundary
        ? encodePacket(this.#tracker.nextSequence, encodeError(code, sqlState, end.text))
        : undefined;
    const goodbye = this.#front.atBoundary && !this.#front.terminated ? QUIT : undefined;
    await Promise.all([finishStream(client, last), finishStream(server, goodbye)]);
  }

  /** SessionControl.abort */
  abort(): void {
    this.#options.client.destroy();
    this.#options.server.destroy();
  }

  /** Nothing is half sent to the client; of an answer that is replaced it has nothing yet. */
  get #clientAtBoundary(): boolean {
    return this.#back.atBoundary || this.#withheld !== undefined;
  }

  /** Lets pass what completes the packet that is half sent. */
  #toBoundary(chunk: Buffer, length: number): number {
    if (this.#clientAtBoundary) return 0;
    const taken = this.#back.push(chunk, 0, length, true);
    if (this.#back.atBoundary) {
      // The relay writes the taken bytes when this returns; the last words must come behind them.
      const lastWords = this.#lastWords;
      this.#lastWords = undefined;
      if (lastWords !== undefined) queueMicrotask(lastWords);
    }
    return taken;
  }

  /** Goes packet by packet, and puts the gateway's answers in the place of the server's. */
  #replaceAnswers(chunk: Buffer, length: number): void {
    const { client, server } = this.#options;
    const out: Buffer[] = [];
    let at = 0;
    while (at < length) {
      const rewrite = this.#back.atBoundary ? this.#tracker.head?.rewrite : undefined;
      if (rewrite !== undefined) this.#withheld = { parts: [], rewrite };
      const next = this.#back.push(chunk, at, length, true);
      const part = chunk.subarray(at, next);
      at = next;
      if (this.#withheld === undefined) {
        out.push(part);
        continue;
      }
      this.#withheld.parts.push(Buffer.from(part));
      if (!this.#back.atBoundary) continue;
      out.push(this.#withheld.rewrite(Buffer.concat(this.#withheld.parts)));
      this.#withheld = undefined;
    }
    const bytes = Buffer.concat(out);
    if (bytes.length > 0 && !client.destroyed && !client.writableEnded && !client.write(bytes)) server.pause();
  }

  /** The server owes nothing: work is over once the client has it. */
  #settled(): void {
    const { client } = this.#options;
    if (!this.#working || this.#draining) return;
    if (!client.writableNeedDrain) {
      this.#workEnded();
      return;
    }
    this.#draining = true;
    client.once('drain', () => {
      this.#draining = false;
      if (!this.#tracker.pending) this.#workEnded();
    });
  }

  #workEnded(): void {
    if (!this.#working) return;
    this.#working = false;
    this.#options.session.workEnded();
  }

  #audit({ text, truncated, parameterCount, statementId }: SentStatement): void {
    const { event, code } = EVENTS.databaseSessionQuery;
    this.#options.session.audit(event, code, {
      db_query: text,
      ...(truncated ? { db_query_truncated: true } : {}),
      ...(parameterCount === undefined ? {} : { db_query_parameter_count: parameterCount }),
      ...(statementId === undefined ? {} : { db_statement_id: statementId }),
    });
  }
}
