import { NightlatchError } from '../../core/errors.ts';
import { checkRule } from '../../policy/access.ts';
import type { ServerContext } from '../context.ts';
import type { Caller } from './caller.ts';

/** Verbs of `rules` in roles. */
export type Verb = 'list' | 'read' | 'create' | 'update' | 'delete';

/** Whether a caller may do something to resources of a kind: the local socket may do everything, a user what the roles' rules allow. */
export function may(ctx: ServerContext, caller: Caller, kind: string, verb: Verb): boolean {
  return caller.kind === 'local' || checkRule(ctx.policy.current, caller.user, kind, verb).allowed;
}

/** @throws {NightlatchError} `access_denied` where `may` is false. */
export function demand(ctx: ServerContext, caller: Caller, kind: string, verb: Verb): void {
  if (caller.kind === 'local') return;
  const access = checkRule(ctx.policy.current, caller.user, kind, verb);
  if (access.allowed) return;
  ctx.log.info('API access denied', { user: caller.user, kind, verb, reason: access.reason });
  throw new NightlatchError('access_denied', `access denied to perform action "${verb}" on "${kind}"`);
}

/** The user behind a call that is about the caller's own things. @throws {NightlatchError} `bad_parameter` on the local socket. */
export function ownUser(caller: Caller): string {
  if (caller.kind === 'user') return caller.user;
  throw new NightlatchError('bad_parameter', 'no user is signed in here: this is the administration socket');
}
