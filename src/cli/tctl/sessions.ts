import type { LiveSessionMessage } from '../../wire/api/messages.ts';
import type { ApiClient } from '../common/api-client.ts';
import { printable } from '../common/output.ts';
import { formatSessions } from '../common/sessions.ts';
import type { TextOrJson } from './users.ts';

/** `tctl sessions ls`. */
export async function listSessions(api: ApiClient, format: TextOrJson): Promise<void> {
  const { sessions } = await api.get<{ sessions: LiveSessionMessage[] }>('/v1/sessions');
  if (format === 'json') process.stdout.write(`${JSON.stringify(sessions, null, 2)}\n`);
  else if (sessions.length === 0) process.stdout.write('There are no live sessions.\n');
  else process.stdout.write(await formatSessions(sessions, Date.now(), true));
}

/** `tctl sessions kill`. An id may be shortened as long as it means one session. */
export async function killSession(api: ApiClient, id: string, message: string): Promise<void> {
  const { id: full } = await api.post<{ id: string }>(`/v1/sessions/${encodeURIComponent(id)}/kill`, { message });
  process.stdout.write(`session ${printable(full)} has been ended\n`);
}
