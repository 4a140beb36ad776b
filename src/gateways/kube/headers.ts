import { NightlatchError } from '../../core/errors.ts';

/** Header name and value pairs in the order and spelling in which they came, as Node's `rawHeaders`. */
export type RawHeaders = readonly string[];

/** Whom the gateway says that it acts for. */
export interface Impersonation {
  readonly user: string;
  readonly groups: readonly string[];
}

/** Of one connection only (RFC 9110 section 7.6.1), or set anew for the next. */
const HOP_BY_HOP = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authorization',
  'proxy-authenticate',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
  'host',
  // Answered by the gateway's own HTTP server.
  'expect',
]);

/**
 * Headers by which a client could claim to be somebody or to come from somewhere: credentials, impersonation, and what a front proxy would
 * set (`X-Remote-*` is believed by API servers behind one).
 */
function claimsIdentity(name: string): boolean {
  return (
    name === 'authorization' ||
    name === 'cookie' ||
    name === 'forwarded' ||
    name === 'x-real-ip' ||
    name.startsWith('impersonate-') ||
    name.startsWith('x-remote-') ||
    name.startsWith('x-forwarded-')
  );
}

/** Headers for the API server: the client's without those of the connection and of identity, then whom the gateway acts for and its own credentials. */
export function upstreamHeaders(
  raw: RawHeaders,
  impersonation: Impersonation,
  authorization: string | undefined,
  replaced: Readonly<Record<string, string>> = {},
): string[] {
  const listed = new Set(
    headerValues(raw, 'connection').flatMap((value) => value.split(',').map((token) => token.trim().toLowerCase())),
  );
  const headers: string[] = [];
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = raw[i]!.toLowerCase();
    if (name.startsWith(':') || HOP_BY_HOP.has(name) || listed.has(name) || claimsIdentity(name)) continue;
    if (Object.hasOwn(replaced, name)) continue;
    headers.push(raw[i]!, raw[i + 1]!);
  }
  for (const [name, value] of Object.entries(replaced)) if (value !== '') headers.push(name, value);
  headers.push('Impersonate-User', headerBytes(impersonation.user));
  for (const group of impersonation.groups) headers.push('Impersonate-Group', headerBytes(group));
  if (authorization !== undefined) headers.push('Authorization', authorization);
  return headers;
}

/**
 * A text as a header carries it: its bytes in UTF-8, a character each, which is how Node writes header values. Without this a name's
 * characters would be cut to their low bytes: `ł` would become `B`, and others a line break.
 * @throws {NightlatchError} `bad_parameter` for control characters, which no name has.
 */
function headerBytes(text: string): string {
  if (/[\u0000-\u001f\u007f]/.test(text))
    throw new NightlatchError('bad_parameter', 'a Kubernetes name has control characters');
  return Buffer.from(text, 'utf8').toString('latin1');
}

/** The text of a header value as Node reads it, a character a byte. */
export function headerText(value: string): string {
  return Buffer.from(value, 'latin1').toString('utf8');
}

/** Headers for the client, without those of the upstream connection. */
export function downstreamHeaders(raw: RawHeaders): [name: string, values: string[]][] {
  const headers = new Map<string, string[]>();
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = raw[i]!.toLowerCase();
    if (HOP_BY_HOP.has(name)) continue;
    const values = headers.get(name);
    if (values === undefined) headers.set(name, [raw[i + 1]!]);
    else values.push(raw[i + 1]!);
  }
  return [...headers];
}

/** All values of a header, whatever its case. */
export function headerValues(raw: RawHeaders, name: string): string[] {
  const values: string[] = [];
  for (let i = 0; i + 1 < raw.length; i += 2) if (raw[i]!.toLowerCase() === name) values.push(raw[i + 1]!);
  return values;
}
