import { signal } from '@preact/signals';
import type { WebSessionResponse } from '../../../src/wire/api/web-messages.ts';
import { api, whenUnauthenticated } from './api.ts';
import { onTabMessage, tellTabs } from './tabs.ts';

/** Who has signed in with this browser: undefined until that is known, null for nobody. */
export const session = signal<WebSessionResponse | null | undefined>(undefined);
/** Why the sign-in page is shown, or ''. */
export const signedOutReason = signal('');

/** Asks who has signed in. */
export async function loadSession(): Promise<void> {
  try {
    session.value = await api<WebSessionResponse>('GET', '/web/session');
    signedOutReason.value = '';
  } catch (error) {
    // Without an answer nothing is known: who was signed in stays so.
    if (session.value === undefined || (error as { code?: string }).code !== 'network') session.value = null;
  }
}

/** After a sign-in or an accepted invitation. */
export async function signedIn(): Promise<void> {
  await loadSession();
  tellTabs({ type: 'signed-in' });
}

/** Signs this browser out, in every tab. */
export async function signOut(reason = ''): Promise<void> {
  await api('POST', '/web/logout').catch(() => undefined);
  over(reason);
  tellTabs({ type: 'signed-out', reason });
}

/** Ends every web session of the user, wherever it is. */
export async function signOutEverywhere(): Promise<void> {
  await api('POST', '/web/logout-everywhere');
  const reason = 'You were signed out everywhere.';
  over(reason);
  tellTabs({ type: 'signed-out', reason });
}

function over(reason: string): void {
  signedOutReason.value = reason;
  session.value = null;
}

whenUnauthenticated(() => {
  if (session.value) over('Your session has ended. Sign in again.');
});
onTabMessage((message) => {
  if (message.type === 'signed-out') over(message.reason);
  if (message.type === 'signed-in') void loadSession();
});
