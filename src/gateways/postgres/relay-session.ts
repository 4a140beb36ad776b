import type { Duplex } from 'node:stream';
import { EVENTS } from '../../audit/catalog.ts';
import { errorMessage } from '../../core/errors.ts';
import type { Logger } from '../../core/logger.ts';
import type { IdleWarning, Session, SessionEnd } from '../../session/types.ts';
import { BackendTap } from '../../wire/postgres/backend-tap.ts';
import { CommandTracker } from '../../wire/postgres/command-tracker.ts';
import { FrontendTap } from '../../wire/postgres/frontend-tap.ts';
import { encodeFatal, encodeNotice, TERMINATE } from '../../wire/postgres/messages.ts';
import type { SentStatement } from '../../wire/postgres/sent-statement.ts';
import type { FastPath } from '../common/fast-path.ts';
import { finishStream, StreamRelay, type StreamRelayHandlers } from '../common/stream-relay.ts';
import { TransactionGuard, type TransactionLimit } from '../common/transaction-guard.ts';
import { SQLSTATE, sqlstateOf } from './sqlstate.ts';

/** Transaction status outside of any; the others are in one, and in a failed one. */
const IDLE = 0x49;

/** The two connections of a session, and what the relay needs to know of it. */
export interface RelayOptions {
  readonly session: Session;
  readonly client: Duplex;
  readonly server: Duplex;
  readonly log: Logger;
  readonly auditQueries: boolean;
  readonly replication: boolean;
  readonly fastPath: FastPath | undefined;
  readonly idleInTransaction: TransactionLimit;
  /** Asks the database to cancel what runs on the server connection. */
  cancel(): Promise<void>;
}

/**
 * A PostgreSQL session from its first ReadyForQuery on: relays, reports activity, warns, and ends at a message boundary. The session's
 * timers are in session/; here is none.
 */
export class RelaySession implements StreamRelayHandlers {
  readonly #options: RelayOptions;
  readonly #tracker = new CommandTracker();
  readonly #front: FrontendTap;
  readonly #back: BackendTap;
  readonly #relay: StreamRelay;
  /** Work has been reported as begun to the session. */
  #working = false;
  /** Work ends when the client's connection has taken what was written to it. */
  #draining = false;
  #notice: Buffer | undefined;
  #closing: SessionEnd | undefined;
  #lastWords: (() => void) | undefined;
  readonly #transaction: TransactionGuard;

  constructor(options: RelayOptions) {
    this.#options = options;
    this.#front = new FrontendTap(
      this.#tracker,
      options.auditQueries ? { statement: (statement) => this.#audit(statement) } : {},
      { copyDataCounts: !options.replication },
    );
    this.#back = new BackendTap(this.#tracker);
    this.#transaction = new TransactionGuard(options.session, options.idleInTransaction);
    this.#relay = new StreamRelay(options.client, options.server, this, options.fastPath);
  }

  /** Starts with what either side sent behind the login. */
  start(earlyFromClient: Buffer, earlyFromServer: Buffer): void {
    this.#relay.start(earlyFromClient, earlyFromServer);
  }

  fromClient(chunk: Buffer, length: number): void {
    const { session } = this.#options;
    if (this.#front.push(chunk, length)) session.activity('input');
    if (this.#tracker.busy && !this.#working) {
      this.#working = true;
      session.workStarted();
    }
    if (this.#transaction.armed && this.#tracker.busy) this.#transaction.disarm();
  }

  fromServer(chunk: Buffer, length: number): number {
    if (this.#closing !== undefined || this.#notice !== undefined) return this.#toBoundary(chunk, length);
    this.#back.push(chunk, length);
    if (!this.#tracker.busy) this.#settled();
    return length;
  }

  clientEnded(): void {
    const { session } = this.#options;
    // A client that has said goodbye may have sent commands before it: they are carried out to their end.
    if (this.#front.terminated && this.#closing === undefined && this.#tracker.busy) this.#relay.endServer();
    else void session.end('client_closed');
  }

  serverEnded(): void {
    const { session } = this.#options;
    void session.end(this.#front.terminated ? 'client_closed' : 'target_closed');
  }

  failed(error: unknown): void {
    const { session, log } = this.#options;
    log.warn('postgres: a message could not be read', { sid: session.id, error: errorMessage(error) });
    void session.end('error', errorMessage(error));
  }

  /** SessionControl.warn */
  warn(warning: IdleWarning): void {
    // Nobody sees a notice before the next command's answer; a graphical client may show it at once.
    const text = warning.text.replace('Press any key to keep it.', 'Any statement keeps it.');
    this.#tell(encodeNotice('WARNING', SQLSTATE.warning, text));
  }

  /** SessionControl.warningCancelled */
  warningCancelled(text: string): void {
    this.#tell(encodeNotice('NOTICE', SQLSTATE.warning, text));
  }

  /** SessionControl.policyChanged */
  policyChanged(): void {
    this.#transaction.policyChanged();
  }

  /** SessionControl.close */
  async close(end: SessionEnd): Promise<void> {
    const { client, server } = this.#options;
    this.#closing = end;
    this.#relay.muteClient();
    if (this.#tracker.busy) {
      // The database would carry on with it, and notice only at the end that nobody listens.
      this.#options.cancel().catch((error: unknown) => {
        this.#options.log.warn('postgres: a running command could not be cancelled', { error: errorMessage(error) });
      });
    }
    const boundary =
      !end.tell || client.destroyed || server.destroyed || this.#back.atBoundary
        ? Promise.resolve()
        : new Promise<void>((resolve) => {
            this.#lastWords = resolve;
            server.once('close', resolve);
          });
    await boundary;
    await this.#relay.stop();
    const told = !end.tell || (end.cause === 'target_closed' && this.#back.lastWasError);
    const last = !told && this.#back.atBoundary ? encodeFatal(this.#sqlstate(end), end.text) : undefined;
    const goodbye = this.#front.atBoundary && !this.#front.terminated ? TERMINATE : undefined;
    await Promise.all([finishStream(client, last), finishStream(server, goodbye)]);
  }

  /** SessionControl.abort */
  abort(): void {
    this.#options.client.destroy();
    this.#options.server.destroy();
  }

  #sqlstate(end: SessionEnd): string {
    return end.cause === 'idle' && this.#transaction.expired ? SQLSTATE.idleInTransaction : sqlstateOf(end.cause);
  }

  /** Puts a message in where the server is between two of its own. */
  #tell(message: Buffer): void {
    if (this.#closing !== undefined) return;
    if (this.#back.atBoundary) this.#relay.tellClient(message);
    else this.#notice = this.#notice === undefined ? message : Buffer.concat([this.#notice, message]);
  }

  /** Lets pass what completes the message that is half sent; then comes what waits to be put in. */
  #toBoundary(chunk: Buffer, length: number): number {
    const taken = this.#back.push(chunk, length, true);
    if (!this.#back.atBoundary) return taken;
    if (this.#closing !== undefined) {
      // The relay writes the taken bytes when this returns; the last words must come behind them.
      const lastWords = this.#lastWords;
      this.#lastWords = undefined;
      if (lastWords !== undefined) queueMicrotask(lastWords);
      return taken;
    }
    const notice = this.#notice!;
    this.#notice = undefined;
    this.#relay.tellClient(Buffer.concat([chunk.subarray(0, taken), notice]));
    const rest = Buffer.from(chunk.subarray(taken, length));
    if (this.fromServer(rest, rest.length) > 0) this.#relay.tellClient(rest);
    return 0;
  }

  /** No command is running: work is over once the client has its answer, and where the server owes nothing, an open transaction is left idle from here. */
  #settled(): void {
    if (this.#working && !this.#draining) {
      if (this.#relay.clientBacklogged) {
        this.#draining = true;
        this.#relay.whenClientDrained(() => {
          this.#draining = false;
          if (!this.#tracker.busy) this.#workEnded();
        });
      } else this.#workEnded();
    }
    if (this.#tracker.pending) return;
    if (this.#tracker.status !== IDLE) this.#transaction.arm();
    else if (this.#transaction.armed) this.#transaction.disarm();
  }

  #workEnded(): void {
    if (!this.#working) return;
    this.#working = false;
    this.#options.session.workEnded();
  }

  #audit({ text, truncated, parameterCount, preparedName }: SentStatement): void {
    const { event, code } = EVENTS.databaseSessionQuery;
    this.#options.session.audit(event, code, {
      db_query: text,
      ...(truncated ? { db_query_truncated: true } : {}),
      ...(parameterCount === undefined ? {} : { db_query_parameter_count: parameterCount }),
      ...(preparedName === undefined || preparedName === '' ? {} : { db_statement_name: preparedName }),
    });
  }
}
