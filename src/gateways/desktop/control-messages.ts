import type { EndCause } from '../../audit/events.ts';

/**
 * What gateway and page say to each other beside the desktop protocol: JSON in the *text* messages of the one WebSocket,
 * whose *binary* messages are the desktop protocol. One connection keeps both in order, so that the end is read before the
 * protocol's own last words, and needs one ticket. The page's WebSocket takes text messages away before the RDP or VNC
 * component, which owns the connection, sees them (web/src/desktop/control-socket.ts).
 */
export type DesktopControlMessage =
  /** The desktop is there: what the page shows of the policy. */
  | {
      readonly type: 'ready';
      readonly sessionId: string;
      readonly idleTimeoutMs: number;
      readonly timeoutSource: string;
      readonly clipboard: boolean;
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
  /** Sent every 20 seconds: a page that hears nothing for longer has lost the gateway, and blanks the picture by itself. */
  | { readonly type: 'alive' }
  /** The picture goes blank now; nothing but the close follows. */
  | {
      readonly type: 'end';
      readonly cause: EndCause | 'denied';
      readonly text: string;
      readonly problem?: DesktopProblem;
    };

/** What a page can help with when a desktop cannot be opened. */
export type DesktopProblem =
  | 'denied'
  | 'password_required'
  | 'password_wrong'
  | 'unreachable'
  | 'untrusted'
  | 'unsupported'
  | 'failed';

/** The page's first message, before any byte of the desktop protocol. */
export interface DesktopOpenMessage {
  readonly type: 'open';
  /** Typed by the user; not needed where the gateway keeps the password. */
  readonly password?: string;
}
