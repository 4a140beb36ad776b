import { NightlatchError } from '../../core/errors.ts';
import { formatDuration } from '../../resources/duration.ts';
import type { AddUserRequest, InviteResponse, ResourceMessage } from '../../wire/api/messages.ts';
import type { ApiClient } from '../common/api-client.ts';
import { parseDurationOption } from '../common/lifetime.ts';
import { formatTable, printable } from '../common/output.ts';
import { commaList } from '../common/program.ts';
import { fetchResources } from './resources.ts';

export type TextOrJson = 'text' | 'json';

export interface UserTraits {
  readonly logins?: string;
  readonly dbUsers?: string;
  readonly dbNames?: string;
  readonly kubernetesUsers?: string;
  readonly kubernetesGroups?: string;
  readonly windowsLogins?: string;
}

const TRAITS = {
  logins: 'logins',
  dbUsers: 'db_users',
  dbNames: 'db_names',
  kubernetesUsers: 'kubernetes_users',
  kubernetesGroups: 'kubernetes_groups',
  windowsLogins: 'windows_logins',
} as const satisfies Record<keyof UserTraits, string>;

function traitsOf(options: UserTraits): Record<string, string[]> {
  return Object.fromEntries(
    Object.entries(TRAITS)
      .map(([option, trait]) => [trait, options[option as keyof UserTraits]] as const)
      .filter((entry): entry is readonly [(typeof entry)[0], string] => entry[1] !== undefined)
      .map(([trait, value]) => [trait, commaList(value)]),
  );
}

/** `tctl users add`. */
export async function addUser(
  api: ApiClient,
  name: string,
  options: UserTraits & { roles: string; ttl?: string; format: TextOrJson },
): Promise<void> {
  const request: AddUserRequest = {
    name,
    roles: commaList(options.roles),
    traits: traitsOf(options),
    ...(options.ttl === undefined ? {} : { ttlMs: parseDurationOption('--ttl', options.ttl) }),
  };
  const invite = await api.post<InviteResponse>('/v1/users', request);
  printInvite(
    invite,
    options.format,
    'has been created but requires a password. Share this URL with the user to complete user setup',
  );
}

/** `tctl users reset`. */
export async function resetUser(
  api: ApiClient,
  name: string,
  options: { ttl?: string; format: TextOrJson },
): Promise<void> {
  const body = options.ttl === undefined ? {} : { ttlMs: parseDurationOption('--ttl', options.ttl) };
  const invite = await api.post<InviteResponse>(`/v1/users/${encodeURIComponent(name)}/reset`, body);
  printInvite(invite, options.format, 'has been reset. Share this URL with the user to complete password reset');
}

function printInvite(invite: InviteResponse, format: TextOrJson, text: string): void {
  if (format === 'json') {
    process.stdout.write(`${JSON.stringify(invite, null, 4)}\n`);
    return;
  }
  const valid = formatDuration(Math.round(invite.ttlMs / 1000) * 1000)
    .replace(/(?<=[hm])0s$/, '')
    .replace(/(?<=h)0m$/, '');
  process.stdout.write(
    `User "${printable(invite.user)}" ${text}, link is valid for ${valid}:\n${printable(invite.url)}\n\n` +
      `NOTE: Make sure ${new URL(invite.url).host} points at a Nightlatch proxy which users can access.\n`,
  );
}

/** `tctl users ls`. */
export async function listUsers(api: ApiClient, format: TextOrJson): Promise<void> {
  const users = await fetchResources(api, { kind: 'user' });
  if (format === 'json') {
    process.stdout.write(`${JSON.stringify(users, null, 4)}\n`);
    return;
  }
  if (users.length === 0) {
    process.stdout.write('No users found\n');
    return;
  }
  const rows = users.map((user) => [user.metadata.name, (user.spec['roles'] as string[]).join(',')]);
  process.stdout.write(await formatTable(['User', 'Roles'], rows));
}

/** `tctl users rm`, with a comma-separated list. */
export async function removeUsers(api: ApiClient, names: string): Promise<void> {
  for (const name of commaList(names)) {
    await api.delete(`/v1/resources/user/${encodeURIComponent(name)}`);
    process.stdout.write(`User "${printable(name)}" has been deleted\n`);
  }
}

/** `tctl users update`: roles and traits that are named; the others stay. */
export async function updateUser(
  api: ApiClient,
  name: string,
  options: UserTraits & { setRoles?: string },
): Promise<void> {
  const traits = traitsOf(options);
  if (options.setRoles === undefined && Object.keys(traits).length === 0) {
    throw new NightlatchError('bad_parameter', 'Nothing to update. Please provide at least one --set flag.');
  }
  const [user] = await fetchResources(api, { kind: 'user', name });
  const spec = user!.spec as { roles: string[]; traits?: Record<string, string[]> };
  const roles = options.setRoles === undefined ? spec.roles : commaList(options.setRoles);
  const resource: ResourceMessage = { ...user!, spec: { ...spec, roles, traits: { ...spec.traits, ...traits } } };
  await api.post('/v1/resources', { resource, mode: 'update' });
  const lines = [`User ${printable(name)} has been updated:`];
  if (options.setRoles !== undefined) lines.push(`\tNew roles: ${roles.map(printable).join(', ')}`);
  for (const [trait, values] of Object.entries(traits)) {
    lines.push(`\tNew user traits: ${trait}: ${values.map(printable).join(', ')}`);
  }
  process.stdout.write(`${lines.join('\n')}\n`);
}

/** Options of `users update` (`--set-logins`) as those of `users add` (`--logins`). */
export function withoutSetPrefix(options: Readonly<Record<string, string>>): UserTraits & { setRoles?: string } {
  const entries = Object.entries(options).map(([name, value]) => {
    const bare = name.replace(/^set(?=[A-Z])/, '');
    return [name === 'setRoles' ? name : bare.charAt(0).toLowerCase() + bare.slice(1), value];
  });
  return Object.fromEntries(entries) as UserTraits & { setRoles?: string };
}
