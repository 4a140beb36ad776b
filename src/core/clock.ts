/** A pending call that can be taken back; cancelling twice, or after it ran, does nothing. */
export interface Timer {
  cancel(): void;
}

/**
 * Time as the program sees it. Passed in everywhere, so that tests decide what time it is; the one
 * that reads the machine's clock is `systemClock` in server/.
 */
export interface Clock {
  /** Monotonic milliseconds (fractional, arbitrary origin). Never goes back; a changed date does not move it. */
  now(): number;
  /** Milliseconds since the Unix epoch: for certificates, audit stamps and display, never for deadlines. */
  wallMs(): number;
  /** Calls `fn` once, at or soon after the monotonic time `atMs`, never before it. */
  at(atMs: number, fn: () => void): Timer;
}
