import { OFFERED_CAPABILITIES } from '../../wire/mysql/capabilities.ts';

/** Announced before any server has been seen: clients of both families take it for a server that can do all that is offered. */
const MYSQL_VERSION = '8.0.36-Nightlatch';
/** Clients of the MariaDB family look for the name; the prefix is MariaDB's own, for old replicas. */
const MARIADB_VERSION = '5.5.5-10.11.0-MariaDB-Nightlatch';

/** What one server said of itself at the last login. */
interface KnownServer {
  readonly version: string;
  readonly capabilities: number;
}

/** What a client is told before the login. */
export interface Announcement {
  readonly serverVersion: string;
  readonly capabilities: number;
}

/**
 * What the gateway knows of the servers behind it, for the greeting: drivers choose statements by the version they read there, and it is sent before the
 * client has said which server it wants.
 */
export class KnownServers {
  readonly #servers = new Map<string, KnownServer>();

  learn(database: string, server: KnownServer): void {
    this.#servers.set(database, server);
  }

  /** For a client whose database is known: what that server said. */
  announceFor(database: string): Announcement {
    const known = this.#servers.get(database);
    if (known === undefined) return this.announce();
    return { serverVersion: known.version, capabilities: OFFERED_CAPABILITIES & known.capabilities };
  }

  /** For anybody: no more than the family of the servers, and what all of them can do. */
  announce(): Announcement {
    let capabilities = OFFERED_CAPABILITIES;
    let mariadb = this.#servers.size > 0;
    for (const server of this.#servers.values()) {
      capabilities &= server.capabilities;
      mariadb &&= /mariadb/i.test(server.version);
    }
    return { serverVersion: mariadb ? MARIADB_VERSION : MYSQL_VERSION, capabilities };
  }
}
