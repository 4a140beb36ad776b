import { randomBytes, timingSafeEqual } from 'node:crypto';
import type { CancelKey } from './upstream.ts';

const PROCESS_ID_BYTES = 4;
/** Secrets as long as the protocol allows to be sensible: 4 bytes before 3.2, any number up to 256 since. */
const SECRET_BYTES = { before32: 4, since32: 32 } as const;

/**
 * The keys that clients hold for their cancel requests. They are the gateway's own: the database's keys never reach a client. The process id
 * is as random as the secret, so a guess must get both right.
 */
export class CancelKeys {
  readonly #running = new Map<number, { secret: Buffer; cancel: () => Promise<void> }>();

  /** Registers a session; `cancel` asks its database to stop. */
  issue(longSecret: boolean, cancel: () => Promise<void>): CancelKey {
    let processId: number;
    do processId = randomBytes(PROCESS_ID_BYTES).readUInt32BE(0) & 0x7fff_ffff;
    while (processId === 0 || this.#running.has(processId));
    const secret = randomBytes(longSecret ? SECRET_BYTES.since32 : SECRET_BYTES.before32);
    this.#running.set(processId, { secret, cancel });
    return { processId, secret };
  }

  revoke(key: CancelKey): void {
    this.#running.delete(key.processId);
  }

  /** Carries out a cancel request. A wrong key is answered as PostgreSQL does: not at all. */
  async cancel(processId: number, secret: Buffer): Promise<boolean> {
    const found = this.#running.get(processId);
    if (found === undefined || found.secret.length !== secret.length || !timingSafeEqual(found.secret, secret))
      return false;
    await found.cancel();
    return true;
  }
}
