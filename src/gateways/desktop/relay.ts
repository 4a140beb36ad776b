import type { SessionEnd } from '../../session/types.ts';

/** What a relay tells of what passes through it. */
export interface RelayEvents {
  /** A person's hand (SPEC 2.3). */
  input(): void;
  /** A piece of a file under way. */
  work(): void;
  /** The desktop is usable. Called once. */
  ready(): void;
  /** Text passed through the clipboard: `send` to the desktop, `receive` from it. */
  clipboard(direction: 'send' | 'receive', bytes: number): void;
  /** Whether the user's roles let the clipboard through at this moment. */
  clipboardAllowed(): boolean;
}

/** One protocol's relay without IO: takes what one side sent and returns what the other side gets. */
export interface DesktopRelay {
  /** @throws {DecodeError} when the client breaks the protocol. */
  fromClient(chunk: Buffer): Buffer[];
  /** @throws {DecodeError} when the desktop breaks the protocol. */
  fromServer(chunk: Buffer): Buffer[];
  /** The protocol's own last words to the client. */
  farewell(end: SessionEnd): Buffer[];
  /** Why the desktop closes, where it has said so. */
  readonly serverReason: string | undefined;
}
