import type { Store } from '../store/store.ts';
import type { MasterKey } from './master-key.ts';
import { SealedRecords } from './sealed-records.ts';
import type { TotpFactors } from './totp.ts';
import type { WebSessions } from './web-sessions.ts';
import type { WebauthnFactors } from './webauthn.ts';

/** `auth_service.authentication.second_factor`: `on` demands one of the two. */
export type SecondFactor = 'off' | 'otp' | 'webauthn' | 'on';

interface StoredPassword {
  readonly hash: string;
  readonly changedAtMs: number;
}

/** Password hashes by user (PHC strings, sealed). */
export class PasswordRecords {
  readonly #records: SealedRecords<StoredPassword>;

  constructor(store: Store, masterKey: MasterKey) {
    this.#records = new SealedRecords(store, masterKey, 'passwords');
  }

  async hashOf(user: string): Promise<string | undefined> {
    return (await this.#records.get(user))?.hash;
  }

  async set(user: string, hash: string, changedAtMs: number): Promise<void> {
    await this.#records.put(user, { hash, changedAtMs });
  }

  async remove(user: string): Promise<void> {
    await this.#records.delete(user);
  }

  async users(): Promise<string[]> {
    return this.#records.keys();
  }
}

/** All that a person proves themselves with, and what they have begun with it. Roles and traits are a resource of the kind `user`. */
export interface Credentials {
  readonly passwords: PasswordRecords;
  readonly totp: TotpFactors;
  readonly webauthn: WebauthnFactors;
  readonly sessions: WebSessions;
}

/** Forgets a user's password and factors and signs them out everywhere. */
export async function forgetCredentials(credentials: Credentials, user: string): Promise<void> {
  // The sessions first: whatever fails after that, nobody is in any more.
  await credentials.sessions.endAll(user);
  await credentials.passwords.remove(user);
  await credentials.totp.remove(user);
  await credentials.webauthn.remove(user);
}

/** Users who have credentials of some kind. */
export async function usersWithCredentials(credentials: Credentials): Promise<Set<string>> {
  const [passwords, totp, webauthn] = await Promise.all([
    credentials.passwords.users(),
    credentials.totp.users(),
    credentials.webauthn.users(),
  ]);
  return new Set([...passwords, ...totp, ...webauthn]);
}
