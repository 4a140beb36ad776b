import type { Clock } from '../../core/clock.ts';
import { NightlatchError } from '../../core/errors.ts';

/** A signal that is aborted with `timeout` after a time, or with its parent; `clear` when the wait is over. */
export interface Deadline {
  readonly signal: AbortSignal;
  clear(): void;
}

/** Bounds one step of a login: `what` says in the error what took too long. */
export function deadline(clock: Clock, timeoutMs: number, what: string, parent: AbortSignal): Deadline {
  const controller = new AbortController();
  const timer = clock.at(clock.now() + timeoutMs, () =>
    controller.abort(new NightlatchError('timeout', `${what} within ${Math.round(timeoutMs / 1000)} s`)),
  );
  const onParent = (): void => controller.abort(parent.reason);
  if (parent.aborted) onParent();
  else parent.addEventListener('abort', onParent, { once: true });
  return {
    signal: controller.signal,
    clear: () => {
      timer.cancel();
      parent.removeEventListener('abort', onParent);
    },
  };
}
