import type { RefusedLogin, RefusedLogins } from '../../identity/refused-logins.ts';
import type { Refusal } from './server-auth.ts';

/**
 * The refusals of one connection. One of a certificate is recorded before the client is told; plain keys and other methods, which
 * OpenSSH tries before or beside its certificate, only where the connection ends without anybody having proved who they are.
 */
export class RefusedConnection {
  readonly #logins: RefusedLogins;
  readonly #from: Pick<RefusedLogin, 'clientAddr' | 'host'>;
  #last: Refusal | undefined;
  #settled = false;

  constructor(logins: RefusedLogins, from: Pick<RefusedLogin, 'clientAddr' | 'host'>) {
    this.#logins = logins;
    this.#from = from;
  }

  refused(refusal: Refusal): Promise<void> | undefined {
    if (!refusal.certificate) {
      this.#last = refusal;
      return undefined;
    }
    this.#settled = true;
    return this.#record(refusal);
  }

  /** The client has proved who it is; what it may do is told elsewhere. */
  proved(): void {
    this.#settled = true;
  }

  closed(): void {
    if (!this.#settled && this.#last !== undefined) void this.#record(this.#last);
  }

  #record({ login, reason, user }: Refusal): Promise<void> {
    return this.#logins.record({
      protocol: 'ssh',
      ...this.#from,
      login,
      reason,
      ...(user === undefined ? {} : { user }),
    });
  }
}
