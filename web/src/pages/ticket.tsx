import { useEffect } from 'preact/hooks';
import { api } from '../core/api.ts';
import { navigate } from '../core/router.tsx';
import { session, signedIn } from '../core/session.ts';
import { useAction } from '../ui/load.ts';
import { Problem } from '../ui/parts.tsx';

/**
 * Where `tsh desktop open` leads: `/web/ticket#ticket=…&to=/desktop/NAME/LOGIN`. Who has signed in with this browser already stays who
 * they are: nobody is made somebody else by a link.
 */
export function TicketPage() {
  const action = useAction();
  useEffect(() => {
    document.title = 'Signing in · Nightlatch';
    const parameters = new URLSearchParams(location.hash.slice(1));
    const to = parameters.get('to') ?? '';
    // The ticket is not to stay in the history.
    history.replaceState(null, '', location.pathname);
    void action.run(async () => {
      if (session.value === null) {
        await api('POST', '/web/login/ticket', { ticket: parameters.get('ticket') ?? '' });
        await signedIn();
      }
      navigate(/^\/[a-z]/.test(to) ? to : '/resources', { replace: true });
    });
  }, []);
  return (
    <main class="door" aria-busy={action.error === undefined}>
      <Problem error={action.error} />
    </main>
  );
}
