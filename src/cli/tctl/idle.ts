import { NightlatchError } from '../../core/errors.ts';
import { formatDuration } from '../../resources/duration.ts';
import type {
  ExplainRequest,
  ExplainResponse,
  IdlePolicyMessage,
  RehearsedSessionMessage,
} from '../../wire/api/messages.ts';
import type { ApiClient } from '../common/api-client.ts';
import { formatAge, formatPairs, formatTable, printable } from '../common/output.ts';
import { commaList } from '../common/program.ts';
import { readResourceFile } from './resources.ts';
import type { TextOrJson } from './users.ts';

/** `tctl idle explain`: what applies to a user, and every place that had a say. */
export async function explain(
  api: ApiClient,
  options: { user?: string; role?: readonly string[]; resource?: string; format: TextOrJson },
): Promise<void> {
  if (options.user === undefined && api.endpoint.kind === 'socket') {
    throw new NightlatchError(
      'bad_parameter',
      'on the administration socket nobody is signed in: say whom with --user',
    );
  }
  const request: ExplainRequest = {
    ...(options.user === undefined ? {} : { user: options.user }),
    ...(options.role === undefined ? {} : { roles: options.role.flatMap(commaList) }),
    ...(options.resource === undefined ? {} : { resource: options.resource }),
  };
  const answer = await api.post<ExplainResponse>('/v1/idle/explain', request);
  process.stdout.write(
    options.format === 'json' ? `${JSON.stringify(answer, null, 2)}\n` : await formatExplanation(answer),
  );
}

export async function formatExplanation(answer: ExplainResponse): Promise<string> {
  const { idle, access } = answer;
  const pairs: [string, string][] = [
    ['User:', answer.user],
    ['Roles:', answer.roles.join(', ')],
    ['Idle timeout:', withSource(idle)],
    ['Warning:', idle.warningMs === 0 ? 'none' : `${formatDuration(idle.warningMs)} before the end`],
    ['Activity:', idle.activity],
    ['Certificate expiry:', idle.disconnectExpiredCert ? 'ends the session' : 'leaves the session open'],
    ['Longest session:', idle.maxSessionTtlMs === 0 ? 'no limit' : formatDuration(idle.maxSessionTtlMs)],
  ];
  if (idle.message !== '') pairs.push(['Message:', idle.message]);
  if (answer.resource !== undefined && access !== undefined) {
    const reason = access.reason === undefined ? '' : `: ${access.reason}`;
    pairs.splice(2, 0, ['Resource:', `${answer.resource} (access ${access.allowed ? 'allowed' : `denied${reason}`})`]);
  }
  const sources = idle.sources.map((source) => [
    source.wins ? '*' : '',
    source.name,
    source.timeoutMs === 0 ? 'never' : formatDuration(source.timeoutMs),
  ]);
  const table =
    sources.length === 0
      ? 'No place sets an idle timeout.\n'
      : await formatTable(['', 'Source', 'Idle Timeout'], sources);
  return `${formatPairs(pairs)}\n${table}`;
}

function withSource(idle: IdlePolicyMessage): string {
  if (idle.timeoutMs === 0) return 'never';
  return `${formatDuration(idle.timeoutMs)} (${idle.timeoutSource})`;
}

const EFFECTS = {
  ends: 'ends after its warning',
  revoked: 'loses access, ends at once',
  deadline: 'gets a new deadline',
  unchanged: 'unchanged',
} as const satisfies Record<RehearsedSessionMessage['effect'], string>;

/** `tctl idle rehearse`: what applying a file would do to the sessions that are open. */
export async function rehearse(api: ApiClient, options: { file: string; format: TextOrJson }): Promise<void> {
  const resources = await readResourceFile(options.file);
  const { sessions } = await api.post<{ sessions: RehearsedSessionMessage[] }>('/v1/idle/rehearse', { resources });
  if (options.format === 'json') {
    process.stdout.write(`${JSON.stringify(sessions, null, 2)}\n`);
    return;
  }
  process.stdout.write(await formatRehearsal(sessions));
}

export async function formatRehearsal(sessions: readonly RehearsedSessionMessage[]): Promise<string> {
  const count = (effect: RehearsedSessionMessage['effect']) => sessions.filter((one) => one.effect === effect).length;
  const summary =
    `Nothing has been changed. Of ${sessions.length} live ${sessions.length === 1 ? 'session' : 'sessions'}: ` +
    `${count('ends')} would end after the warning, ${count('revoked')} would lose access, ` +
    `${count('deadline')} would get a new deadline, ${count('unchanged')} would not change.\n`;
  const changed = sessions.filter((one) => one.effect !== 'unchanged');
  if (changed.length === 0) return summary;
  const rows = changed.map(({ session, effect, newTimeoutMs, newTimeoutSource, newEndsInMs }) => [
    session.id,
    session.user,
    session.target.displayName,
    formatAge(session.idleForMs),
    EFFECTS[effect],
    newTimeoutMs === 0
      ? 'never'
      : `${formatDuration(newTimeoutMs)}${newTimeoutSource === '' ? '' : ` (${printable(newTimeoutSource)})`}`,
    effect === 'revoked' ? 'now' : newEndsInMs === null ? 'never' : formatAge(newEndsInMs),
  ]);
  const table = await formatTable(['ID', 'User', 'Target', 'Idle For', 'Effect', 'New Limit', 'Ends In'], rows);
  return `${summary}\n${table}`;
}

/** `tctl idle report`: the evidence an auditor asks for. The server writes it, so that all formats agree. */
export async function report(
  api: ApiClient,
  options: { from?: string; to?: string; format: 'text' | 'json' | 'csv' },
): Promise<void> {
  const query = new URLSearchParams({
    format: options.format,
    ...(options.from === undefined ? {} : { from: options.from }),
    ...(options.to === undefined ? {} : { to: options.to }),
  });
  process.stdout.write(await api.getText(`/v1/idle/report?${query}`));
}
