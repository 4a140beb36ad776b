import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { NightlatchError } from '../../core/errors.ts';
import { formatAddress, parseAddress } from '../common/address.ts';
import { ApiClient, type Endpoint } from '../common/api-client.ts';
import { readIfThere, readUserFile, writeFileAtomic } from '../common/files.ts';
import { type Profile, ProfileStore } from './profile.ts';

/** Options that every `tsh` command takes. */
export interface GlobalOptions {
  readonly proxy?: string;
  readonly user?: string;
  readonly identity?: string;
  readonly insecure?: boolean;
}

/** A valid sign-in with the files that other programs are pointed at. */
export interface SignIn {
  readonly profile: Profile;
  readonly endpoint: Endpoint & { kind: 'tls' };
  readonly keyFile: string;
  readonly sshCertificateFile: string;
  readonly tlsCertificateFile: string;
  readonly casFile: string;
  readonly knownHostsFile: string;
  /** The identity file that this came from, where it is not a profile. */
  readonly identityFile?: string;
  /** Removes what was made for this run only. */
  dispose(): void;
}

export function warnInsecure(): void {
  process.stderr.write(
    'WARNING: You are using insecure connection to Nightlatch proxy: its certificate is not verified.\n',
  );
}

/**
 * The sign-in that the command is to use: `-i FILE`, else the profile of `--proxy`, else the current one.
 * @throws {NightlatchError} `unauthenticated` when there is none, or it has expired.
 */
export async function openSignIn(options: GlobalOptions, store = new ProfileStore()): Promise<SignIn> {
  if (options.insecure === true) warnInsecure();
  if (options.identity !== undefined) return openIdentity(options.identity, options, store);
  const profile = findProfile(options, store);
  if (profile === undefined) throw notLoggedIn(options);
  if (options.user !== undefined && options.user !== profile.user) {
    throw new NightlatchError(
      'unauthenticated',
      `Not logged in as ${options.user}. Run tsh login --proxy=${formatAddress(profile.host, profile.port)} --user=${options.user}.`,
    );
  }
  if (profile.expiresAtMs <= Date.now()) {
    throw new NightlatchError(
      'unauthenticated',
      `Your certificates have expired. Run tsh login --proxy=${formatAddress(profile.host, profile.port)}.`,
    );
  }
  const paths = store.paths(profile);
  const [key, cert] = [readIfThere(paths.key), readIfThere(paths.tlsCertificate)];
  if (key === undefined || cert === undefined) {
    throw new NightlatchError(
      'unauthenticated',
      `Your certificates are gone. Run tsh login --proxy=${formatAddress(profile.host, profile.port)}.`,
    );
  }
  return {
    profile,
    endpoint: { ...(await endpointOf(profile, readIfThere(paths.cas), options.insecure)), key, cert },
    keyFile: paths.key,
    sshCertificateFile: paths.sshCertificate,
    tlsCertificateFile: paths.tlsCertificate,
    casFile: paths.cas,
    knownHostsFile: paths.knownHosts,
    dispose: () => {},
  };
}

/** Nobody has signed in, or not at the cluster that `--proxy` names. */
export function notLoggedIn({ proxy = 'HOST:PORT' }: GlobalOptions): NightlatchError {
  return new NightlatchError('unauthenticated', `Not logged in. Run tsh login --proxy=${proxy}.`);
}

/** The profile that a command means, whether or not it is still valid. */
export function findProfile(options: GlobalOptions, store: ProfileStore): Profile | undefined {
  return options.proxy === undefined ? store.read() : store.read(parseAddress(options.proxy).host);
}

/** The CAs that this computer trusts: Node's, the system's (SSL_CERT_FILE, SSL_CERT_DIR), and those of NODE_EXTRA_CA_CERTS. */
export async function systemAuthorities(): Promise<string[]> {
  const { getCACertificates, rootCertificates } = await import('node:tls');
  const all = [...rootCertificates, ...getCACertificates('system'), ...getCACertificates('extra')];
  // The same ones come by several ways, up to four times, and each costs time to read.
  return [...new Set(all.map((pem) => pem.trim()))];
}

/** Where the API of a profile's cluster is, and what its certificate is checked against. */
async function endpointOf(
  profile: Profile,
  cas: string | undefined,
  insecure = false,
): Promise<Endpoint & { kind: 'tls' }> {
  return {
    kind: 'tls',
    host: profile.host,
    port: profile.port,
    ...(insecure || profile.trust === 'insecure' ? { insecure: true } : {}),
    ...(profile.trust === 'cluster' && cas !== undefined ? { ca: [cas] } : {}),
    ...(profile.trust === 'system' ? { ca: await systemAuthorities() } : {}),
  };
}

async function openIdentity(path: string, options: GlobalOptions, store: ProfileStore): Promise<SignIn> {
  // Reading certificates is left out of what every command loads.
  const { describeSshCertificate, knownHostsLine, parseIdentityFile } = await import('../common/identity-file.ts');
  const identity = parseIdentityFile(readUserFile(path), path);
  const info = describeSshCertificate(identity.sshCertificate);
  if (info.expiresAtMs <= Date.now())
    throw new NightlatchError('unauthenticated', `the certificates in ${path} have expired`);
  const proxy = options.proxy ?? store.currentName();
  if (proxy === undefined) throw new NightlatchError('bad_parameter', 'an identity file needs --proxy=HOST:PORT');
  const stored = options.proxy === undefined ? store.read() : undefined;
  const { host, port } = parseAddress(proxy, stored?.port);
  // OpenSSH wants files; they live as long as this run, in a folder that only the owner may enter (mkdtemp: 0700).
  const dir = mkdtempSync(join(tmpdir(), 'tsh-'));
  const file = (name: string, content: string) => {
    const target = join(dir, name);
    writeFileAtomic(target, content);
    return target;
  };
  const keyFile = file('key', identity.privateKey);
  return {
    profile: {
      host,
      port,
      user: info.user,
      cluster: identity.clusterName,
      roles: [],
      logins: info.logins,
      extensions: info.extensions,
      expiresAtMs: info.expiresAtMs,
      trust: 'cluster',
      caPin: '',
      idleTimeoutMs: 0,
      idleTimeoutSource: '',
    },
    endpoint: {
      kind: 'tls',
      host,
      port,
      ca: [identity.tlsHostCa],
      cert: identity.tlsCertificate,
      key: identity.privateKey,
      ...(options.insecure === true ? { insecure: true } : {}),
    },
    keyFile,
    sshCertificateFile: file('key-cert.pub', `${identity.sshCertificate.trim()}\n`),
    tlsCertificateFile: file('x509.pem', identity.tlsCertificate),
    casFile: file('cas.pem', identity.tlsHostCa),
    knownHostsFile: file('known_hosts', `${knownHostsLine(identity.clusterName, identity.sshHostCa)}\n`),
    identityFile: resolve(path),
    dispose: () => rmSync(dir, { recursive: true, force: true }),
  };
}

/** Runs `work` with a sign-in and its API, and cleans up after it. */
export async function withApi<T>(
  options: GlobalOptions,
  work: (api: ApiClient, signIn: SignIn) => Promise<T>,
): Promise<T> {
  const signIn = await openSignIn(options);
  const api = new ApiClient(signIn.endpoint);
  try {
    return await work(api, signIn);
  } finally {
    api.close();
    signIn.dispose();
  }
}
