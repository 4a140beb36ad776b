import type { EndCause } from '../audit/events.ts';
import type { EffectiveIdlePolicy } from '../policy/idle-policy.ts';
import { formatDuration } from '../resources/duration.ts';

/** What a session knows about its own end, for the text that the user reads. */
export interface EndDetails {
  readonly cause: EndCause;
  readonly policy: EffectiveIdlePolicy;
  /** Lock message, why access is denied, what went wrong. */
  readonly detail?: string;
  /** Who killed it. */
  readonly by?: string;
}

function sentence(text: string): string {
  const trimmed = text.trim();
  return /[.!?]$/.test(trimmed) ? trimmed : `${trimmed}.`;
}

/** ` (role admin-role)`, or '' without a source. */
function from(source: string): string {
  return source === '' ? '' : ` (${source})`;
}

/** The whole text for the user: reason, limit, where the limit comes from, and the administrator's message. */
export function endText({ cause, policy, detail, by }: EndDetails): string {
  const why = detail === undefined || detail === '' ? '' : `: ${detail}`;
  switch (cause) {
    case 'idle': {
      // A limit of the gateway's own (a transaction left open) says itself what it is.
      if (why !== '') return sentence(`Session ended${why}`);
      const text = `Session ended: no activity for ${formatDuration(policy.timeoutMs)}${from(policy.timeoutSource)}.`;
      return policy.message === '' ? text : `${text} ${policy.message}`;
    }
    case 'cert_expired':
      return 'Session ended: your certificate has expired. Sign in again with tsh login.';
    case 'max_session_ttl':
      return `Session ended: it has reached the longest time allowed, ${formatDuration(policy.maxSessionTtlMs)} (max_session_ttl).`;
    case 'locked':
      return sentence(`Session ended: locked${why}`);
    case 'access_revoked':
      return sentence(`Session ended: access was revoked${why}`);
    case 'killed':
      return sentence(`Session ended by ${by ?? 'an administrator'}${why}`);
    case 'gateway_shutdown':
      return 'Session ended: the gateway is shutting down.';
    case 'target_closed':
      return sentence(`Session ended: the target closed the connection${why}`);
    case 'client_closed':
      return sentence(`Session ended: the client closed the connection${why}`);
    case 'error':
      return sentence(`Session ended: error${why}`);
  }
}

/** Whole seconds, as a countdown would show them: `60s`, `1m30s`. */
function countdown(ms: number): string {
  return formatDuration(Math.max(1, Math.round(ms / 1000)) * 1000).replace(/(?<=m)0s$/, '');
}

/** The warning, as a line in a terminal or an overlay. */
export function warningText(remainingMs: number, policy: EffectiveIdlePolicy): string {
  return `No activity: this session ends in ${countdown(remainingMs)}${from(policy.timeoutSource)}. Press any key to keep it.`;
}

/** Said when a key press cancels the warning. */
export const KEPT_TEXT = 'The session goes on.';

/** Said when a change of policy cancels the warning. */
export function relaxedText(policy: EffectiveIdlePolicy): string {
  const limit =
    policy.timeoutMs === 0
      ? 'it no longer ends for inactivity'
      : `the limit is now ${formatDuration(policy.timeoutMs)}${from(policy.timeoutSource)}`;
  return `The session goes on: ${limit}.`;
}

/** The line shown when a session starts, or '' when nothing times out. */
export function connectText(policy: EffectiveIdlePolicy): string {
  if (policy.timeoutMs === 0) return '';
  return `This session ends after ${formatDuration(policy.timeoutMs)} without activity${from(policy.timeoutSource)}.`;
}
