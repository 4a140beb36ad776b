import { EVENTS } from '../../audit/catalog.ts';
import type { AuditLog } from '../../audit/events.ts';
import type { Clock } from '../../core/clock.ts';
import { errorMessage } from '../../core/errors.ts';
import type { Logger } from '../../core/logger.ts';
import { networkOf } from '../../identity/attempt-limits.ts';
import type { Refusal } from './server-auth.ts';

/** Refusals of one sort from one place are written as one event after so long, in milliseconds. */
const WINDOW_MS = 5 * 60_000;
/** Sorts of refusal that are told apart at a time, all together and from one place. Whatever is beyond is counted under one. */
const MAX_SORTS = 256;
const MAX_SORTS_A_PLACE = 8;
/** Longest login name and reason in an event, in characters: both are the client's own words. */
const MAX_TEXT = 300;

/** Where a refused login came from and what it was for. */
export interface RefusedFrom {
  readonly clientAddr: string;
  readonly clientIp: string;
  /** Name of the node that was asked for; absent for the jump host. */
  readonly host?: string;
}

interface Sort {
  readonly place: string;
  /** Refusals since the last event, and the fields of the newest of them. */
  attempts: number;
  firstWallMs: number;
  fields: Readonly<Record<string, unknown>>;
}

export interface RefusedLoginsDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly audit: AuditLog;
}

/**
 * Writes refused logins to the audit log (`auth`, T3007W). Anybody can cause one, so they are bounded: the first of a sort, which is its
 * network and its reason, is written at once; those that follow are counted, and written as one event with `attempts` every five minutes.
 */
export class RefusedLogins {
  readonly #deps: RefusedLoginsDeps;
  readonly #sorts = new Map<string, Sort>();
  readonly #perPlace = new Map<string, number>();
  readonly #timers = new Set<{ cancel(): void }>();

  constructor(deps: RefusedLoginsDeps) {
    this.#deps = deps;
  }

  /** Resolves when the refusal is on disk, or counted. Never rejects: a refusal that cannot be written is still one. */
  async record(from: RefusedFrom, refusal: Refusal): Promise<void> {
    const { log } = this.#deps;
    const { login, reason, user } = refusal;
    const fields = {
      ...(user === undefined ? {} : { user }),
      login: login.slice(0, MAX_TEXT),
      protocol: 'ssh',
      success: false,
      error: reason.slice(0, MAX_TEXT),
      ...(from.host === undefined ? {} : { server_hostname: from.host }),
      'addr.remote': from.clientAddr,
    };
    const told = { clientAddr: from.clientAddr, login, reason };
    const known = this.#known(networkOf(from.clientIp), reason);
    if (known !== undefined) {
      if (known.attempts++ === 0) known.firstWallMs = this.#deps.clock.wallMs();
      known.fields = fields;
      log.debug('SSH authentication refused', told);
      return;
    }
    log.info('SSH authentication refused', told);
    await this.#emit({ ...fields, attempts: 1 });
  }

  /** Writes what has been counted. */
  async close(): Promise<void> {
    for (const timer of this.#timers) timer.cancel();
    this.#timers.clear();
    await Promise.all([...this.#sorts.values()].map((sort) => this.#tell(sort)));
    this.#sorts.clear();
    this.#perPlace.clear();
  }

  /** The sort that a refusal is counted under, or undefined where it is the first of a new one. */
  #known(place: string, reason: string): Sort | undefined {
    const here = this.#perPlace.get(place) ?? 0;
    const full = this.#sorts.size >= MAX_SORTS;
    // A client can make reasons differ, and come from many places: then less is told apart.
    const candidates = [
      `${place} ${reason}`,
      ...(here >= MAX_SORTS_A_PLACE ? [`${place} `] : []),
      ...(full ? [' '] : []),
    ];
    for (const key of candidates) {
      const known = this.#sorts.get(key);
      if (known !== undefined) return known;
    }
    const key = candidates.at(-1)!;
    const owner = key === ' ' ? '' : place;
    const sort: Sort = { place: owner, attempts: 0, firstWallMs: 0, fields: {} };
    this.#sorts.set(key, sort);
    this.#perPlace.set(owner, (this.#perPlace.get(owner) ?? 0) + 1);
    this.#arm(key, sort);
    return undefined;
  }

  #arm(key: string, sort: Sort): void {
    const { clock } = this.#deps;
    const timer = clock.at(clock.now() + WINDOW_MS, () => {
      this.#timers.delete(timer);
      if (sort.attempts > 0) {
        void this.#tell(sort);
        this.#arm(key, sort);
        return;
      }
      this.#sorts.delete(key);
      const left = this.#perPlace.get(sort.place)! - 1;
      if (left > 0) this.#perPlace.set(sort.place, left);
      else this.#perPlace.delete(sort.place);
    });
    this.#timers.add(timer);
  }

  /** One event for all that came since the last one; it carries the newest one's fields. */
  async #tell(sort: Sort): Promise<void> {
    if (sort.attempts === 0) return;
    const { attempts, firstWallMs, fields } = sort;
    sort.attempts = 0;
    await this.#emit({ ...fields, attempts, first_attempt: new Date(firstWallMs).toISOString() });
  }

  async #emit(fields: Readonly<Record<string, unknown>>): Promise<void> {
    try {
      await this.#deps.audit.emit({ ...EVENTS.authAttemptFailed, ...fields });
    } catch (error) {
      this.#deps.log.error('a refused login could not be written to the audit log', { error: errorMessage(error) });
    }
  }
}

/**
 * The refusals of one connection. One of a certificate is recorded before the client is told; plain keys and other methods, which
 * OpenSSH tries before or beside its certificate, only where the connection ends without anybody having proved who they are.
 */
export class RefusedConnection {
  readonly #logins: RefusedLogins;
  readonly #from: RefusedFrom;
  #last: Refusal | undefined;
  #settled = false;

  constructor(logins: RefusedLogins, from: RefusedFrom) {
    this.#logins = logins;
    this.#from = from;
  }

  refused(refusal: Refusal): Promise<void> | undefined {
    if (!refusal.certificate) {
      this.#last = refusal;
      return undefined;
    }
    this.#settled = true;
    return this.#logins.record(this.#from, refusal);
  }

  /** The client has proved who it is; what it may do is told elsewhere. */
  proved(): void {
    this.#settled = true;
  }

  closed(): void {
    if (!this.#settled && this.#last !== undefined) void this.#logins.record(this.#from, this.#last);
  }
}
