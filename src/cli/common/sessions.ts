import { formatDuration } from '../../resources/duration.ts';
import type { LiveSessionMessage } from '../../wire/api/messages.ts';
import { formatAge, formatTable } from './output.ts';

/** Live sessions as a table; `withUser` adds whose they are. */
export async function formatSessions(
  sessions: readonly LiveSessionMessage[],
  nowMs: number,
  withUser: boolean,
): Promise<string> {
  const header = [
    'ID',
    'Kind',
    ...(withUser ? ['User'] : []),
    'Target',
    'Since',
    'Idle For',
    'Ends In',
    'Limit',
    'Source',
  ];
  const rows = sessions.map((session) => [
    session.id,
    session.protocol,
    ...(withUser ? [session.user] : []),
    session.login === '' ? session.target.displayName : `${session.login}@${session.target.displayName}`,
    formatAge(nowMs - session.startedAtMs),
    formatAge(session.idleForMs),
    `${endsIn(session)}${session.warned ? ' (warned)' : ''}`,
    session.idleTimeoutMs === 0 ? 'never' : formatDuration(session.idleTimeoutMs),
    session.timeoutSource,
  ]);
  return formatTable(header, rows);
}

/** Rounded up: a session with half a second left does not end in 0s. */
function endsIn(session: LiveSessionMessage): string {
  return session.endsInMs === null ? 'never' : formatAge(Math.ceil(session.endsInMs / 1000) * 1000);
}
