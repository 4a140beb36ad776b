import type { CertRoute } from './types.ts';
import { normalizeUserName } from './user-name.ts';

/** What a user's X.509 certificate says of them, in one URI of its subject alternative name. */
export interface TlsIdentity {
  readonly cluster: string;
  readonly user: string;
  readonly route?: CertRoute;
}

const MAX_URI_LENGTH = 4096;
const MAX_VALUE_LENGTH = 256;
const ROUTE_KEYS = ['db', 'db_name', 'db_user', 'kube_cluster'] as const;
type RouteKey = (typeof ROUTE_KEYS)[number];

/**
 * Writes `nightlatch://CLUSTER/user/NAME?db=…&db_name=…&db_user=…` or `…?kube_cluster=…`; each part percent-encoded, so that there is one
 * way to write each identity, and US-ASCII only (IA5String, RFC 5280 section 4.2.1.6).
 */
export function encodeTlsIdentity(identity: TlsIdentity): string {
  const { route } = identity;
  const values: Partial<Record<RouteKey, string>> = {};
  if (route?.kind === 'db') {
    values.db = route.name;
    if (route.dbName !== undefined) values.db_name = route.dbName;
    if (route.dbUser !== undefined) values.db_user = route.dbUser;
  } else if (route?.kind === 'kube_cluster') {
    values.kube_cluster = route.name;
  }
  const query = ROUTE_KEYS.flatMap((key) => (values[key] === undefined ? [] : [`${key}=${encodePart(values[key])}`]));
  const path = `nightlatch://${encodePart(identity.cluster)}/user/${encodePart(identity.user)}`;
  return query.length === 0 ? path : `${path}?${query.join('&')}`;
}

/** Reads what `encodeTlsIdentity` writes, and nothing else: undefined for every other text. */
export function decodeTlsIdentity(uri: string): TlsIdentity | undefined {
  if (uri.length > MAX_URI_LENGTH) return undefined;
  const match = /^nightlatch:\/\/([^/?#]+)\/user\/([^/?#]+)(?:\?([^?#]+))?$/.exec(uri);
  if (match === null) return undefined;
  try {
    const cluster = decodeURIComponent(match[1]!);
    const user = decodeURIComponent(match[2]!);
    const values: Partial<Record<RouteKey, string>> = {};
    for (const pair of match[3]?.split('&') ?? []) {
      const [key, value, ...more] = pair.split('=');
      if (value === undefined || more.length > 0 || !isRouteKey(key)) return undefined;
      values[key] = decodeURIComponent(value);
      if (values[key] === '' || values[key].length > MAX_VALUE_LENGTH) return undefined;
    }
    const route = routeOf(values);
    const identity: TlsIdentity = { cluster, user, ...(route && { route }) };
    if (normalizeUserName(user) !== user) return undefined;
    // One identity, one text: this refuses doubled keys, another order, needless escapes and mixed routes.
    return encodeTlsIdentity(identity) === uri ? identity : undefined;
  } catch {
    return undefined; // A broken escape.
  }
}

function isRouteKey(key: string | undefined): key is RouteKey {
  return (ROUTE_KEYS as readonly (string | undefined)[]).includes(key);
}

function routeOf(values: Partial<Record<RouteKey, string>>): CertRoute | undefined {
  if (values.db !== undefined) {
    return {
      kind: 'db',
      name: values.db,
      ...(values.db_user !== undefined && { dbUser: values.db_user }),
      ...(values.db_name !== undefined && { dbName: values.db_name }),
    };
  }
  return values.kube_cluster === undefined ? undefined : { kind: 'kube_cluster', name: values.kube_cluster };
}

/** As `encodeURIComponent`, which also leaves `!'()*` alone; a lone surrogate cannot be written and is refused. */
function encodePart(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
}
