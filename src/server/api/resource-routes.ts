import { Hono } from 'hono';
import { z } from 'zod';
import { NightlatchError } from '../../core/errors.ts';
import { KINDS, type Kind, kindFromAlias } from '../../resources/index.ts';
import type { ApiEnv } from './caller.ts';
import { readJson } from './request-body.ts';
import type { ResourceService } from './resource-service.ts';

const writeRequest = z.strictObject({
  resource: z.unknown(),
  mode: z.enum(['create', 'upsert', 'update']),
  confirm: z.boolean().default(false),
});

/** The kind a path names, by any of its names. @throws {NightlatchError} `bad_parameter` */
export function kindOf(alias: string): Kind {
  const kind = kindFromAlias(alias);
  if (kind === undefined) {
    throw new NightlatchError(
      'bad_parameter',
      `unknown kind ${JSON.stringify(alias)}: the kinds are ${KINDS.join(', ')}`,
    );
  }
  return kind;
}

/** `/v1/resources`: everything `tctl get`, `create`, `edit` and `rm` do. */
export function resourceRoutes(resources: ResourceService): Hono<ApiEnv> {
  const routes = new Hono<ApiEnv>();
  routes.get('/:kind', async (c) =>
    c.json({ resources: await resources.get(c.var.caller, kindOf(c.req.param('kind'))) }),
  );
  routes.get('/:kind/:name', async (c) =>
    c.json({ resources: await resources.get(c.var.caller, kindOf(c.req.param('kind')), c.req.param('name')) }),
  );
  routes.post('/', async (c) => {
    const { resource, mode, confirm } = await readJson(c, writeRequest);
    return c.json(await resources.write(c.var.caller, resource, { mode, confirm }));
  });
  routes.delete('/:kind', async (c) =>
    c.json(await resources.delete(c.var.caller, kindOf(c.req.param('kind')), undefined)),
  );
  routes.delete('/:kind/:name', async (c) =>
    c.json(await resources.delete(c.var.caller, kindOf(c.req.param('kind')), c.req.param('name'))),
  );
  return routes;
}
