import type { AuditLog } from '../audit/events.ts';
import type { Clock } from '../core/clock.ts';
import { errorMessage } from '../core/errors.ts';
import type { Logger } from '../core/logger.ts';
import type { Store } from '../store/store.ts';
import { Invitations } from './invitations.ts';
import { type LoginLimits, LoginService } from './login.ts';
import type { MasterKey } from './master-key.ts';
import { PasswordHasher, type PasswordHasherOptions } from './passwords.ts';
import { TotpFactors } from './totp.ts';
import {
  type Credentials,
  forgetCredentials,
  PasswordRecords,
  type SecondFactor,
  usersWithCredentials,
} from './users.ts';
import { WebActivity } from './web-activity.ts';
import { WebSessions } from './web-sessions.ts';
import { type RelyingParty, WebauthnFactors } from './webauthn.ts';

export interface LocalIdentityOptions {
  readonly store: Store;
  readonly masterKey: MasterKey;
  readonly clock: Clock;
  readonly audit: AuditLog;
  readonly log: Logger;
  readonly clusterName: string;
  /** The setting in force, read at each sign-in. */
  readonly secondFactor: () => SecondFactor;
  /** Whether there is a resource of the kind `user` with this name. */
  readonly userExists: (user: string) => boolean;
  readonly relyingParty: () => RelyingParty;
  /** `web_idle_timeout` in force, in milliseconds; 0 for none. */
  readonly webIdleTimeoutMs: () => number;
  readonly limits?: LoginLimits;
  readonly hashing?: PasswordHasherOptions;
}

/** Local users' sign-in, put together. */
export interface LocalIdentity {
  readonly login: LoginService;
  readonly invitations: Invitations;
  readonly sessions: WebSessions;
  readonly credentials: Credentials;
  /** Forgets password, factors, sessions and invitations of a user. */
  forget(user: string): Promise<void>;
  /**
   * Forgets whoever was removed from the store while no daemon ran; for the start. Asks the store and not `userExists`: a user whose
   * resource cannot be read is barred, not gone.
   */
  forgetRemovedUsers(): Promise<void>;
  /** Stops watching the store. */
  close(): void;
}

/** Puts the parts of local sign-in together, and forgets a user's credentials when the user is removed from the store. */
export function createLocalIdentity(options: LocalIdentityOptions): LocalIdentity {
  const { store, masterKey, clock, log } = options;
  const credentials: Credentials = {
    passwords: new PasswordRecords(store, masterKey),
    totp: new TotpFactors(store, masterKey, clock),
    webauthn: new WebauthnFactors(store, masterKey, clock, options.relyingParty),
    sessions: new WebSessions(store, masterKey, clock, new WebActivity(clock, options.webIdleTimeoutMs)),
  };
  const hasher = new PasswordHasher(options.hashing);
  const invitations = new Invitations({ ...options, hasher, credentials });
  const login = new LoginService({ ...options, hasher, credentials });
  const forget = async (user: string) => {
    await invitations.removeAll(user);
    await forgetCredentials(credentials, user);
  };
  const close = store.watch((change) => {
    if (change.kind !== 'user' || change.value !== undefined) return;
    forget(change.name).catch((error: unknown) => {
      // They cannot sign in, since there is no such user; the next start tries again.
      log.error('credentials of a removed user could not be forgotten', {
        user: change.name,
        error: errorMessage(error),
      });
    });
  });
  return {
    login,
    invitations,
    sessions: credentials.sessions,
    credentials,
    forget,
    close,
    async forgetRemovedUsers() {
      for (const user of await usersWithCredentials(credentials)) {
        if ((await store.get('user', user)) === undefined) await forget(user);
      }
    },
  };
}
