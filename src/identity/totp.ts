import { Secret as OtpSecret, TOTP } from 'otpauth';
import type { Clock } from '../core/clock.ts';
import { Secret } from '../core/secret.ts';
import type { Store } from '../store/store.ts';
import type { MasterKey } from './master-key.ts';
import { SealedRecords } from './sealed-records.ts';

const PERIOD_SECONDS = 30;
const DIGITS = 6;
/** Steps before and after the present one whose codes are accepted (RFC 6238 section 5.2). */
const WINDOW = 1;
/** What authenticator applications can do without exception. */
const ALGORITHM = 'SHA1';
const SECRET_BYTES = 20;

/** A new secret, base32. */
export function createTotpSecret(): Secret<string> {
  return new Secret(new OtpSecret({ size: SECRET_BYTES }).base32);
}

/** The `otpauth://` URI that authenticator applications read from a QR code. */
export function totpUri(secret: Secret<string>, user: string, issuer: string): string {
  return totp(secret, user, issuer).toString();
}

/** The step (30 s since the epoch) whose code this is; undefined where it is none of those in the window. */
export function totpStep(secret: Secret<string>, code: string, wallMs: number): number | undefined {
  const token = code.replace(/[ -]/g, '');
  if (!/^\d{6}$/.test(token)) return undefined;
  const generator = totp(secret, '', '');
  const delta = generator.validate({ token, timestamp: wallMs, window: WINDOW });
  return delta === null ? undefined : generator.counter({ timestamp: wallMs }) + delta;
}

function totp(secret: Secret<string>, label: string, issuer: string): TOTP {
  return new TOTP({
    issuer,
    label,
    algorithm: ALGORITHM,
    digits: DIGITS,
    period: PERIOD_SECONDS,
    secret: OtpSecret.fromBase32(secret.reveal()),
  });
}

/** People's secrets for time-based codes. */
export class TotpFactors {
  readonly #secrets: SealedRecords<{ secret: string }>;
  readonly #used: SealedRecords<true>;
  readonly #clock: Clock;
  /** Stands in for users without a secret, so that a check takes the same time. */
  readonly #dummy = createTotpSecret();

  constructor(store: Store, masterKey: MasterKey, clock: Clock) {
    this.#secrets = new SealedRecords(store, masterKey, 'totp');
    this.#used = new SealedRecords(store, masterKey, 'totp_used');
    this.#clock = clock;
  }

  async isEnrolled(user: string): Promise<boolean> {
    return (await this.#secrets.get(user)) !== undefined;
  }

  /** Sets the secret that belongs to a code which the person has shown (`step`); that code is spent. */
  async enrol(user: string, secret: Secret<string>, step: number): Promise<void> {
    await this.spend(user, step);
    await this.#secrets.put(user, { secret: secret.reveal() });
  }

  /** The step of a user's code where it is right and none of this or a later step has been used; it is not spent yet. */
  async check(user: string, code: string): Promise<number | undefined> {
    const stored = await this.#secrets.get(user);
    const step = totpStep(stored === undefined ? this.#dummy : new Secret(stored.secret), code, this.#clock.wallMs());
    if (stored === undefined || step === undefined) return undefined;
    for (let later = step; later <= step + 2 * WINDOW; later++) {
      if ((await this.#used.get(usedKey(user, later))) !== undefined) return undefined;
    }
    return step;
  }

  /** Spends a step; false where somebody else was faster, on whichever gateway. */
  async spend(user: string, step: number): Promise<boolean> {
    const expiresAtMs = (step + 2 * WINDOW + 2) * PERIOD_SECONDS * 1000;
    return this.#used.add(usedKey(user, step), true, { expiresAtMs });
  }

  async remove(user: string): Promise<void> {
    await this.#secrets.delete(user);
  }

  /** Users with a secret. */
  async users(): Promise<string[]> {
    return this.#secrets.keys();
  }
}

function usedKey(user: string, step: number): string {
  return JSON.stringify([user, step]);
}
