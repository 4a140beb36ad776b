import { existsSync, readdirSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { readIfThere, writeFileAtomic } from '../common/files.ts';
import { type DatabaseOptions, type DatabaseProtocol, nativePort } from './database.ts';
import type { SignIn } from './sign-in.ts';

/** How a database is reached without tsh: through its native listener, with the certificate bound to it. */
export interface NativeConnection {
  readonly protocol: DatabaseProtocol;
  readonly host: string;
  readonly port: number;
  readonly user?: string;
  readonly database?: string;
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/** The native connection of a database; undefined where the listener for its protocol is off. */
export function nativeConnection(
  signIn: SignIn,
  protocol: DatabaseProtocol,
  certificateFile: string,
  { dbUser, dbName }: DatabaseOptions,
): NativeConnection | undefined {
  const port = nativePort(signIn.profile, protocol);
  if (port === undefined) return undefined;
  return {
    protocol,
    host: signIn.profile.host,
    port,
    ...(dbUser === undefined ? {} : { user: dbUser }),
    ...(dbName === undefined ? {} : { database: dbName }),
    ca: signIn.profile.trust === 'system' ? systemAuthoritiesFile() : signIn.casFile,
    cert: certificateFile,
    key: signIn.keyFile,
  };
}

/** Where systems keep the CAs that they trust: database clients want a file. */
const SYSTEM_CA_FILES = ['/etc/ssl/certs/ca-certificates.crt', '/etc/pki/tls/certs/ca-bundle.crt', '/etc/ssl/cert.pem'];

function systemAuthoritiesFile(): string {
  const named = process.env.SSL_CERT_FILE;
  return named || (SYSTEM_CA_FILES.find((file) => existsSync(file)) ?? SYSTEM_CA_FILES[0]!);
}

/** Name of a database's section in files of clients. */
export function sectionName(cluster: string, database: string): string {
  return `${cluster}-${database}`.replace(/[^A-Za-z0-9._-]/g, '_');
}

/** The file in which a protocol's clients look for sections; undefined where they have none. */
function optionFile(protocol: DatabaseProtocol): string | undefined {
  const home = process.env.HOME || homedir();
  if (protocol === 'postgres') return process.env.PGSERVICEFILE || join(home, '.pg_service.conf');
  return protocol === 'mysql' ? join(home, '.my.cnf') : undefined;
}

/** The environment that points a client at its section. */
export function connectionEnvironment(section: string, connection: NativeConnection): Record<string, string> {
  if (connection.protocol === 'mysql') return { MYSQL_GROUP_SUFFIX: `_${section}` };
  if (connection.protocol !== 'postgres') return {};
  return {
    PGHOST: connection.host,
    PGPORT: String(connection.port),
    PGSSLMODE: 'verify-full',
    PGSSLROOTCERT: connection.ca,
    PGSSLCERT: connection.cert,
    PGSSLKEY: connection.key,
    ...(connection.user === undefined ? {} : { PGUSER: connection.user }),
    ...(connection.database === undefined ? {} : { PGDATABASE: connection.database }),
  };
}

/** Writes or replaces a database's section; other sections and comments stay. Returns the file. */
export function writeSection(section: string, connection: NativeConnection): string | undefined {
  const file = optionFile(connection.protocol);
  if (file === undefined) return undefined;
  let text = readIfThere(file) ?? '';
  for (const [name, values] of sectionsOf(section, connection)) {
    const lines = Object.entries(values).map(([key, value]) => (value === '' ? `${key}\n` : `${key}=${value}\n`));
    const others = withoutSection(text, name);
    text = `${others}${others === '' || others.endsWith('\n\n') ? '' : '\n'}[${name}]\n${lines.join('')}`;
  }
  writeFileAtomic(file, text);
  return file;
}

/** Removes a database's sections from all files of clients. */
export function removeSections(section: string): void {
  for (const [protocol, name] of [
    ['postgres', section],
    ['mysql', `client_${section}`],
    ['mysql', `client-mariadb_${section}`],
  ] as const) {
    const file = optionFile(protocol)!;
    const text = readIfThere(file);
    if (text === undefined) continue;
    const without = withoutSection(text, name);
    if (without !== text) writeFileAtomic(file, without);
  }
}

/** The sections of a database; an option without a value has an empty one. */
function sectionsOf(section: string, connection: NativeConnection): [string, Record<string, string>][] {
  const { host, port, user, database, ca, cert, key } = connection;
  if (connection.protocol === 'postgres') {
    return [
      [
        section,
        {
          host,
          port: String(port),
          sslmode: 'verify-full',
          sslrootcert: ca,
          sslcert: cert,
          sslkey: key,
          ...(user === undefined ? {} : { user }),
          ...(database === undefined ? {} : { dbname: database }),
        },
      ],
    ];
  }
  return [
    [
      `client_${section}`,
      {
        protocol: 'TCP',
        host,
        port: String(port),
        'ssl-ca': ca,
        'ssl-cert': cert,
        'ssl-key': key,
        ...(user === undefined ? {} : { user }),
        ...(database === undefined ? {} : { database }),
      },
    ],
    // Oracle's clients know no such option, and read no such section.
    [`client-mariadb_${section}`, { 'ssl-verify-server-cert': '' }],
  ];
}

/** The text of an INI file without one section: from its header to the next one. */
function withoutSection(text: string, name: string): string {
  const kept: string[] = [];
  let skipping = false;
  for (const line of text.split(/(?<=\n)/)) {
    const header = /^\s*\[([^\]]*)\]/.exec(line);
    if (header !== null) skipping = header[1] === name;
    if (!skipping) kept.push(line);
  }
  return kept.join('').replace(/\n{3,}/g, '\n\n');
}

/** Names of the databases with a certificate in a folder. */
export function keptDatabases(dir: string): string[] {
  try {
    return readdirSync(dir)
      .filter((name) => name.endsWith('-x509.pem'))
      .map((name) => decodeURIComponent(name.slice(0, -'-x509.pem'.length)));
  } catch {
    return [];
  }
}

/** Keeps the user and the name that `tsh db login` was given, beside the certificate: later commands take them where they are given none. */
export function rememberChoice(certificate: string, { dbUser, dbName }: DatabaseOptions): void {
  writeFileAtomic(`${certificate}.login`, JSON.stringify({ dbUser, dbName }));
}

/** What `rememberChoice` has kept; nothing where there is nothing. */
export function rememberedChoice(certificate: string): DatabaseOptions {
  const text = readIfThere(`${certificate}.login`);
  return text === undefined ? {} : (JSON.parse(text) as DatabaseOptions);
}

/** Removes a certificate, what says what it is bound to, and what was chosen. */
export function removeCertificate(file: string): void {
  for (const path of [file, `${file}.route`, `${file}.login`]) rmSync(path, { force: true });
}
