import { NightlatchError } from '../../core/errors.ts';
import type { SshClient } from './ssh-client.ts';

/** A terminal that is open in a browser. */
export interface OpenTerminal {
  readonly sessionId: string | undefined;
  readonly user: string;
  readonly client: SshClient | undefined;
}

/** The terminals that are open in browsers, so that files can go through the session of one. */
export class Terminals {
  readonly #open = new Set<OpenTerminal>();

  add(terminal: OpenTerminal): void {
    this.#open.add(terminal);
  }

  remove(terminal: OpenTerminal): void {
    this.#open.delete(terminal);
  }

  /** The connection of a user's own terminal. @throws {NightlatchError} `not_found` */
  clientOf(sessionId: string, user: string): SshClient {
    for (const terminal of this.#open) {
      if (terminal.sessionId === sessionId && terminal.user === user && terminal.client !== undefined) {
        return terminal.client;
      }
    }
    throw new NightlatchError('not_found', 'this terminal is not open any more');
  }
}
