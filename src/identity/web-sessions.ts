import { createHash } from 'node:crypto';
import type { Clock } from '../core/clock.ts';
import { Secret } from '../core/secret.ts';
import type { Store } from '../store/store.ts';
import type { MasterKey } from './master-key.ts';
import { SealedRecords } from './sealed-records.ts';
import { createToken, tokenKey } from './tokens.ts';
import type { Verified } from './types.ts';
import type { WebActivity } from './web-activity.ts';

/** Sessions of one user that are kept; the oldest ends when one more begins. */
const MAX_SESSIONS_PER_USER = 32;
const TAG_LENGTH = 16;
const DEFAULT_WEB_SESSION_TTL_MS = 12 * 3_600_000;

interface StoredSession {
  readonly user: string;
  readonly createdAtMs: number;
  readonly expiresAtMs: number;
  readonly clientIp?: string;
}

/** A sign-in that a bearer token stands for, as it is listed. */
export interface WebSession extends StoredSession {
  /** Names the session for `end`; it cannot be used to act as its user. */
  readonly id: string;
}

/**
 * Bearer tokens of the web application and of the API after a sign-in: opaque, kept hashed, revocable. A token begins with a tag of its
 * user, which names the bucket: a user's sessions are found without looking at everybody's.
 */
export class WebSessions {
  readonly #store: Store;
  readonly #masterKey: MasterKey;
  readonly #clock: Clock;
  /** Whether a session's user is still there: one that is idle for longer than `web_idle_timeout` is ended. */
  readonly activity: WebActivity;

  constructor(store: Store, masterKey: MasterKey, clock: Clock, activity: WebActivity) {
    this.#store = store;
    this.#masterKey = masterKey;
    this.#clock = clock;
    this.activity = activity;
  }

  /** Begins a session; the token is told once and not kept. */
  async create(
    user: string,
    options: { ttlMs?: number; clientIp?: string } = {},
  ): Promise<{ token: Secret<string>; id: string; expiresAtMs: number }> {
    const sessions = await this.list(user);
    for (const { id } of sessions.slice(0, Math.max(0, sessions.length - MAX_SESSIONS_PER_USER + 1))) {
      await this.endById(user, id);
    }
    const token = new Secret(userTag(user) + createToken().reveal());
    const id = tokenKey(token);
    const createdAtMs = this.#clock.wallMs();
    const expiresAtMs = createdAtMs + (options.ttlMs ?? DEFAULT_WEB_SESSION_TTL_MS);
    const { clientIp } = options;
    const session = { user, createdAtMs, expiresAtMs, ...(clientIp !== undefined && { clientIp }) };
    await this.#of(userTag(user)).put(id, session, { expiresAtMs });
    this.activity.touch(id);
    return { token, id, expiresAtMs };
  }

  /** Who a token stands for. Whether that user still exists or is locked is for the caller to look up. */
  async verify(token: Secret<string>): Promise<Verified> {
    const refused: Verified = { ok: false, reason: 'the token is unknown, has expired or was revoked' };
    const tag = tagOf(token);
    if (tag === undefined) return refused;
    const id = tokenKey(token);
    const session = await this.#of(tag).get(id);
    if (session === undefined || this.#clock.wallMs() >= session.expiresAtMs) return refused;
    if (this.activity.expired(id)) {
      await this.#remove(tag, id);
      return { ok: false, reason: 'its user was not active for longer than web_idle_timeout' };
    }
    const { user, expiresAtMs } = session;
    // As much of the hash as names it in the audit log and in locks.
    const serial = id.slice(0, 32);
    return { ok: true, identity: { user, serial, expiresAtMs, principals: [], extensions: [] } };
  }

  async end(token: Secret<string>): Promise<void> {
    const tag = tagOf(token);
    if (tag !== undefined) await this.#remove(tag, tokenKey(token));
  }

  /** The user of a session did something. Call it for a session that `verify` has found good. */
  noteActivity(token: Secret<string>): void {
    this.activity.touch(tokenKey(token));
  }

  /** Milliseconds since the user of a session did something. */
  idleForMs(token: Secret<string>): number {
    return this.activity.idleForMs(tokenKey(token));
  }

  /** Ends a session that `list` named, if it is this user's. */
  async endById(user: string, id: string): Promise<void> {
    if ((await this.#of(userTag(user)).get(id))?.user === user) await this.#remove(userTag(user), id);
  }

  /** Signs a user out everywhere; returns how many sessions that ended. */
  async endAll(user: string): Promise<number> {
    const sessions = await this.list(user);
    for (const { id } of sessions) await this.endById(user, id);
    return sessions.length;
  }

  /** A user's sessions, oldest first. */
  async list(user: string): Promise<WebSession[]> {
    const now = this.#clock.wallMs();
    return (await this.#of(userTag(user)).list())
      .filter(({ value }) => value.user === user && now < value.expiresAtMs)
      .map(({ key, value }) => ({ id: key, ...value }))
      .sort((a, b) => a.createdAtMs - b.createdAtMs);
  }

  async #remove(tag: string, id: string): Promise<void> {
    this.activity.forget(id);
    await this.#of(tag).delete(id);
  }

  #of(tag: string): SealedRecords<StoredSession> {
    return new SealedRecords(this.#store, this.#masterKey, `web_sessions:${tag}`);
  }
}

/** 96 bits of the user's name, hashed. Users who shared one would share a bucket and nothing else. */
function userTag(user: string): string {
  return createHash('sha256').update(user).digest('base64url').slice(0, TAG_LENGTH);
}

/** The tag of a token; undefined where a text has not the form of one. */
function tagOf(token: Secret<string>): string | undefined {
  const text = token.reveal();
  return text.length === TAG_LENGTH + 43 && /^[A-Za-z0-9_-]+$/.test(text) ? text.slice(0, TAG_LENGTH) : undefined;
}
