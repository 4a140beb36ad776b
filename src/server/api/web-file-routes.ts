import { Readable } from 'node:stream';
import { Hono } from 'hono';
import { z } from 'zod';
import type { ServerContext } from '../context.ts';
import { SftpClient } from '../web/sftp-client.ts';
import type { Terminals } from '../web/terminals.ts';
import type { ApiContext, ApiEnv } from './caller.ts';
import { ownUser } from './permissions.ts';
import { readQuery } from './request-body.ts';

const fileQuery = z.object({ path: z.string().min(1).max(4096) });

/** `/v1/web/terminals/ID/file?path=`: a file of the node behind an open terminal, by sftp within that terminal's session. */
export function webFileRoutes(ctx: ServerContext, terminals: Terminals): Hono<ApiEnv> {
  const routes = new Hono<ApiEnv>();

  const begin = async (c: ApiContext): Promise<{ sftp: SftpClient; path: string }> => {
    const { path } = readQuery(c, fileQuery);
    const client = terminals.clientOf(c.req.param('id') ?? '', ownUser(c.var.caller));
    return { sftp: await SftpClient.start(await client.openSession(), ctx.clock), path: path.replace(/^~\//, '') };
  };

  routes.get('/:id/file', async (c) => {
    const { sftp, path } = await begin(c);
    try {
      const { size, content } = await sftp.read(path);
      const stream = Readable.from(closing(content, sftp), { objectMode: false });
      return c.body(Readable.toWeb(stream) as ReadableStream<Uint8Array>, 200, {
        'content-type': 'application/octet-stream',
        'content-disposition': `attachment; filename*=UTF-8''${encodeName(path)}`,
        // Files of /proc and the like say that they are empty.
        ...(size > 0 ? { 'content-length': String(size) } : {}),
      });
    } catch (error) {
      sftp.close();
      throw error;
    }
  });

  routes.put('/:id/file', async (c) => {
    const { sftp, path } = await begin(c);
    try {
      return c.json({ bytes: await sftp.write(path, c.req.raw.body ?? noBytes()) });
    } finally {
      sftp.close();
    }
  });

  return routes;
}

async function* closing(content: AsyncGenerator<Buffer>, sftp: SftpClient): AsyncGenerator<Buffer> {
  try {
    yield* content;
  } finally {
    sftp.close();
  }
}

async function* noBytes(): AsyncGenerator<Uint8Array> {}

/** The last part of a path, as RFC 8187 section 3.2.1 writes it. */
function encodeName(path: string): string {
  const name = path.replace(/^.*\//s, '') || 'file';
  return encodeURIComponent(name.toWellFormed()).replace(
    /['()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}
