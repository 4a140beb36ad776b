import type { DesktopOpenMessage } from './control-messages.ts';

/** WebSocket close code of a session that has ended; the reason is as much of the text as fits. */
export const CLOSE_SESSION_ENDED = 4001;
/** A close reason holds 123 bytes (RFC 6455, 5.5). */
const MAX_REASON_BYTES = 123;

/** As much of a text as fits into a close reason, cut between characters. */
export function closeReason(text: string): string {
  if (Buffer.byteLength(text) <= MAX_REASON_BYTES) return text;
  let out = '';
  let bytes = 3;
  for (const character of text) {
    bytes += Buffer.byteLength(character);
    if (bytes > MAX_REASON_BYTES) break;
    out += character;
  }
  return `${out}…`;
}

/** The page's first message, or undefined where it is none. */
export function parseOpenMessage(text: string): DesktopOpenMessage | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null || !('type' in value) || value.type !== 'open') return undefined;
  if (!('password' in value) || value.password === undefined) return { type: 'open' };
  return typeof value.password === 'string' ? { type: 'open', password: value.password } : undefined;
}
