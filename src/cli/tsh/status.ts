import { errorMessage, NightlatchError } from '../../core/errors.ts';
import { formatDuration } from '../../resources/duration.ts';
import type { StatusResponse } from '../../wire/api/messages.ts';
import { formatAddress } from '../common/address.ts';
import { ApiClient } from '../common/api-client.ts';
import { formatTime, printable } from '../common/output.ts';
import { type Profile, ProfileStore } from './profile.ts';
import { type GlobalOptions, notLoggedIn, openSignIn } from './sign-in.ts';

/** How long `tsh status` waits for the server before it shows what was so at sign-in. */
const LIVE_TIMEOUT_MS = 1_500;

/** One profile with what the server says of it now, where it was asked and answered. */
interface Standing {
  readonly profile: Profile;
  readonly active: boolean;
  readonly live?: StatusResponse;
  /** Why the server said nothing of it. */
  readonly unanswered?: string;
}

/** `tsh status`: the current sign-in and the others. */
export async function status(options: GlobalOptions & { format?: 'text' | 'json' }): Promise<void> {
  const store = new ProfileStore();
  const standings = options.identity === undefined ? await fromProfiles(options, store) : [await fromIdentity(options)];
  if (standings.length === 0) throw notLoggedIn(options);
  if (options.format === 'json') {
    process.stdout.write(`${JSON.stringify(toJson(standings), null, 2)}\n`);
    return;
  }
  process.stdout.write(`${standings.map(formatStanding).join('\n')}\n`);
  for (const { unanswered } of standings) {
    if (unanswered === undefined) continue;
    process.stderr.write(`WARNING: roles, logins and idle timeout are as of sign-in: ${printable(unanswered)}\n`);
  }
  const expired = standings.find(({ active, profile }) => active && profile.expiresAtMs <= Date.now());
  if (expired !== undefined) throw new NightlatchError('unauthenticated', 'Active profile expired.');
}

async function fromProfiles(options: GlobalOptions, store: ProfileStore): Promise<Standing[]> {
  const current = options.proxy === undefined ? store.currentName() : options.proxy.replace(/:\d+$/, '');
  const profiles = store.list().sort((a, b) => Number(b.host === current) - Number(a.host === current));
  return Promise.all(
    profiles.map(async (profile) => {
      const active = profile.host === current;
      const answer =
        active && profile.expiresAtMs > Date.now()
          ? await askServer({ ...options, proxy: formatAddress(profile.host, profile.port) })
          : {};
      return { profile, active, ...answer };
    }),
  );
}

async function fromIdentity(options: GlobalOptions): Promise<Standing> {
  const signIn = await openSignIn(options);
  try {
    const answer = await askServer(options);
    return { profile: { ...signIn.profile, roles: answer.live?.roles ?? [] }, active: true, ...answer };
  } finally {
    signIn.dispose();
  }
}

/** The caller's standing now, or why it is not known: the server does not answer in time, or refuses. */
async function askServer(options: GlobalOptions): Promise<Pick<Standing, 'live' | 'unanswered'>> {
  try {
    const signIn = await openSignIn(options);
    const api = new ApiClient(signIn.endpoint, { timeoutMs: LIVE_TIMEOUT_MS });
    try {
      return { live: await api.get<StatusResponse>('/v1/status') };
    } finally {
      api.close();
      signIn.dispose();
    }
  } catch (error) {
    return { unanswered: errorMessage(error) };
  }
}

/** Teleport's layout, with the idle timeout and where it comes from. */
export function formatStanding({ profile, active, live }: Standing): string {
  const leftMs = profile.expiresAtMs - Date.now();
  const valid = leftMs > 0 ? `valid for ${formatDuration(Math.round(leftMs / 60_000) * 60_000)}` : 'EXPIRED';
  const lines: [name: string, value: string][] = [
    ['Profile URL', `https://${formatAddress(profile.host, profile.port)}`],
    ['Logged in as', profile.user],
    ['Cluster', profile.cluster],
    ['Roles', (live?.roles ?? profile.roles).join(', ')],
    ['Logins', (live?.logins ?? profile.logins).join(', ')],
    ['Idle timeout', idleText(profile, live)],
    ['Valid until', `${formatTime(profile.expiresAtMs)} [${valid}]`],
    ['Extensions', profile.extensions.join(', ')],
  ];
  return lines
    .filter(([, value]) => value !== '')
    .map(
      ([name, value], index) => `${index === 0 && active ? '> ' : '  '}${`${name}:`.padEnd(20)}${printable(value)}\n`,
    )
    .join('');
}

function idleText(profile: Profile, live: StatusResponse | undefined): string {
  if (live !== undefined) return formatIdle(live.idle.timeoutMs, live.idle.timeoutSource);
  return `${formatIdle(profile.idleTimeoutMs, profile.idleTimeoutSource)}, as of sign-in`;
}

/** `10m0s (role admin-role)`, or `never`. */
export function formatIdle(timeoutMs: number, source: string): string {
  if (timeoutMs === 0) return 'never';
  return source === '' ? formatDuration(timeoutMs) : `${formatDuration(timeoutMs)} (${source})`;
}

function toJson(standings: readonly Standing[]): unknown {
  const json = ({ profile, live }: Standing) => ({
    profile_url: `https://${formatAddress(profile.host, profile.port)}`,
    username: profile.user,
    cluster: profile.cluster,
    roles: live?.roles ?? profile.roles,
    traits: live?.traits ?? {},
    logins: live?.logins ?? profile.logins,
    idle_timeout_ms: live?.idle.timeoutMs ?? profile.idleTimeoutMs,
    idle_timeout_source: live?.idle.timeoutSource ?? profile.idleTimeoutSource,
    valid_until: new Date(profile.expiresAtMs).toISOString(),
    extensions: profile.extensions,
  });
  const active = standings.find((standing) => standing.active);
  return {
    active: active === undefined ? null : json(active),
    profiles: standings.filter((standing) => !standing.active).map(json),
  };
}
