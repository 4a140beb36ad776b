import { Hono } from 'hono';
import { z } from 'zod';
import { NightlatchError } from '../../core/errors.ts';
import type { LiveSession } from '../../session/types.ts';
import type { ServerContext } from '../context.ts';
import { type ApiEnv, type Caller, callerName } from './caller.ts';
import { demand, may, ownUser } from './permissions.ts';
import { fields, readJson, readQuery } from './request-body.ts';

const killRequest = z.strictObject({ message: fields.text.default('') });
const listQuery = z.object({ scope: z.enum(['own', 'all']).default('all') });

/** Sessions that a caller may see: all with the rule for it, else the caller's own. */
export function visibleSessions(ctx: ServerContext, caller: Caller): LiveSession[] {
  const sessions = ctx.sessions.list();
  if (may(ctx, caller, 'session', 'list')) return sessions;
  return sessions.filter((session) => caller.kind === 'user' && session.user === caller.user);
}

/** `/v1/sessions`: live sessions, and their end by hand. */
export function sessionRoutes(ctx: ServerContext): Hono<ApiEnv> {
  const routes = new Hono<ApiEnv>();

  routes.get('/', (c) => {
    const { caller } = c.var;
    const { scope } = readQuery(c, listQuery);
    if (scope === 'own') {
      const user = ownUser(caller);
      return c.json({ sessions: ctx.sessions.list().filter((session) => session.user === user) });
    }
    demand(ctx, caller, 'session', 'list');
    return c.json({ sessions: ctx.sessions.list() });
  });

  routes.post('/:id/kill', async (c) => {
    const { caller } = c.var;
    const { message } = await readJson(c, killRequest);
    const session = findSession(visibleSessions(ctx, caller), c.req.param('id'));
    // One's own session one may end; anybody else's needs the rule.
    if (caller.kind !== 'user' || session.user !== caller.user) demand(ctx, caller, 'session', 'delete');
    const by = caller.kind === 'local' ? 'an administrator' : callerName(caller);
    if (!(await ctx.sessions.kill(session.id, { by, message }))) throw notFound(session.id);
    return c.json({ id: session.id });
  });

  return routes;
}

/** The session of an id, or of the beginning of one where that is enough to tell it apart. */
function findSession(sessions: readonly LiveSession[], id: string): LiveSession {
  const exact = sessions.find((session) => session.id === id);
  if (exact !== undefined) return exact;
  const matches = id.length < 4 ? [] : sessions.filter((session) => session.id.startsWith(id));
  if (matches.length > 1) throw new NightlatchError('bad_parameter', `several sessions begin with ${id}`);
  if (matches[0] === undefined) throw notFound(id);
  return matches[0];
}

function notFound(id: string): NightlatchError {
  return new NightlatchError('not_found', `there is no live session ${id}`);
}
