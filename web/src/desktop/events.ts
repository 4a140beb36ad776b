import type { EndCause } from '../../../src/audit/events.ts';
import type { DesktopControlMessage, DesktopProblem } from '../../../src/gateways/desktop/control-messages.ts';

export type DesktopReady = Extract<DesktopControlMessage, { type: 'ready' }>;
export type DesktopWarning = Extract<DesktopControlMessage, { type: 'warning' }>;

export interface DesktopEnd {
  /** `denied`: it was never opened; `lost`: the connection broke and nobody could say why. */
  readonly cause: EndCause | 'denied' | 'lost';
  /** For the user: reason, limit and where the limit comes from. */
  readonly text: string;
  /** What can be done about a desktop that did not open. */
  readonly problem?: DesktopProblem;
}

export interface DesktopEvents {
  ready?(info: DesktopReady): void;
  /** The limit has changed. */
  policy?(idleTimeoutMs: number, timeoutSource: string): void;
  /** Show a countdown; any input keeps the session. */
  warning?(warning: DesktopWarning): void;
  /** The warning is over: take the countdown away, and say `text`. */
  kept?(text: string): void;
  /** Called once, when the picture is blank already. */
  end(end: DesktopEnd): void;
}
