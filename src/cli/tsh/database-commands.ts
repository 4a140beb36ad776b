import { dirname } from 'node:path';
import { NightlatchError } from '../../core/errors.ts';
import { ALPN_DATABASE, type TargetMessage } from '../../wire/api/messages.ts';
import type { ApiClient } from '../common/api-client.ts';
import { printable, quoted } from '../common/output.ts';
import {
  type DatabaseOptions,
  type DatabaseProtocol,
  findDatabase,
  nativePort,
  onlyUser,
  routedEndpoint,
  routeOf,
} from './database.ts';
import { clientCommand, portCommand, SOCKET_NAMES } from './database-clients.ts';
import {
  connectionEnvironment,
  keptDatabases,
  type NativeConnection,
  nativeConnection,
  rememberChoice,
  rememberedChoice,
  removeCertificate,
  removeSections,
  sectionName,
  writeSection,
} from './database-files.ts';
import { openLocalRelay, openLocalTunnel } from './local-tunnel.ts';
import { ProfileStore } from './profile.ts';
import { routedCertificate } from './routed-certificate.ts';
import { runInPlace } from './run.ts';
import { type GlobalOptions, openSignIn, type SignIn, withApi } from './sign-in.ts';
import { shellQuote } from './ssh-config.ts';

/**
 * The database with the user and the name to be: those that are asked for, else those of `tsh db login`, else the only user there is.
 */
async function resolve(api: ApiClient, name: string, options: DatabaseOptions, remembered: DatabaseOptions) {
  const database = await findDatabase(api, name);
  const dbUser = options.dbUser ?? remembered.dbUser ?? onlyUser(database);
  const dbName = options.dbName ?? remembered.dbName;
  const chosen: DatabaseOptions = {
    ...(dbUser === undefined ? {} : { dbUser }),
    ...(dbName === undefined ? {} : { dbName }),
  };
  return { database, chosen };
}

/** `tsh db login`: a certificate bound to the database, and sections for its clients. */
export async function dbLogin(globals: GlobalOptions, name: string, options: DatabaseOptions): Promise<void> {
  await withApi(globals, async (api, signIn) => {
    const { database, chosen } = await resolve(api, name, options, {});
    const { native, section } = await signInTo(api, signIn, database, chosen);
    rememberChoice(certificateFile(signIn, name), options);
    const file = native === undefined ? undefined : writeSection(section, native);
    const user = chosen.dbUser === undefined ? ' --db-user=USER' : '';
    process.stdout.write(
      `Connection information for database ${quoted(name)} has been saved.\n\n` +
        `You can now connect to it using the following command:\n\n  tsh db connect${user} ${shellQuote(name)}\n` +
        (file === undefined || database.protocol !== 'postgres'
          ? ''
          : `\nor with any client of libpq:\n\n  psql service=${section}\n`) +
        (file === undefined || database.protocol !== 'mysql'
          ? ''
          : `\nor with the client itself:\n\n  mariadb --defaults-group-suffix=_${section}\n`) +
        (native !== undefined
          ? ''
          : `\nor, for other programs, after\n\n  tsh proxy db --tunnel --port=PORT ${shellQuote(name)}\n`),
    );
  });
}

function certificateFile(signIn: SignIn, name: string): string {
  return new ProfileStore().paths(signIn.profile).database(name);
}

/** Gets the certificate, and says how the database is reached without tsh, where it can be. */
async function signInTo(
  api: ApiClient,
  signIn: SignIn,
  database: TargetMessage & { protocol: DatabaseProtocol },
  chosen: DatabaseOptions,
): Promise<{ native: NativeConnection | undefined; section: string }> {
  const { file } = await routedCertificate(api, signIn, routeOf(database.name, chosen));
  if (file === undefined) {
    throw new NightlatchError(
      'bad_parameter',
      'this needs a sign-in (tsh login): the files of -i live only as long as tsh',
    );
  }
  return {
    native: nativeConnection(signIn, database.protocol, file, chosen),
    section: sectionName(signIn.profile.cluster, database.name),
  };
}

/** `tsh db logout`: forgets the certificate of one database, or of all. */
export async function dbLogout(globals: GlobalOptions, name: string | undefined): Promise<void> {
  const signIn = await openSignIn(globals);
  const paths = new ProfileStore().paths(signIn.profile);
  const names = name === undefined ? keptDatabases(dirname(paths.database('x'))) : [name];
  if (name !== undefined && !keptDatabases(dirname(paths.database('x'))).includes(name)) {
    throw new NightlatchError('not_found', `Not logged into database ${quoted(name)}`);
  }
  for (const one of names) {
    removeSections(sectionName(signIn.profile.cluster, one));
    removeCertificate(paths.database(one));
  }
  if (names.length === 0) process.stdout.write('Not logged into any database\n');
  else if (name !== undefined) process.stdout.write(`Logged out of database ${quoted(name)}\n`);
  else process.stdout.write('Logged out of all databases\n');
}

/** `tsh db connect`: the protocol's own client, through a tunnel that nobody else on this computer can use. */
export async function dbConnect(
  globals: GlobalOptions,
  name: string,
  options: DatabaseOptions,
  more: readonly string[],
): Promise<void> {
  await withApi(globals, async (api, signIn) => {
    const { database, chosen } = await resolve(api, name, options, rememberedChoice(certificateFile(signIn, name)));
    if (chosen.dbUser === undefined && database.protocol !== 'redis') {
      const users = database.logins.length === 0 ? 'none' : database.logins.map(printable).join(', ');
      throw new NightlatchError(
        'bad_parameter',
        `please provide the database user name using the --db-user flag (allowed: ${users})`,
      );
    }
    const route = routeOf(name, chosen);
    // Whatever is wrong with the sign-in is said here, and not by each connection.
    await routedCertificate(api, signIn, route);
    const tunnel = await openLocalTunnel({
      endpoint: routedEndpoint(api, signIn, route),
      alpn: ALPN_DATABASE[database.protocol],
      listen: { socketName: SOCKET_NAMES[database.protocol] },
    });
    try {
      const { program, args, env, hint } = clientCommand(database.protocol, tunnel.path, chosen, more);
      await runInPlace(program, args, { hint, env, stay: true });
    } finally {
      await tunnel.close();
    }
  });
}

/** `tsh proxy db`: a port on this computer for programs that know nothing of tsh. Runs until it is ended. */
export async function proxyDb(
  globals: GlobalOptions,
  name: string,
  options: DatabaseOptions & { port: number; tunnel: boolean },
): Promise<void> {
  await withApi(globals, async (api, signIn) => {
    const { database, chosen } = await resolve(api, name, options, rememberedChoice(certificateFile(signIn, name)));
    const route = routeOf(name, chosen);
    const { file } = await routedCertificate(api, signIn, route);
    const native = nativePort(signIn.profile, database.protocol);
    if (!options.tunnel && native === undefined) {
      throw new NightlatchError(
        'bad_parameter',
        `the native listener for ${database.protocol} is off; pass --tunnel, and tsh brings the certificate itself`,
      );
    }
    const local = options.tunnel
      ? await openLocalTunnel({
          endpoint: routedEndpoint(api, signIn, route),
          alpn: ALPN_DATABASE[database.protocol],
          listen: { port: options.port },
        })
      : await openLocalRelay({ host: signIn.profile.host, port: native! }, options.port);
    const address = `127.0.0.1:${local.port}`;
    process.stdout.write(
      options.tunnel
        ? `Started authenticated tunnel for the ${database.protocol} database ${quoted(name)} on ${address}.\n` +
            'Connect without TLS and without a password. Everybody on this computer can use it while it runs.\n\n' +
            `  ${portCommand(database.protocol, local.port, chosen).map(shellQuote).join(' ')}\n`
        : `Started DB proxy on ${address}\n\nUse following credentials to connect to the ${quoted(name)} proxy:\n` +
            `  ca_file=${signIn.casFile}\n  cert_file=${file ?? ''}\n  key_file=${signIn.keyFile}\n` +
            `The certificate of the server is for ${signIn.profile.host}.\n`,
    );
    await new Promise<void>((done) => {
      for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => done());
    });
    await local.close();
  });
}

/** `tsh db env`: what to evaluate in a shell. */
export async function dbEnv(globals: GlobalOptions, name: string, options: DatabaseOptions): Promise<void> {
  await withNative(globals, name, options, async (native, section) => {
    if (native.protocol === 'redis') {
      throw new NightlatchError(
        'bad_parameter',
        'Redis clients take no connection from the environment: use tsh db connect, or tsh db config --format=cmd',
      );
    }
    for (const [key, value] of Object.entries(connectionEnvironment(section, native))) {
      process.stdout.write(`export ${key}=${shellQuote(value)}\n`);
    }
  });
}

/** `tsh db config`: what to type into a graphical client. */
export async function dbConfig(
  globals: GlobalOptions,
  name: string,
  options: DatabaseOptions & { format: 'text' | 'json' | 'cmd' },
): Promise<void> {
  await withNative(globals, name, options, async (native, section) => {
    if (options.format === 'json') {
      process.stdout.write(`${JSON.stringify({ name, ...native }, null, 2)}\n`);
    } else if (options.format === 'cmd') {
      process.stdout.write(`${nativeCommand(native, section)}\n`);
    } else {
      const lines = {
        Name: name,
        Host: native.host,
        Port: native.port,
        User: native.user,
        Database: native.database,
        CA: native.ca,
        Cert: native.cert,
        Key: native.key,
      };
      for (const [label, value] of Object.entries(lines)) {
        process.stdout.write(`${`${label}:`.padEnd(10)}${printable(String(value ?? ''))}`.trimEnd().concat('\n'));
      }
    }
  });
}

function nativeCommand(native: NativeConnection, section: string): string {
  if (native.protocol === 'postgres') {
    const env = Object.entries(connectionEnvironment(section, native)).map(
      ([key, value]) => `${key}=${shellQuote(value)}`,
    );
    return `${env.join(' ')} psql`;
  }
  const words =
    native.protocol === 'mysql'
      ? [
          'mariadb',
          `--host=${native.host}`,
          `--port=${native.port}`,
          '--protocol=TCP',
          `--ssl-ca=${native.ca}`,
          `--ssl-cert=${native.cert}`,
          `--ssl-key=${native.key}`,
          '--ssl-verify-server-cert',
          ...(native.user === undefined ? [] : [`--user=${native.user}`]),
          ...(native.database === undefined ? [] : [native.database]),
        ]
      : [
          'redis-cli',
          '-h',
          native.host,
          '-p',
          String(native.port),
          '--tls',
          '--cacert',
          native.ca,
          '--cert',
          native.cert,
          '--key',
          native.key,
        ];
  return words.map(shellQuote).join(' ');
}

async function withNative(
  globals: GlobalOptions,
  name: string,
  options: DatabaseOptions,
  work: (native: NativeConnection, section: string) => Promise<void>,
): Promise<void> {
  await withApi(globals, async (api, signIn) => {
    const { database, chosen } = await resolve(api, name, options, rememberedChoice(certificateFile(signIn, name)));
    const { native, section } = await signInTo(api, signIn, database, chosen);
    if (native === undefined) {
      throw new NightlatchError(
        'bad_parameter',
        `the native listener for ${database.protocol} is off here; use tsh db connect, or tsh proxy db --tunnel`,
      );
    }
    await work(native, section);
  });
}
