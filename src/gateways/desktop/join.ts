import type { Duplex } from 'node:stream';
import type { BrowserSocket } from './browser-socket.ts';
import type { DesktopRelay } from './relay.ts';

/** A connected desktop: where its bytes go, and what looks at them on the way. */
export interface Connected {
  readonly upstream: Duplex;
  readonly relay: DesktopRelay;
  /** What the desktop had sent already. */
  readonly rest: Buffer;
}

/** What becomes of the two sides, told to their connection. */
export interface JoinEvents {
  /** Whether the end has begun: nothing passes any more. */
  isEnding(): boolean;
  /** One side broke its protocol. */
  broken(side: 'desktop' | 'browser', error: unknown): void;
  /** The transport to the desktop failed; `upstreamClosed` follows. */
  upstreamFailed(error: Error): void;
  /** The desktop is gone. May be told more than once. */
  upstreamClosed(): void;
}

/** Joins both sides: from here on bytes flow, each side no faster than the other takes them. */
export function joinSides(browser: BrowserSocket, { upstream, relay, rest }: Connected, on: JoinEvents): void {
  const toBrowser = (chunk: Buffer): void => {
    if (on.isEnding()) return;
    try {
      let flowing = true;
      for (const piece of relay.fromServer(chunk)) flowing = browser.send(piece);
      if (!flowing) upstream.pause();
    } catch (error) {
      on.broken('desktop', error);
    }
  };
  browser.onDrain = () => {
    if (!on.isEnding()) upstream.resume();
  };
  upstream.on('data', toBrowser);
  upstream.on('drain', () => browser.resume());
  upstream.on('error', (error) => on.upstreamFailed(error));
  upstream.on('close', () => on.upstreamClosed());
  upstream.on('end', () => on.upstreamClosed());
  if (rest.length > 0) toBrowser(rest);
  browser.pipe((bytes) => {
    if (on.isEnding()) return;
    try {
      let flowing = true;
      for (const piece of relay.fromClient(bytes)) flowing = upstream.write(piece);
      if (!flowing) browser.pause();
    } catch (error) {
      on.broken('browser', error);
    }
  });
  upstream.resume();
  // It may have gone while the browser was greeted, with nobody to hear it.
  if (upstream.destroyed) on.upstreamClosed();
}

/** Ends a stream after what was written to it, and resolves when it is closed. */
export function endAndClose(stream: Duplex): Promise<void> {
  return new Promise((resolve) => {
    if (stream.destroyed) {
      resolve();
      return;
    }
    stream.once('close', () => resolve());
    stream.resume();
    stream.end(() => stream.destroy());
  });
}
