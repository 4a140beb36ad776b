import { readdirSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { NightlatchError } from '../../core/errors.ts';
import { readIfThere, writeFileAtomic } from '../common/files.ts';

/**
 * One sign-in, as `HOST.yaml` keeps it. The file is a flat YAML mapping with the keys that Teleport's profile has, each value in
 * JSON's notation, so that no YAML parser need be loaded to read it back.
 */
export interface Profile {
  /** Host name of the proxy: the name of the profile. */
  readonly host: string;
  /** Port of the public listener. */
  readonly port: number;
  readonly user: string;
  readonly cluster: string;
  readonly roles: readonly string[];
  readonly logins: readonly string[];
  /** Extensions of the SSH certificate. */
  readonly extensions: readonly string[];
  /** End of the certificates, milliseconds since the epoch. */
  readonly expiresAtMs: number;
  /** How the server is verified: by the cluster's own CA (kept at sign-in), by the system's, or not at all. */
  readonly trust: 'cluster' | 'system' | 'insecure';
  /** `SHA256…` pin of the cluster's CA. */
  readonly caPin: string;
  /** Port of the native SSH listener, where it is on. */
  readonly sshPort?: number;
  readonly kubePort?: number;
  readonly postgresPort?: number;
  readonly mysqlPort?: number;
  readonly redisPort?: number;
  /** The idle policy at sign-in, shown while the server cannot be reached. */
  readonly idleTimeoutMs: number;
  readonly idleTimeoutSource: string;
}

const KEYS = {
  host: 'web_proxy_host',
  port: 'web_proxy_port',
  user: 'user',
  cluster: 'cluster',
  roles: 'roles',
  logins: 'logins',
  extensions: 'extensions',
  expiresAtMs: 'expires_at_ms',
  trust: 'trust',
  caPin: 'ca_pin',
  sshPort: 'ssh_proxy_port',
  kubePort: 'kube_proxy_port',
  postgresPort: 'postgres_proxy_port',
  mysqlPort: 'mysql_proxy_port',
  redisPort: 'redis_proxy_port',
  idleTimeoutMs: 'idle_timeout_ms',
  idleTimeoutSource: 'idle_timeout_source',
} as const satisfies Record<keyof Profile, string>;

/**
 * A name as part of a path: what is not plain is percent-encoded, so that no name reaches outside its folder, hides
 * or meets another. Plain names stay as they are.
 */
export function safePathPart(name: string): string {
  if (name === '' || name.length > 255) {
    throw new NightlatchError('bad_parameter', `${JSON.stringify(name.slice(0, 255))} cannot be the name of a file`);
  }
  const encoded = encodeURIComponent(name).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
  return encoded.replace(/%40/g, '@').replace(/%3A/g, ':').replace(/^\./, '%2E');
}

/** Where a user's files of one cluster lie, in Teleport's layout. */
export interface ProfilePaths {
  readonly dir: string;
  readonly key: string;
  readonly publicKey: string;
  readonly sshCertificate: string;
  readonly tlsCertificate: string;
  readonly cas: string;
  readonly knownHosts: string;
  /** Certificates bound to one database or cluster. */
  database(name: string): string;
  kube(name: string): string;
}

/** The folder `~/.tsh` (or NIGHTLATCH_HOME, TELEPORT_HOME): profiles, keys and certificates, for the owner's eyes only. */
export class ProfileStore {
  readonly home: string;

  constructor(home = process.env.NIGHTLATCH_HOME || process.env.TELEPORT_HOME || join(homedir(), '.tsh')) {
    this.home = home;
  }

  paths(profile: Pick<Profile, 'host' | 'user' | 'cluster'>): ProfilePaths {
    const [host, user, cluster] = [profile.host, profile.user, profile.cluster].map(safePathPart) as [
      string,
      string,
      string,
    ];
    const dir = join(this.home, 'keys', host);
    return {
      dir,
      key: join(dir, user),
      publicKey: join(dir, `${user}.pub`),
      sshCertificate: join(dir, `${user}-ssh`, `${cluster}-cert.pub`),
      tlsCertificate: join(dir, `${user}-x509.pem`),
      cas: join(dir, 'cas', `${cluster}.pem`),
      knownHosts: join(this.home, 'known_hosts'),
      database: (name) => join(dir, `${user}-db`, cluster, `${safePathPart(name)}-x509.pem`),
      kube: (name) => join(dir, `${user}-kube`, cluster, `${safePathPart(name)}-x509.pem`),
    };
  }

  /** The profile of a proxy, or the current one; undefined where nobody has signed in. */
  read(host = this.currentName()): Profile | undefined {
    if (host === undefined) return undefined;
    const text = readIfThere(join(this.home, `${safePathPart(host)}.yaml`));
    return text === undefined ? undefined : parseProfile(text, `${host}.yaml`);
  }

  /** All profiles, by name of the proxy. */
  list(): Profile[] {
    let names: string[];
    try {
      names = readdirSync(this.home);
    } catch {
      return [];
    }
    return names
      .filter((name) => name.endsWith('.yaml'))
      .sort()
      .map((name) => this.read(name.slice(0, -'.yaml'.length)))
      .filter((profile) => profile !== undefined);
  }

  currentName(): string | undefined {
    const name = readIfThere(join(this.home, 'current-profile'))?.trim();
    return name === undefined || name === '' ? undefined : name;
  }

  /** Writes a profile and makes it the current one. */
  write(profile: Profile): void {
    writeFileAtomic(join(this.home, `${safePathPart(profile.host)}.yaml`), formatProfile(profile));
    writeFileAtomic(join(this.home, 'current-profile'), `${profile.host}\n`);
  }

  /** Forgets a sign-in: keys, certificates and profile. */
  remove(profile: Profile): void {
    const { dir, key, publicKey, tlsCertificate } = this.paths(profile);
    for (const path of [key, publicKey, tlsCertificate]) rmSync(path, { force: true });
    for (const kind of ['ssh', 'db', 'kube']) rmSync(`${key}-${kind}`, { recursive: true, force: true });
    rmSync(join(this.home, `${profile.host}.yaml`), { force: true });
    if (this.currentName() === profile.host) rmSync(join(this.home, 'current-profile'), { force: true });
    if (isEmptyButFor(dir, ['cas'])) rmSync(dir, { recursive: true, force: true });
  }
}

function isEmptyButFor(dir: string, ignored: readonly string[]): boolean {
  try {
    return readdirSync(dir).every((name) => ignored.includes(name));
  } catch {
    return false;
  }
}

function formatProfile(profile: Profile): string {
  return Object.entries(KEYS)
    .map(([field, key]) => [key, profile[field as keyof Profile]] as const)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => `${key}: ${JSON.stringify(value)}\n`)
    .join('');
}

function parseProfile(text: string, file: string): Profile {
  const values = new Map<string, unknown>();
  for (const line of text.split('\n')) {
    const match = /^(\w+): (.*)$/.exec(line);
    if (match === null) continue;
    try {
      values.set(match[1]!, JSON.parse(match[2]!));
    } catch {
      throw damaged(file);
    }
  }
  const profile = Object.fromEntries(
    Object.entries(KEYS)
      .map(([field, key]) => [field, values.get(key)])
      .filter(([, value]) => value !== undefined),
  ) as Partial<Profile>;
  const { host, port, user, cluster, roles, logins, expiresAtMs } = profile;
  if (
    typeof host !== 'string' ||
    typeof port !== 'number' ||
    typeof user !== 'string' ||
    typeof cluster !== 'string' ||
    typeof expiresAtMs !== 'number' ||
    !Array.isArray(roles) ||
    !Array.isArray(logins)
  ) {
    throw damaged(file);
  }
  return {
    trust: 'cluster',
    caPin: '',
    extensions: [],
    idleTimeoutMs: 0,
    idleTimeoutSource: '',
    ...profile,
  } as Profile;
}

function damaged(file: string): NightlatchError {
  return new NightlatchError('bad_parameter', `the profile ${file} cannot be read; sign in again with tsh login`);
}
