import { readFile } from 'node:fs/promises';
import { errorMessage } from '../../core/errors.ts';
import { Secret } from '../../core/secret.ts';
import type { SealedRecords } from '../../identity/sealed-records.ts';
import type { LivePolicy } from '../../policy/snapshot.ts';
import { DesktopError } from './desktop-error.ts';

/** Bucket of the sealed records that hold desktop passwords. */
export const DESKTOP_PASSWORDS_BUCKET = 'desktop_passwords';

/** A password as it is kept, sealed. */
export interface KeptPassword {
  readonly password: string;
}

/** The passwords that the gateway puts in on the way, so that no browser ever holds them. */
export interface DesktopCredentials {
  /**
   * The password for a login on a desktop: from the sealed records, else from the resource's `auth.password_file`, which is read
   * each time. Undefined where the user types it.
   * @throws {DesktopError} `failed` when the file cannot be read.
   */
  password(desktop: string, login: string): Promise<Secret<string> | undefined>;
  keep(desktop: string, login: string, password: Secret<string>): Promise<void>;
  forget(desktop: string, login: string): Promise<void>;
}

/** Makes the gateway's own store of desktop passwords. */
export function createDesktopCredentials(deps: {
  readonly policy: LivePolicy;
  readonly kept: Pick<SealedRecords<KeptPassword>, 'get' | 'put' | 'delete'>;
}): DesktopCredentials {
  const { policy, kept } = deps;
  const key = (desktop: string, login: string) => JSON.stringify([desktop, login]);
  return {
    async password(desktop, login) {
      const record = await kept.get(key(desktop, login));
      if (record !== undefined) return new Secret(record.password);
      const auth = policy.current.desktops.get(desktop)?.spec.auth;
      // Without a login of its own, the password is everybody's: VNC has one a desktop.
      if (auth === undefined || (auth.login !== undefined && auth.login !== login)) return undefined;
      try {
        return new Secret((await readFile(auth.password_file, 'utf8')).replace(/\r?\n$/, ''));
      } catch (error) {
        throw new DesktopError('failed', `auth.password_file cannot be read: ${errorMessage(error)}`, { cause: error });
      }
    },
    keep: (desktop, login, password) => kept.put(key(desktop, login), { password: password.reveal() }),
    forget: (desktop, login) => kept.delete(key(desktop, login)),
  };
}
