import { argon2, randomBytes, timingSafeEqual } from 'node:crypto';
import { DecodeError, NightlatchError } from '../core/errors.ts';
import type { Secret } from '../core/secret.ts';

/** Characters that a password must have. */
export const MIN_PASSWORD_LENGTH = 12;
const MAX_PASSWORD_LENGTH = 128;

/** Cost of argon2id (RFC 9106). */
export interface Argon2Parameters {
  /** KiB. */
  readonly memory: number;
  readonly passes: number;
  readonly parallelism: number;
}

/** RFC 9106 section 4, second choice, with one lane: three passes over 64 MiB; above what OWASP asks for. */
export const DEFAULT_ARGON2: Argon2Parameters = { memory: 65_536, passes: 3, parallelism: 1 };

const SALT_BYTES = 16;
const HASH_BYTES = 32;

/**
 * A password in the form it is hashed in (Unicode NFC, RFC 8265 section 4.2), or why it cannot be one. The length counts characters.
 * @throws {NightlatchError} `bad_parameter`; the message is for the person who chose it.
 */
export function checkNewPassword(password: Secret<string>): void {
  const normal = normalizePassword(password);
  if (normal === undefined) {
    throw new NightlatchError(
      'bad_parameter',
      `the password is longer than ${MAX_PASSWORD_LENGTH} characters, or has control characters`,
    );
  }
  if ([...normal].length < MIN_PASSWORD_LENGTH) {
    throw new NightlatchError(
      'bad_parameter',
      `the password is too short, the minimum is ${MIN_PASSWORD_LENGTH} characters`,
    );
  }
}

function normalizePassword(password: Secret<string>): string | undefined {
  const text = password.reveal();
  if (text.length > 4 * MAX_PASSWORD_LENGTH) return undefined;
  const normal = text.normalize('NFC');
  return [...normal].length > MAX_PASSWORD_LENGTH || /[\p{Cc}\p{Cs}]/u.test(normal) ? undefined : normal;
}

/** A hash in the PHC string format. */
interface PasswordHash extends Argon2Parameters {
  readonly salt: Buffer;
  readonly hash: Buffer;
}

function encodeHash({ memory, passes, parallelism, salt, hash }: PasswordHash): string {
  const text = (bytes: Buffer) => bytes.toString('base64').replace(/=+$/, '');
  return `$argon2id$v=19$m=${memory},t=${passes},p=${parallelism}$${text(salt)}$${text(hash)}`;
}

/**
 * Reads `$argon2id$v=19$m=…,t=…,p=…$SALT$HASH`, with costs no higher than this program would ever set.
 * @throws {DecodeError}
 */
export function decodePasswordHash(phc: string): PasswordHash {
  const match =
    /^\$argon2id\$v=19\$m=(\d{1,7}),t=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{22,86})$/.exec(phc);
  if (match === null) throw new DecodeError('a password hash is not in the argon2id PHC format');
  const [memory, passes, parallelism] = [Number(match[1]), Number(match[2]), Number(match[3])];
  if (passes < 1 || parallelism < 1 || memory < 8 * parallelism || memory > 1_048_576) {
    throw new DecodeError('a password hash has costs out of range');
  }
  return {
    memory,
    passes,
    parallelism,
    salt: Buffer.from(match[4]!, 'base64'),
    hash: Buffer.from(match[5]!, 'base64'),
  };
}

export interface PasswordHasherOptions {
  readonly parameters?: Argon2Parameters;
  /** Hashes at a time: each takes `memory`. */
  readonly concurrency?: number;
  /** Hashes that may wait; beyond that, attempts are refused. */
  readonly queue?: number;
}

/** Hashes and checks passwords; memory and work are bounded whatever number of people sign in. */
export class PasswordHasher {
  readonly #parameters: Argon2Parameters;
  readonly #concurrency: number;
  readonly #queueLimit: number;
  #running = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(options: PasswordHasherOptions = {}) {
    this.#parameters = options.parameters ?? DEFAULT_ARGON2;
    this.#concurrency = options.concurrency ?? 2;
    this.#queueLimit = options.queue ?? 64;
  }

  /**
   * Hashes a new password.
   * @throws {NightlatchError} `bad_parameter` for one that is too short or cannot be one; `limit_exceeded` while too many wait.
   */
  async hash(password: Secret<string>): Promise<string> {
    checkNewPassword(password);
    const salt = randomBytes(SALT_BYTES);
    const hash = await this.#derive(normalizePassword(password)!, { ...this.#parameters, salt }, HASH_BYTES);
    return encodeHash({ ...this.#parameters, salt, hash });
  }

  /**
   * Checks a password. Without a hash (no such user, no password yet) it takes as long as with one, and is false.
   * `outdated`: the hash was made with other costs than today's, so the password should be hashed anew.
   * @throws {NightlatchError} `limit_exceeded` while too many wait; `decode` for a stored hash that is none.
   */
  async verify(password: Secret<string>, phc: string | undefined): Promise<{ ok: boolean; outdated: boolean }> {
    const normal = normalizePassword(password);
    // What cannot be a password is no one's: this says nothing about the user.
    if (normal === undefined) return { ok: false, outdated: false };
    const stored = phc === undefined ? undefined : decodePasswordHash(phc);
    const { memory, passes, parallelism } = stored ?? this.#parameters;
    const salt = stored?.salt ?? randomBytes(SALT_BYTES);
    const wanted = stored?.hash ?? Buffer.alloc(HASH_BYTES);
    const hash = await this.#derive(normal, { memory, passes, parallelism, salt }, wanted.length);
    const equal = timingSafeEqual(hash, wanted);
    const today = this.#parameters;
    const outdated = memory !== today.memory || passes !== today.passes || parallelism !== today.parallelism;
    return { ok: equal && stored !== undefined, outdated: outdated && stored !== undefined };
  }

  async #derive(text: string, cost: Argon2Parameters & { salt: Buffer }, length: number): Promise<Buffer> {
    await this.#enter();
    const { memory, passes, parallelism, salt } = cost;
    try {
      return await new Promise<Buffer>((resolve, reject) => {
        const input = { message: text, nonce: salt, parallelism, tagLength: length, memory, passes };
        argon2('argon2id', input, (error, hash) => (error ? reject(error) : resolve(hash)));
      });
    } finally {
      this.#leave();
    }
  }

  async #enter(): Promise<void> {
    if (this.#running < this.#concurrency) {
      this.#running++;
      return;
    }
    if (this.#waiting.length >= this.#queueLimit) {
      throw new NightlatchError(
        'limit_exceeded',
        'too many people are signing in at the moment; try again in a minute',
      );
    }
    await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  #leave(): void {
    // The place goes to the next in line; only without one is it free.
    const next = this.#waiting.shift();
    if (next === undefined) this.#running--;
    else next();
  }
}
