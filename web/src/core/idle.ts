import { effect, signal } from '@preact/signals';
import { formatDuration } from '../../../src/resources/duration.ts';
import type { WebIdleResponse } from '../../../src/wire/api/web-messages.ts';
import { api } from './api.ts';
import { session, signOut } from './session.ts';
import { onTabMessage, tellTabs } from './tabs.ts';

/** What a person does to a page. */
const INPUT_EVENTS = ['keydown', 'pointerdown', 'pointermove', 'wheel', 'touchstart'] as const;
const LONGEST_WARNING_MS = 60_000;
/** Other tabs and the gateway hear of activity this often at most, in milliseconds. */
const TELL_EVERY_MS = 1_000;
const LONGEST_REPORT_MS = 20_000;

/** Milliseconds until this browser is signed out, while the countdown is shown; undefined otherwise. */
export const signOutInMs = signal<number | undefined>(undefined);

let timeoutMs = 0;
let lastActivity = performance.now();
let lastTold = 0;
let lastReport = 0;
let pointer = { x: Number.NaN, y: Number.NaN };

/** Milliseconds between reports: often enough for a short limit. */
function reportEveryMs(): number {
  return Math.min(LONGEST_REPORT_MS, Math.max(TELL_EVERY_MS, timeoutMs / 10));
}

/** A browser also says that the pointer moves when the page moves below it, and scripts can make events: neither is a person. */
function isPerson(event: Event): boolean {
  if (!event.isTrusted) return false;
  if (event.type !== 'pointermove') return true;
  const { screenX, screenY } = event as PointerEvent;
  const moved = screenX !== pointer.x || screenY !== pointer.y;
  pointer = { x: screenX, y: screenY };
  return moved;
}

function active(event: Event): void {
  if (!session.value || !isPerson(event)) return;
  const now = performance.now();
  lastActivity = now;
  if (now - lastTold >= TELL_EVERY_MS || signOutInMs.value !== undefined) {
    lastTold = now;
    tellTabs({ type: 'active' });
  }
  if (now - lastReport >= reportEveryMs() || signOutInMs.value !== undefined) report();
  signOutInMs.value = undefined;
}

function report(): void {
  lastReport = performance.now();
  api<WebIdleResponse>('POST', '/web/activity', { active: true }).then(apply, () => undefined);
}

function apply(idle: WebIdleResponse): void {
  timeoutMs = idle.timeoutMs;
}

function tick(): void {
  if (!session.value || timeoutMs === 0) {
    signOutInMs.value = undefined;
    return;
  }
  const now = performance.now();
  const leftMs = lastActivity + timeoutMs - now;
  if (leftMs <= 0) {
    signOutInMs.value = undefined;
    void signOut(`You were signed out: no activity for ${formatDuration(timeoutMs)} (web_idle_timeout).`);
    return;
  }
  signOutInMs.value = leftMs <= Math.min(LONGEST_WARNING_MS, timeoutMs / 4) ? leftMs : undefined;
  // What was done since the last report, and nobody has done anything since.
  if (lastActivity > lastReport && now - lastReport >= reportEveryMs()) report();
}

/** Watches over the user's activity for as long as the page is open. */
export function watchIdleness(): void {
  for (const name of INPUT_EVENTS) window.addEventListener(name, active, { capture: true, passive: true });
  onTabMessage((message) => {
    if (message.type !== 'active') return;
    lastActivity = performance.now();
    signOutInMs.value = undefined;
  });
  effect(() => {
    const current = session.value;
    if (!current) return;
    timeoutMs = current.idle.timeoutMs;
    lastActivity = performance.now() - current.idle.idleForMs;
  });
  setInterval(tick, 500);
}

/** The limit may have changed: asks for it, without reporting activity. */
export function refreshLimit(): void {
  if (!session.value) return;
  api<WebIdleResponse>('POST', '/web/activity', { active: false }).then(apply, () => undefined);
}
