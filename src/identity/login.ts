import type { PublicKeyCredentialRequestOptionsJSON } from '@simplewebauthn/server';
import { EVENTS } from '../audit/catalog.ts';
import type { AuditLog } from '../audit/events.ts';
import type { Clock } from '../core/clock.ts';
import { NightlatchError } from '../core/errors.ts';
import type { Secret } from '../core/secret.ts';
import { LockOuts, networkOf, TokenBuckets } from './attempt-limits.ts';
import type { PasswordHasher } from './passwords.ts';
import { normalizeUserName } from './user-name.ts';
import type { Credentials, SecondFactor } from './users.ts';

/** What a sign-in comes with. */
export interface LoginRequest {
  readonly user: string;
  readonly password: Secret<string>;
  /** A code of an authenticator. */
  readonly otp?: string;
  /** The browser's answer to `beginWebauthn`. */
  readonly passkey?: unknown;
  /** IP address. */
  readonly clientIp: string;
}

/** How often one may try. */
export interface LoginLimits {
  /** Wrong attempts within `windowMs` that bar a user name for `lockOutMs`. */
  readonly maxFailures: number;
  readonly windowMs: number;
  readonly lockOutMs: number;
  /** Attempts of one address (IPv6: one /64): so many at once, then one every `addressRefillMs`. */
  readonly addressBurst: number;
  readonly addressRefillMs: number;
  /** Attempts with one user name, right or wrong. */
  readonly userBurst: number;
  readonly userRefillMs: number;
}

export const DEFAULT_LOGIN_LIMITS: LoginLimits = {
  maxFailures: 5,
  windowMs: 15 * 60_000,
  lockOutMs: 20 * 60_000,
  addressBurst: 30,
  addressRefillMs: 2_000,
  userBurst: 15,
  userRefillMs: 4_000,
};

export interface LoginOptions {
  readonly clock: Clock;
  readonly audit: AuditLog;
  readonly hasher: PasswordHasher;
  readonly credentials: Credentials;
  readonly secondFactor: () => SecondFactor;
  readonly userExists: (user: string) => boolean;
  readonly limits?: LoginLimits;
}

/** What came of an attempt; `complete` where password and factor were both right. */
type Outcome<T> =
  | { readonly ok: true; readonly complete: boolean; readonly value: T }
  | { readonly ok: false; readonly error: string };

/**
 * Signs people in. Whoever fails is told the same whatever the cause, after the same work: there is no telling from outside whether
 * a user exists, or which of password and factor was wrong. Limits are this gateway's own, in memory, and bounded.
 */
export class LoginService {
  readonly #options: LoginOptions;
  readonly #limits: LoginLimits;
  readonly #addresses: TokenBuckets;
  readonly #names: TokenBuckets;
  /** Two tables, so that inventing names cannot push a real user's failures out. */
  readonly #knownLockOuts: LockOuts;
  readonly #unknownLockOuts: LockOuts;
  /** Refusals for too many attempts are told to the audit log once a minute by address and name, lest they flood it. */
  readonly #refusalEvents: TokenBuckets;

  constructor(options: LoginOptions) {
    this.#options = options;
    const { clock } = options;
    const limits = options.limits ?? DEFAULT_LOGIN_LIMITS;
    this.#limits = limits;
    this.#addresses = new TokenBuckets(clock, { burst: limits.addressBurst, refillMs: limits.addressRefillMs });
    this.#names = new TokenBuckets(clock, { burst: limits.userBurst, refillMs: limits.userRefillMs });
    this.#knownLockOuts = new LockOuts(clock, { ...limits, keys: 100_000 });
    this.#unknownLockOuts = new LockOuts(clock, limits);
    this.#refusalEvents = new TokenBuckets(clock, { burst: 1, refillMs: 60_000 });
  }

  /**
   * Checks a sign-in and returns the user's name in its normal form. The audit event is on disk before this resolves or rejects.
   * @throws {NightlatchError} `unauthenticated`; `limit_exceeded` after too many attempts; `audit_unavailable`.
   */
  async signIn(request: LoginRequest): Promise<string> {
    return this.#attempt(request, async (user, exists) => {
      const password = await this.#checkPassword(user, exists, request.password);
      const factor = await this.#checkFactor(user, request);
      // A code that is right is spent only together with the right password.
      const spent =
        factor.ok &&
        password.ok &&
        (factor.step === undefined || (await this.#options.credentials.totp.spend(user, factor.step)));
      if (!password.ok) return { ok: false, error: 'wrong password, or no such user' };
      if (!factor.ok) return { ok: false, error: 'wrong or missing second factor' };
      if (!spent) return { ok: false, error: 'the code was used before' };
      await this.#succeeded(request, user, factor.kind);
      if (password.outdated) await this.#rehash(user, request.password);
      return { ok: true, complete: true, value: user };
    });
  }

  /**
   * Options for a security key, for who has shown the password; `signIn` with the key's answer follows.
   * @throws {NightlatchError} as `signIn`.
   */
  async beginWebauthn(request: Omit<LoginRequest, 'otp' | 'passkey'>): Promise<PublicKeyCredentialRequestOptionsJSON> {
    return this.#attempt(request, async (user, exists) => {
      const password = await this.#checkPassword(user, exists, request.password);
      if (!password.ok) return { ok: false, error: 'wrong password, or no such user' };
      // Not complete: the password alone must not wipe out failures, or its owner's factor could be guessed for ever.
      return { ok: true, complete: false, value: await this.#options.credentials.webauthn.beginAuthentication(user) };
    });
  }

  /** Counts an attempt against every limit around what `check` does. */
  async #attempt<T>(request: LoginRequest, check: (user: string, exists: boolean) => Promise<Outcome<T>>): Promise<T> {
    const address = networkOf(request.clientIp);
    if (!this.#addresses.take(address))
      return this.#tooMany(request, `address ${address}`, undefined, this.#limits.addressRefillMs);
    const user = normalizeUserName(request.user);
    if (user === undefined) {
      // What a name may look like is no secret: no hash is spent on it.
      await this.#failed(request, undefined, 'not a user name');
      throw refused();
    }
    if (!this.#names.take(user)) return this.#tooMany(request, `user ${user}`, user, this.#limits.userRefillMs);
    const exists = this.#options.userExists(user);
    const lockOuts = exists ? this.#knownLockOuts : this.#unknownLockOuts;
    const attempt = lockOuts.begin(user);
    if (!attempt.admitted) return this.#tooMany(request, `user ${user}`, user, attempt.retryInMs);
    let result: Outcome<T>;
    try {
      result = await check(user, exists);
    } catch (error) {
      // An audit log or a store that failed says nothing about the person.
      lockOuts.cancel(user);
      throw error;
    }
    if (result.ok) {
      if (result.complete) lockOuts.succeed(user);
      else lockOuts.cancel(user);
      return result.value;
    }
    const barred = lockOuts.fail(user);
    const minutes = Math.ceil(this.#limits.lockOutMs / 60_000);
    await this.#failed(
      request,
      user,
      barred
        ? `${result.error}; locked out for ${minutes} minutes after ${this.#limits.maxFailures} failed attempts`
        : result.error,
    );
    throw refused();
  }

  /** Brings a hash up to today's costs, if that is possible now; the next sign-in is as good. */
  async #rehash(user: string, password: Secret<string>): Promise<void> {
    try {
      const hash = await this.#options.hasher.hash(password);
      await this.#options.credentials.passwords.set(user, hash, this.#options.clock.wallMs());
    } catch {
      // The person is signed in; a hash with older costs has done its work.
    }
  }

  async #checkPassword(
    user: string,
    exists: boolean,
    password: Secret<string>,
  ): Promise<{ ok: boolean; outdated: boolean }> {
    const hash = await this.#options.credentials.passwords.hashOf(user);
    return this.#options.hasher.verify(password, exists ? hash : undefined);
  }

  /** Looks at the factor whatever the password was: what comes out of it must not show in time. */
  async #checkFactor(
    user: string,
    request: LoginRequest,
  ): Promise<{ ok: false } | { ok: true; kind: 'none' | 'otp' | 'webauthn'; step?: number }> {
    const demanded = this.#options.secondFactor();
    const { totp, webauthn } = this.#options.credentials;
    if (demanded === 'off') return { ok: true, kind: 'none' };
    if (request.passkey !== undefined && demanded !== 'otp') {
      return (await webauthn.finishAuthentication(user, request.passkey))
        ? { ok: true, kind: 'webauthn' }
        : { ok: false };
    }
    if (demanded === 'webauthn') return { ok: false };
    const step = await totp.check(user, request.otp ?? '');
    return step === undefined ? { ok: false } : { ok: true, kind: 'otp', step };
  }

  async #succeeded(request: LoginRequest, user: string, factor: string): Promise<void> {
    await this.#options.audit.emit({
      ...EVENTS.userLogin,
      user,
      success: true,
      method: 'local',
      second_factor: factor,
      'addr.remote': request.clientIp,
    });
  }

  async #failed(request: LoginRequest, user: string | undefined, error: string): Promise<void> {
    await this.#options.audit.emit({
      ...EVENTS.userLoginFailed,
      ...(user !== undefined && { user }),
      success: false,
      method: 'local',
      error,
      'addr.remote': request.clientIp,
    });
  }

  async #tooMany(request: LoginRequest, who: string, user: string | undefined, retryInMs: number): Promise<never> {
    if (this.#refusalEvents.take(who)) await this.#failed(request, user, `too many attempts (${who})`);
    const minutes = Math.ceil(retryInMs / 60_000);
    const when = retryInMs <= 60_000 ? 'in a minute' : `in ${minutes} minutes`;
    throw new NightlatchError('limit_exceeded', `too many attempts to sign in; try again ${when}`);
  }
}

function refused(): NightlatchError {
  return new NightlatchError('unauthenticated', 'invalid user name, password or second factor');
}
