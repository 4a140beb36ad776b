import { Hono } from 'hono';
import { z } from 'zod';
import { EVENTS } from '../../audit/catalog.ts';
import { Secret } from '../../core/secret.ts';
import type { KeptLoginsResponse } from '../../wire/api/messages.ts';
import type { ServerContext } from '../context.ts';
import { audited } from './audited.ts';
import type { ApiEnv } from './caller.ts';
import { demand } from './permissions.ts';
import { fields, readJson } from './request-body.ts';

const keepRequest = z.strictObject({ desktop: fields.name, login: fields.name, password: z.string().min(1).max(1024) });

/**
 * `/v1/desktop-passwords`: passwords that the gateway puts in on the way. They go in and never come out; who may change a desktop may
 * say what it is signed in to with.
 */
export function desktopPasswordRoutes(ctx: ServerContext): Hono<ApiEnv> {
  const routes = new Hono<ApiEnv>();
  const { desktopPasswords } = ctx;

  routes.get('/', async (c) => {
    demand(ctx, c.var.caller, 'windows_desktop', 'read');
    const answer: KeptLoginsResponse = { items: await desktopPasswords.list() };
    return c.json(answer);
  });

  routes.post('/', async (c) => {
    const { caller } = c.var;
    demand(ctx, caller, 'windows_desktop', 'update');
    const { desktop, login, password } = await readJson(c, keepRequest);
    const about = { name: desktop, windows_user: login };
    await audited(ctx, caller, EVENTS.desktopPasswordUpdate, about, () =>
      desktopPasswords.keep(desktop, login, new Secret(password)),
    );
    return c.json({});
  });

  routes.delete('/:desktop/:login', async (c) => {
    const { caller } = c.var;
    demand(ctx, caller, 'windows_desktop', 'update');
    const { desktop, login } = c.req.param();
    const about = { name: desktop, windows_user: login };
    await audited(ctx, caller, EVENTS.desktopPasswordDelete, about, () => desktopPasswords.forget(desktop, login));
    return c.json({});
  });

  return routes;
}
