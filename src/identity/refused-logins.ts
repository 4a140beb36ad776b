import { EVENTS } from '../audit/catalog.ts';
import type { AuditLog } from '../audit/events.ts';
import type { Clock } from '../core/clock.ts';
import { errorMessage } from '../core/errors.ts';
import type { Logger } from '../core/logger.ts';
import { networkOf } from './attempt-limits.ts';
import { ipOf } from './source-address.ts';

/** Refusals of one sort from one place are written as one event after so long, in milliseconds. */
const WINDOW_MS = 5 * 60_000;
/** Sorts of refusal that are told apart at a time, all together and from one place. Whatever is beyond is counted under one. */
const MAX_SORTS = 256;
const MAX_SORTS_A_PLACE = 8;
/** Longest login name and reason in an event, in characters: both are the client's own words. */
const MAX_TEXT = 300;

/** A login that was refused before there was a session. */
export interface RefusedLogin {
  /** `ssh`, or the ALPN protocol of a tunnel. */
  readonly protocol: string;
  /** `ip:port` of the client. */
  readonly clientAddr: string;
  readonly reason: string;
  /** Whose certificate it is, where this cluster's authority has signed it. Whether its key is there too is not proved. */
  readonly user?: string;
  readonly login?: string;
  /** The node that was asked for. */
  readonly host?: string;
}

interface Sort {
  readonly place: string;
  /** Whether it stands for several sorts, beyond those that are told apart. */
  readonly various: boolean;
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
 * Writes to the audit log (`auth`, T3007W) who was refused for the certificate, or for want of one. Anybody can cause that, so it is
 * bounded: the first of a sort, which is a network and a reason, is written at once; those that follow are counted, and written as one
 * event with `attempts` every five minutes.
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
  async record({ protocol, clientAddr, reason, user, login, host }: RefusedLogin): Promise<void> {
    const { log } = this.#deps;
    const fields = {
      ...(user === undefined ? {} : { user }),
      ...(login === undefined ? {} : { login: login.slice(0, MAX_TEXT) }),
      protocol,
      success: false,
      error: reason.slice(0, MAX_TEXT),
      ...(host === undefined ? {} : { server_hostname: host }),
      'addr.remote': clientAddr,
    };
    const told = { protocol, addr: clientAddr, ...(login === undefined ? {} : { login }), reason };
    const known = this.#known(networkOf(ipOf(clientAddr)), fields.error);
    if (known !== undefined) {
      if (known.attempts++ === 0) known.firstWallMs = this.#deps.clock.wallMs();
      known.fields = fields;
      log.debug('authentication refused', told);
      return;
    }
    log.info('authentication refused', told);
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
    const sort: Sort = { place: owner, various: candidates.length > 1, attempts: 0, firstWallMs: 0, fields: {} };
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

  /** One event for all that came since the last one; it carries the newest one's fields, and `various` where others differ from it. */
  async #tell(sort: Sort): Promise<void> {
    if (sort.attempts === 0) return;
    const { attempts, firstWallMs, fields, various } = sort;
    sort.attempts = 0;
    const first = new Date(firstWallMs).toISOString();
    await this.#emit({ ...fields, attempts, first_attempt: first, ...(various ? { various } : {}) });
  }

  async #emit(fields: Readonly<Record<string, unknown>>): Promise<void> {
    try {
      await this.#deps.audit.emit({ ...EVENTS.authAttemptFailed, ...fields });
    } catch (error) {
      this.#deps.log.error('a refused login could not be written to the audit log', { error: errorMessage(error) });
    }
  }
}
