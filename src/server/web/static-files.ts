import { createReadStream, existsSync, readdirSync, statSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { extname, join, relative, sep } from 'node:path';
import { pipeline } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { Logger } from '../../core/logger.ts';
import { securityHeaders } from './security-headers.ts';

/** Where the build leaves the application; the same from the sources and from the compiled package. */
const WEB_DIST = fileURLToPath(new URL('../../../web/dist', import.meta.url));
const BASE = '/web/';
const CONTENT_TYPES: Readonly<Record<string, string>> = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.ico': 'image/x-icon',
  '.js': 'text/javascript; charset=utf-8',
  '.json': 'application/json',
  '.png': 'image/png',
  '.svg': 'image/svg+xml',
  '.wasm': 'application/wasm',
  '.woff2': 'font/woff2',
};
/** In the order in which they are preferred. */
const ENCODINGS = [
  ['br', '.br'],
  ['gzip', '.gz'],
] as const;

interface Variant {
  readonly path: string;
  readonly size: number;
}

interface WebFile extends Variant {
  readonly type: string;
  /** Compressed at the build, by content coding. */
  readonly encoded: ReadonlyMap<string, Variant>;
}

/** The web application's files. */
export interface WebApp {
  /** Answers a request that is the application's; false for every other one. */
  serve(request: IncomingMessage, response: ServerResponse): boolean;
}

/** Finds the built files. Without them the pages say how to build them. */
export function loadWebApp(log: Logger, dir = WEB_DIST): WebApp {
  const files = existsSync(dir) ? filesOf(dir) : new Map<string, WebFile>();
  if (!files.has('index.html')) log.warn('the web application is not built: npm run build:web', { dir });
  return {
    serve(request, response) {
      const path = (request.url ?? '/').replace(/[?#].*$/s, '');
      if (path.startsWith('/v1/')) return false;
      answer(files, path, request, response);
      return true;
    },
  };
}

function filesOf(dir: string): Map<string, WebFile> {
  const all = new Map<string, Variant>();
  for (const entry of readdirSync(dir, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    all.set(relative(dir, path).split(sep).join('/'), { path, size: statSync(path).size });
  }
  const files = new Map<string, WebFile>();
  for (const [name, variant] of all) {
    if (ENCODINGS.some(([, suffix]) => name.endsWith(suffix))) continue;
    const type = CONTENT_TYPES[extname(name)] ?? 'application/octet-stream';
    const encoded = new Map(
      ENCODINGS.flatMap(([coding, suffix]) => {
        const compressed = all.get(name + suffix);
        return compressed === undefined ? [] : [[coding, compressed] as const];
      }),
    );
    files.set(name, { ...variant, type, encoded });
  }
  return files;
}

function answer(
  files: ReadonlyMap<string, WebFile>,
  path: string,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  for (const [name, value] of Object.entries(securityHeaders(path))) response.setHeader(name, value);
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    plain(response, 405, 'only GET is answered here');
    return;
  }
  if (path === '/' || path === '/web') {
    response.writeHead(302, { location: BASE, 'cache-control': 'no-cache' }).end();
    return;
  }
  if (!path.startsWith(BASE)) {
    plain(response, 404, 'there is nothing here');
    return;
  }
  const name = path.slice(BASE.length);
  const asset = files.get(name);
  if (name.startsWith('assets/') && asset === undefined) {
    plain(response, 404, 'there is no such file');
    return;
  }
  // Every other path is a page of the application, which reads it by itself.
  const file = asset ?? files.get('index.html');
  if (file === undefined) {
    plain(response, 503, 'The web application is not built. Run: npm run build:web');
    return;
  }
  send(file, name.startsWith('assets/'), request, response);
}

function send(file: WebFile, immutable: boolean, request: IncomingMessage, response: ServerResponse): void {
  const accepted = acceptedCodings(request.headers['accept-encoding']);
  const coding = ENCODINGS.map(([name]) => name).find((name) => accepted.has(name) && file.encoded.has(name));
  const variant = coding === undefined ? file : file.encoded.get(coding)!;
  response.writeHead(200, {
    'content-type': file.type,
    'content-length': variant.size,
    'cache-control': immutable ? 'public, max-age=31536000, immutable' : 'no-cache',
    vary: 'accept-encoding',
    ...(coding === undefined ? {} : { 'content-encoding': coding }),
  });
  if (request.method === 'HEAD') {
    response.end();
    return;
  }
  // A browser that goes away in the middle is no error.
  pipeline(createReadStream(variant.path), response, () => undefined);
}

/** Content codings that a request takes (RFC 9110 section 12.5.3); a weight of zero says no. */
function acceptedCodings(header: string | string[] | undefined): Set<string> {
  return new Set(
    String(header ?? '')
      .split(',')
      .filter((part) => !/;\s*q=0(\.0*)?\s*$/.test(part))
      .map((part) => part.replace(/;.*$/s, '').trim().toLowerCase()),
  );
}

function plain(response: ServerResponse, status: number, text: string): void {
  response
    .writeHead(status, { 'content-type': 'text/plain; charset=utf-8', 'cache-control': 'no-store' })
    .end(`${text}\n`);
}
