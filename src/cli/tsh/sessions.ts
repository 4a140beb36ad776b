import type { LiveSessionMessage } from '../../wire/api/messages.ts';
import { formatSessions } from '../common/sessions.ts';
import { type GlobalOptions, withApi } from './sign-in.ts';

/** `tsh sessions ls`: one's own. */
export async function listSessions(globals: GlobalOptions, format: 'text' | 'json'): Promise<void> {
  await withApi(globals, async (api) => {
    const { sessions } = await api.get<{ sessions: LiveSessionMessage[] }>('/v1/sessions?scope=own');
    if (format === 'json') process.stdout.write(`${JSON.stringify(sessions, null, 2)}\n`);
    else if (sessions.length === 0) process.stdout.write('You have no live sessions.\n');
    else process.stdout.write(await formatSessions(sessions, Date.now(), false));
  });
}
