import { formatDuration } from '../../resources/index.ts';
import type { Session, SilenceGuard } from '../../session/types.ts';

/** The limit on a transaction left open, as it stands; 0 milliseconds for none. */
export type TransactionLimit = () => { readonly timeoutMs: number; readonly source: string };

/** Ends a session that leaves a transaction open and silent (role option `database_idle_in_transaction_timeout`). It has no timer of its own. */
export class TransactionGuard {
  readonly #session: Pick<Session, 'silenceGuard' | 'end'>;
  readonly #limit: TransactionLimit;
  /** With the limit that it was made for. */
  #guard: { readonly guard: SilenceGuard; readonly timeoutMs: number } | undefined;
  /** A transaction is open, and nothing runs in it. */
  armed = false;
  /** That is why the session ends. */
  expired = false;

  constructor(session: Pick<Session, 'silenceGuard' | 'end'>, limit: TransactionLimit) {
    this.#session = session;
    this.#limit = limit;
  }

  /** A transaction is left open from now on; without effect where it was before. */
  arm(): void {
    if (this.armed) return;
    this.armed = true;
    const { timeoutMs } = this.#limit();
    if (timeoutMs === 0) {
      this.#guard = undefined;
      return;
    }
    if (this.#guard?.timeoutMs !== timeoutMs)
      this.#guard = { timeoutMs, guard: this.#session.silenceGuard(timeoutMs, () => this.#expire()) };
    this.#guard.guard.arm();
  }

  /** Something runs, or the transaction is over. */
  disarm(): void {
    if (!this.armed) return;
    this.armed = false;
    this.#guard?.guard.disarm();
  }

  /** A limit that has changed counts from now. */
  policyChanged(): void {
    if (!this.armed || (this.#guard?.timeoutMs ?? 0) === this.#limit().timeoutMs) return;
    this.disarm();
    this.arm();
  }

  #expire(): void {
    if (!this.armed) return;
    const { timeoutMs, source } = this.#limit();
    this.expired = true;
    void this.#session.end(
      'idle',
      `a transaction was left open without activity for ${formatDuration(timeoutMs)} (${source})`,
    );
  }
}
