import { randomBytes } from 'node:crypto';

/** Where a gateway's thread id leads. */
export interface ThreadTarget {
  /** Resource name of the database. */
  readonly database: string;
  readonly user: string;
  /** The server's own id of the connection. */
  readonly serverThreadId: number;
}

/**
 * The connection ids that clients are told. A client hears its id before it is known which server it will reach, so the gateway gives one of its own,
 * from the upper half of the range: servers count from one, so `KILL` can tell a gateway's id from a server's (`SHOW PROCESSLIST`), and both work.
 */
export class ThreadIds {
  readonly #targets = new Map<number, ThreadTarget | undefined>();

  /** A new id that leads nowhere yet. */
  reserve(): number {
    let id: number;
    do id = (randomBytes(4).readUInt32LE(0) | 0x8000_0000) >>> 0;
    while (this.#targets.has(id));
    this.#targets.set(id, undefined);
    return id;
  }

  bind(id: number, target: ThreadTarget): void {
    this.#targets.set(id, target);
  }

  release(id: number): void {
    this.#targets.delete(id);
  }

  /** The server's id for an id that this user was given for a connection to this database; undefined for every other number. */
  serverThreadId(id: number, database: string, user: string): number | undefined {
    const target = this.#targets.get(id);
    return target?.database === database && target.user === user ? target.serverThreadId : undefined;
  }
}
