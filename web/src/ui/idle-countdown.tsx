import { signOutInMs } from '../core/idle.ts';

/** Says that this browser is about to be signed out; whatever the user does takes it away. */
export function IdleCountdown() {
  const left = signOutInMs.value;
  if (left === undefined) return null;
  return (
    <div class="bar" role="alert">
      <span>No activity in any tab. You will be signed out in</span>
      <output>{Math.max(1, Math.ceil(left / 1000))} s</output>
      <span>Move the pointer or press any key to stay.</span>
    </div>
  );
}
