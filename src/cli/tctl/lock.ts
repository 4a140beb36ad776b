import { NightlatchError } from '../../core/errors.ts';
import type { LockRequest } from '../../wire/api/messages.ts';
import type { ApiClient } from '../common/api-client.ts';
import { parseDurationOption } from '../common/lifetime.ts';
import { printable, quoted } from '../common/output.ts';

export interface LockOptions {
  readonly user?: string;
  readonly role?: string;
  readonly login?: string;
  readonly serverId?: string;
  readonly session?: string;
  readonly windowsDesktop?: string;
  readonly message?: string;
  readonly expires?: string;
  readonly ttl?: string;
}

/** `tctl lock`. */
export async function lock(api: ApiClient, options: LockOptions): Promise<void> {
  if (options.expires !== undefined && options.ttl !== undefined) {
    throw new NightlatchError('bad_parameter', 'use only one of --expires and --ttl');
  }
  if (options.expires !== undefined && Date.parse(options.expires) <= Date.now()) {
    throw new NightlatchError('bad_parameter', `--expires: ${printable(options.expires)} is in the past`);
  }
  const targets = {
    user: options.user,
    role: options.role,
    login: options.login,
    server_id: options.serverId,
    session: options.session,
    windows_desktop: options.windowsDesktop,
  };
  const target = Object.fromEntries(
    Object.entries(targets).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
  if (Object.keys(target).length === 0) {
    throw new NightlatchError(
      'bad_parameter',
      'at least one target must be set: --user, --role, --login, --server-id, --session or --windows-desktop',
    );
  }
  const request: LockRequest = {
    target,
    ...(options.message === undefined ? {} : { message: options.message }),
    ...(options.expires === undefined ? {} : { expires: options.expires }),
    ...(options.ttl === undefined ? {} : { ttlMs: parseDurationOption('--ttl', options.ttl) }),
  };
  const { name } = await api.post<{ name: string }>('/v1/locks', request);
  process.stdout.write(`Created a lock with name ${quoted(name)}.\n`);
}
