import { readFile } from 'node:fs/promises';
import { errorMessage, NightlatchError } from '../../core/errors.ts';
import { Secret } from '../../core/secret.ts';
import type { SealedRecords } from '../../identity/sealed-records.ts';
import type { LivePolicy } from '../../policy/snapshot.ts';
import { DesktopError } from './desktop-error.ts';

/** Bucket of the sealed records that hold desktop passwords. */
export const DESKTOP_PASSWORDS_BUCKET = 'desktop_passwords';

/** A password as it is kept, sealed. */
export interface KeptPassword {
  readonly password: string;
  /** Where it may be sent: a desktop that is registered elsewhere meanwhile is another machine. */
  readonly addr: string;
}

/** A login on a desktop for which a password is kept. */
export interface KeptLogin {
  readonly desktop: string;
  readonly login: string;
}

/** The passwords that the gateway puts in on the way, so that no browser ever holds them. */
export interface DesktopCredentials {
  /**
   * The password for a login on a desktop: from the sealed records, else from the resource's `auth.password_file`, which is read
   * each time. Undefined where the user types it.
   * @throws {DesktopError} `failed` when the file cannot be read.
   */
  password(desktop: string, login: string): Promise<Secret<string> | undefined>;
  /** Keeps a password for the desktop as it is registered now. @throws {NightlatchError} `not_found` */
  keep(desktop: string, login: string, password: Secret<string>): Promise<void>;
  /** @throws {NightlatchError} `not_found` where none is kept. */
  forget(desktop: string, login: string): Promise<void>;
  /** Whose passwords are kept, by desktop and login; also for desktops that are gone. */
  list(): Promise<KeptLogin[]>;
}

/** Makes the gateway's own store of desktop passwords. */
export function createDesktopCredentials(deps: {
  readonly policy: LivePolicy;
  readonly kept: Pick<SealedRecords<KeptPassword>, 'get' | 'put' | 'take' | 'keys'>;
}): DesktopCredentials {
  const { policy, kept } = deps;
  const key = (desktop: string, login: string) => JSON.stringify([desktop, login]);
  return {
    async password(desktop, login) {
      const spec = policy.current.desktops.get(desktop)?.spec;
      const record = await kept.get(key(desktop, login));
      if (record !== undefined && record.addr === spec?.addr) return new Secret(record.password);
      const auth = spec?.auth;
      // Without a login of its own, the password is everybody's: VNC has one a desktop.
      if (auth === undefined || (auth.login !== undefined && auth.login !== login)) return undefined;
      try {
        return new Secret((await readFile(auth.password_file, 'utf8')).replace(/\r?\n$/, ''));
      } catch (error) {
        throw new DesktopError('failed', `auth.password_file cannot be read: ${errorMessage(error)}`, { cause: error });
      }
    },
    async keep(desktop, login, password) {
      const registered = policy.current.desktops.get(desktop);
      if (registered === undefined) throw new NightlatchError('not_found', `desktop "${desktop}" is not registered`);
      await kept.put(key(desktop, login), { password: password.reveal(), addr: registered.spec.addr });
    },
    async forget(desktop, login) {
      if ((await kept.take(key(desktop, login))) === undefined) {
        throw new NightlatchError('not_found', `no password of "${login}" on desktop "${desktop}" is kept`);
      }
    },
    async list() {
      const keys = (await kept.keys()).map((text) => JSON.parse(text) as [desktop: string, login: string]);
      return keys
        .map(([desktop, login]) => ({ desktop, login }))
        .sort((a, b) => a.desktop.localeCompare(b.desktop) || a.login.localeCompare(b.login));
    },
  };
}
