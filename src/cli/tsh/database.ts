import { NightlatchError } from '../../core/errors.ts';
import { ALPN_DATABASE, type RouteMessage, type TargetMessage } from '../../wire/api/messages.ts';
import type { ApiClient, Endpoint } from '../common/api-client.ts';
import { quoted } from '../common/output.ts';
import { fetchTargets } from '../common/targets.ts';
import type { Profile } from './profile.ts';
import { routedCertificate } from './routed-certificate.ts';
import type { SignIn } from './sign-in.ts';

/** Options of commands about one database. */
export interface DatabaseOptions {
  readonly dbUser?: string;
  readonly dbName?: string;
}

export type DatabaseProtocol = keyof typeof ALPN_DATABASE;

/** A database the caller may reach. @throws {NightlatchError} `not_found` */
export async function findDatabase(
  api: ApiClient,
  name: string,
): Promise<TargetMessage & { protocol: DatabaseProtocol }> {
  const found = (await fetchTargets(api, 'databases')).find((database) => database.name === name);
  if (found === undefined) {
    throw new NightlatchError(
      'not_found',
      `database ${quoted(name)} not found, use 'tsh db ls' to see registered databases`,
    );
  }
  if (found.protocol === undefined || !Object.hasOwn(ALPN_DATABASE, found.protocol)) {
    throw new NightlatchError(
      'bad_parameter',
      `database ${quoted(name)} speaks a protocol that this tsh does not know`,
    );
  }
  return found as TargetMessage & { protocol: DatabaseProtocol };
}

export function routeOf(name: string, { dbUser, dbName }: DatabaseOptions): RouteMessage {
  return {
    kind: 'db',
    name,
    ...(dbUser === undefined ? {} : { dbUser }),
    ...(dbName === undefined ? {} : { dbName }),
  };
}

/** The only user that the caller's roles allow, where there is one: nobody need name it. */
export function onlyUser(database: TargetMessage): string | undefined {
  const [first, ...others] = database.logins;
  return others.length === 0 && first !== '*' ? first : undefined;
}

/** Where the tunnel to a database goes: the public port with the certificate bound to it. */
export function routedEndpoint(api: ApiClient, signIn: SignIn, route: RouteMessage) {
  return async (): Promise<Endpoint & { kind: 'tls' }> => {
    const { certificate } = await routedCertificate(api, signIn, route);
    return { ...signIn.endpoint, cert: certificate };
  };
}

/** Port of the native listener for a protocol, where it is on. */
export function nativePort(profile: Profile, protocol: DatabaseProtocol): number | undefined {
  const ports = { postgres: profile.postgresPort, mysql: profile.mysqlPort, redis: profile.redisPort };
  return ports[protocol];
}
