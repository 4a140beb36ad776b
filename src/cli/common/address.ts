import { NightlatchError } from '../../core/errors.ts';

/** Port of the public listener where none is named. */
export const DEFAULT_PUBLIC_PORT = 3080;

/**
 * `HOST`, `HOST:PORT`, `[v6]:PORT` or an `https://` URL of the web application.
 * @throws {NightlatchError} `bad_parameter`
 */
export function parseAddress(text: string, defaultPort = DEFAULT_PUBLIC_PORT): { host: string; port: number } {
  const bare = text.replace(/^https:\/\/([^/]*).*$/s, '$1');
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?))(?::(\d{1,5}))?$/.exec(bare);
  const port = match?.[3] === undefined ? defaultPort : Number(match[3]);
  if (match === null || port < 1 || port > 65535) {
    throw new NightlatchError('bad_parameter', `${JSON.stringify(text)} is no address; expected HOST:PORT`);
  }
  return { host: match[1] ?? match[2]!, port };
}

/** `host:port`, with brackets where the host is an IPv6 address. */
export function formatAddress(host: string, port: number): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}
