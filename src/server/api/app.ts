import { Hono } from 'hono';
import { NightlatchError } from '../../core/errors.ts';
import type { ServerContext } from '../context.ts';
import { Terminals } from '../web/terminals.ts';
import { auditRoutes } from './audit-routes.ts';
import { authorityRoutes } from './authority-routes.ts';
import { type ApiEnv, authenticate } from './caller.ts';
import { desktopPasswordRoutes } from './desktop-password-routes.ts';
import { eventRoutes } from './event-stream.ts';
import { errorResponse } from './http-errors.ts';
import { idleRoutes } from './idle-routes.ts';
import { publicRoutes } from './public-routes.ts';
import { resourceRoutes } from './resource-routes.ts';
import { ResourceService } from './resource-service.ts';
import { selfRoutes } from './self-routes.ts';
import { sessionRoutes } from './session-routes.ts';
import { targetRoutes } from './targets.ts';
import { ticketLoginRoutes, ticketRoutes } from './ticket-routes.ts';
import { lockRoutes, userRoutes } from './user-routes.ts';
import { webFileRoutes } from './web-file-routes.ts';
import { webLoginRoutes, webSessionRoutes } from './web-session-routes.ts';

/**
 * The HTTP API, JSON under /v1. Listeners call `fetch(request, {caller})`: who the connection belongs to comes from them, never from
 * a header. Without a rule that allows it, nothing is allowed.
 * @param terminals those that are open in browsers.
 */
export function createApi(ctx: ServerContext, terminals = new Terminals()): Hono<ApiEnv> {
  const app = new Hono<ApiEnv>();
  app.onError((error, c) => errorResponse(error, ctx.log, c.req.path));
  app.notFound((c) => errorResponse(new NightlatchError('not_found', 'there is no such API'), ctx.log, c.req.path));
  app.use('/v1/*', async (c, next) => {
    await next();
    c.header('cache-control', 'no-store');
    c.header('x-content-type-options', 'nosniff');
  });
  app.route('/v1', publicRoutes(ctx));
  app.route('/v1/web', webLoginRoutes(ctx));
  app.route('/v1/web/login/ticket', ticketLoginRoutes(ctx));

  const resources = new ResourceService(ctx);
  const signedIn = new Hono<ApiEnv>();
  signedIn.use(async (c, next) => {
    c.set('caller', await authenticate(ctx, c));
    await next();
  });
  signedIn.route('/', selfRoutes(ctx));
  signedIn.route('/', targetRoutes(ctx));
  signedIn.route('/resources', resourceRoutes(resources));
  signedIn.route('/desktop-passwords', desktopPasswordRoutes(ctx));
  signedIn.route('/users', userRoutes(ctx, resources));
  signedIn.route('/locks', lockRoutes(ctx, resources));
  signedIn.route('/sessions', sessionRoutes(ctx));
  signedIn.route('/idle', idleRoutes(ctx));
  signedIn.route('/audit', auditRoutes(ctx));
  signedIn.route('/auth', authorityRoutes(ctx));
  signedIn.route('/events', eventRoutes(ctx));
  signedIn.route('/tickets', ticketRoutes(ctx));
  signedIn.route('/web', webSessionRoutes(ctx));
  signedIn.route('/web/terminals', webFileRoutes(ctx, terminals));
  app.route('/v1', signedIn);
  return app;
}
