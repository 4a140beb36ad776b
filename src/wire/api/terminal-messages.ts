/** Close code of a terminal's WebSocket whose session has ended; the text message `end` before it says why. */
export const CLOSE_TERMINAL_ENDED = 4001;
/** Close code of every WebSocket of a browser that was signed out. */
export const CLOSE_SIGNED_OUT = 4003;

/**
 * What the gateway tells the terminal's page, in the text messages of its one WebSocket; the binary messages are the terminal's output, and
 * its input the other way.
 */
export type TerminalControlMessage =
  /** The shell is there. */
  | {
      readonly type: 'ready';
      readonly sessionId: string;
      readonly idleTimeoutMs: number;
      readonly timeoutSource: string;
    }
  /** The limit has changed under the session. */
  | { readonly type: 'policy'; readonly idleTimeoutMs: number; readonly timeoutSource: string }
  | {
      readonly type: 'warning';
      readonly text: string;
      readonly remainingMs: number;
      readonly idleTimeoutMs: number;
      readonly timeoutSource: string;
    }
  | { readonly type: 'kept'; readonly text: string }
  /** Sent every 20 seconds: a page that hears nothing for longer does not know whether its session still stands. */
  | { readonly type: 'alive' }
  /** The picture goes blank now; nothing but the close follows. `denied`: it was never opened. */
  | { readonly type: 'end'; readonly cause: string; readonly text: string };

/** What the page says besides input. */
export interface TerminalResizeMessage {
  readonly type: 'resize';
  readonly columns: number;
  readonly rows: number;
}
