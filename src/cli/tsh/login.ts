import { createHash, X509Certificate } from 'node:crypto';
import { rmSync } from 'node:fs';
import { userInfo } from 'node:os';
import { NightlatchError } from '../../core/errors.ts';
import type {
  CertAuthoritiesResponse,
  CertificatesResponse,
  LoginRequest,
  PingResponse,
  StatusResponse,
} from '../../wire/api/messages.ts';
import { formatAddress, parseAddress } from '../common/address.ts';
import { ApiClient, type Endpoint, UntrustedServerError } from '../common/api-client.ts';
import { askLine, askSecret, isInteractive, readSecret } from '../common/ask.ts';
import { readIfThere, writeFileAtomic } from '../common/files.ts';
import { describeSshCertificate, knownHostsLine } from '../common/identity-file.ts';
import { generateKeyPair, type KeyPair } from '../common/key-pair.ts';
import { parseDurationOption, warnIfShorter } from '../common/lifetime.ts';
import { printable } from '../common/output.ts';
import { type Profile, ProfileStore } from './profile.ts';
import { type GlobalOptions, systemAuthorities, warnInsecure } from './sign-in.ts';
import { status } from './status.ts';

export interface LoginOptions extends GlobalOptions {
  readonly ttlMs?: number;
  readonly caPin?: string;
  readonly passwordFd?: number;
  readonly otpFd?: number;
}

type TlsEndpoint = Endpoint & { kind: 'tls' };
type Trust = Profile['trust'];

/** `tsh login`: signs in and keeps the certificates, or shows the sign-in that is still valid. */
export async function login(options: LoginOptions): Promise<void> {
  const store = new ProfileStore();
  const current = options.proxy === undefined ? store.read() : store.read(parseAddress(options.proxy).host);
  if (current !== undefined && isStillGood(current, options)) {
    store.write(current);
    return status({ proxy: formatAddress(current.host, current.port) });
  }
  const address = options.proxy ?? (current === undefined ? undefined : formatAddress(current.host, current.port));
  if (address === undefined)
    throw new NightlatchError('bad_parameter', 'no proxy address specified, missed --proxy flag?');
  const { host, port } = parseAddress(address, current?.port);
  const { endpoint, trust } = await establishTrust({ kind: 'tls', host, port }, options, store);
  const api = new ApiClient(endpoint);
  try {
    const keys = generateKeyPair();
    const ping = await api.get<PingResponse>('/v1/ping');
    const answer = await api.post<CertificatesResponse>('/v1/login', await credentials(options, ping, keys));
    if (options.ttlMs !== undefined) warnIfShorter(options.ttlMs, answer.expiresAtMs);
    await keep({ host, port, trust, keys, answer, ping, endpoint }, store);
  } finally {
    api.close();
  }
  await status({ proxy: formatAddress(host, port) });
}

/** `--ttl`: a duration, or a bare number of minutes as Teleport's tsh takes it. */
export function parseTtl(text: string): number {
  const ms = parseDurationOption('--ttl', /^\d+$/.test(text) ? `${text}m` : text);
  if (ms <= 0) throw new NightlatchError('bad_parameter', '--ttl must be longer than zero');
  return ms;
}

/** A sign-in that would be asked for again with nothing new in it. */
function isStillGood(profile: Profile, options: LoginOptions): boolean {
  return (
    profile.expiresAtMs > Date.now() &&
    (options.user === undefined || options.user === profile.user) &&
    (options.proxy === undefined || parseAddress(options.proxy, profile.port).port === profile.port) &&
    options.ttlMs === undefined &&
    options.passwordFd === undefined &&
    options.caPin === undefined
  );
}

async function credentials(options: LoginOptions, ping: PingResponse, keys: KeyPair): Promise<LoginRequest> {
  const user = options.user ?? userInfo().username;
  const password =
    options.passwordFd === undefined
      ? await askSecret(`Enter password for user ${printable(user)}:`, 'password', 'pass it with --password-fd')
      : readSecret(options.passwordFd, 'password');
  if (ping.secondFactor === 'webauthn') {
    throw new NightlatchError(
      'bad_parameter',
      `this cluster asks for a passkey, which a terminal cannot give; sign in at https://${ping.publicAddr}`,
    );
  }
  let otp: string | undefined;
  if (options.otpFd !== undefined) otp = readSecret(options.otpFd, 'one-time code');
  else if (ping.secondFactor !== 'off') {
    otp = await askLine('Enter an OTP code from a device:', 'one-time code', 'pass it with --otp-fd');
  }
  return {
    user,
    password,
    ...(otp === undefined ? {} : { otp: otp.replaceAll(' ', '') }),
    sshPublicKey: keys.sshPublicKey,
    tlsPublicKey: keys.tlsPublicKey,
    ...(options.ttlMs === undefined ? {} : { ttlMs: options.ttlMs }),
  };
}

/**
 * Decides what the server's certificate is checked against: the pinned CA or the one kept from an earlier sign-in, else the system's CAs, or,
 * where somebody is there to ask, the CA that the server shows, after a yes.
 * @throws {NightlatchError} `unauthenticated` for a wrong pin, and where nothing vouches for the server.
 */
export async function establishTrust(
  target: TlsEndpoint,
  options: Pick<LoginOptions, 'insecure' | 'caPin'>,
  store: ProfileStore,
): Promise<{ endpoint: TlsEndpoint; trust: Trust }> {
  if (options.insecure === true) {
    warnInsecure();
    return { endpoint: { ...target, insecure: true }, trust: 'insecure' };
  }
  const pinned = options.caPin === undefined ? undefined : await pinnedAuthority(target, options.caPin);
  const kept = keptAuthority(target.host, store);
  const own = pinned ?? kept;
  const candidates: { trust: Trust; authorities: () => Promise<readonly string[]> }[] = [
    { trust: 'system', authorities: systemAuthorities },
  ];
  if (own !== undefined) candidates.unshift({ trust: 'cluster', authorities: async () => [own] });
  let refusal: UntrustedServerError | undefined;
  for (const { trust, authorities } of candidates) {
    const endpoint: TlsEndpoint = { ...target, ca: await authorities() };
    try {
      await ping(endpoint);
      return { endpoint, trust };
    } catch (error) {
      if (!(error instanceof UntrustedServerError)) throw error;
      refusal ??= error;
    }
  }
  const ca = await askToTrust(target, refusal!, pinned === undefined && kept !== undefined);
  return { endpoint: { ...target, ca: [ca] }, trust: 'cluster' };
}

async function ping(endpoint: TlsEndpoint): Promise<void> {
  const api = new ApiClient(endpoint);
  try {
    await api.get<PingResponse>('/v1/ping');
  } finally {
    api.close();
  }
}

/** The CA of an earlier sign-in with this host, where the server was verified by it. */
function keptAuthority(host: string, store: ProfileStore): string | undefined {
  const known = store.read(host);
  return known?.trust === 'cluster' ? readIfThere(store.paths(known).cas) : undefined;
}

async function pinnedAuthority(target: TlsEndpoint, pin: string): Promise<string> {
  const { tlsHostCa } = await fetchAuthorities(target);
  checkPin(tlsHostCa, pin, formatAddress(target.host, target.port));
  return tlsHostCa;
}

/** The CAs a server shows, from a server that is not known yet: to be compared with a pin, never used as they are. */
async function fetchAuthorities(target: TlsEndpoint): Promise<CertAuthoritiesResponse> {
  const api = new ApiClient({ ...target, insecure: true });
  try {
    return await api.get<CertAuthoritiesResponse>('/v1/cas');
  } finally {
    api.close();
  }
}

async function askToTrust(target: TlsEndpoint, refusal: UntrustedServerError, known: boolean): Promise<string> {
  if (known) {
    throw new NightlatchError(
      'unauthenticated',
      `${refusal.message}. It is not the authority that was trusted before: somebody may be in between. If the cluster was set up anew, run tsh logout --proxy=${target.host} first.`,
      { cause: refusal },
    );
  }
  const cas = await fetchAuthorities(target);
  await requireSignedBy(cas.tlsHostCa, target, refusal);
  const hint = 'Pass --ca-pin with the pin that tctl status shows on the server.';
  if (!isInteractive()) throw new NightlatchError('unauthenticated', `${refusal.message}. ${hint}`, { cause: refusal });
  const address = formatAddress(target.host, target.port);
  process.stderr.write(
    `The certificate of ${address} is signed by the cluster's own authority, which this computer does not know yet:\n` +
      `  ${pinOf(cas.tlsHostCa)}\n` +
      'Compare it with the CA pin that tctl status shows on the server.\n',
  );
  const answer = await askLine('Trust it from now on? (yes/no)', 'answer', hint);
  if (!/^y(es)?$/i.test(answer.trim())) throw new NightlatchError('cancelled', 'not trusted; nothing was sent');
  return cas.tlsHostCa;
}

/** @throws {NightlatchError} `unauthenticated` where the server's certificate is not by this CA: trusting it would help nothing. */
async function requireSignedBy(ca: string, target: TlsEndpoint, refusal: UntrustedServerError): Promise<void> {
  try {
    await ping({ ...target, ca: [ca] });
  } catch (error) {
    if (!(error instanceof UntrustedServerError)) throw error;
    if (!error.unknownAuthority) throw error;
    if (!refusal.unknownAuthority) throw refusal;
    throw new NightlatchError(
      'unauthenticated',
      `the certificate of ${target.host} is signed by an authority this computer does not know: add it to the system's authorities, or name its file in SSL_CERT_FILE`,
      { cause: error },
    );
  }
}

/** Pin of a CA: SHA-256 over its SubjectPublicKeyInfo (RFC 7469 section 2.4), in hex as Teleport writes it. */
export function pinOf(caPem: string): string {
  const spki = new X509Certificate(caPem).publicKey.export({ type: 'spki', format: 'der' });
  return `sha256:${createHash('sha256').update(spki).digest('hex')}`;
}

function checkPin(caPem: string, pin: string, address: string): void {
  const found = pinOf(caPem);
  if (found !== pin.trim().toLowerCase()) {
    throw new NightlatchError(
      'unauthenticated',
      `the CA of ${address} has the pin ${found}, not ${printable(pin)}: this is not the cluster you mean, or somebody is in between`,
    );
  }
}

interface NewSignIn {
  readonly host: string;
  readonly port: number;
  readonly trust: Trust;
  readonly keys: KeyPair;
  readonly answer: CertificatesResponse;
  readonly ping: PingResponse;
  readonly endpoint: TlsEndpoint;
}

/** Writes keys, certificates, CAs, known_hosts and the profile, in this order: a profile never points at what is not there. */
async function keep(signIn: NewSignIn, store: ProfileStore): Promise<void> {
  const { host, port, keys, answer, ping, endpoint } = signIn;
  if (answer.tls === undefined) throw new NightlatchError('protocol', 'the server sent no certificate');
  const paths = store.paths({ host, user: answer.user, cluster: answer.clusterName });
  writeFileAtomic(paths.key, keys.privatePem);
  writeFileAtomic(paths.publicKey, `${keys.sshPublicKey} ${answer.user}\n`);
  if (answer.ssh !== undefined) writeFileAtomic(paths.sshCertificate, `${answer.ssh.trim()}\n`);
  else rmSync(paths.sshCertificate, { force: true });
  writeFileAtomic(paths.tlsCertificate, answer.tls);
  writeFileAtomic(paths.cas, answer.cas.tlsHostCa);
  writeKnownHosts(paths.knownHosts, answer, [host, parseAddress(ping.publicAddr).host]);
  const own = { ...endpoint, cert: answer.tls, key: keys.privatePem };
  const { standing, trust } = await firstStatus(own, signIn.trust, answer.cas.tlsHostCa);
  const { ssh, kube, postgres, mysql, redis } = ping.ports;
  store.write({
    host,
    port,
    user: answer.user,
    cluster: answer.clusterName,
    roles: standing.roles,
    logins: answer.logins,
    extensions: answer.ssh === undefined ? [] : describeSshCertificate(answer.ssh).extensions,
    expiresAtMs: answer.expiresAtMs,
    trust,
    caPin: answer.cas.caPin,
    ...(ssh === undefined ? {} : { sshPort: ssh }),
    ...(kube === undefined ? {} : { kubePort: kube }),
    ...(postgres === undefined ? {} : { postgresPort: postgres }),
    ...(mysql === undefined ? {} : { mysqlPort: mysql }),
    ...(redis === undefined ? {} : { redisPort: redis }),
    idleTimeoutMs: standing.idle.timeoutMs,
    idleTimeoutSource: standing.idle.timeoutSource,
  });
}

/**
 * The caller's standing with the new certificate. The CA that came with the sign-in is tried first: if the server's certificate verifies
 * against it, later commands insist on it, also after `--insecure`; otherwise the operator has a certificate of another CA.
 */
async function firstStatus(
  endpoint: TlsEndpoint,
  trust: Trust,
  hostCa: string,
): Promise<{ standing: StatusResponse; trust: Trust }> {
  const ask = async (target: TlsEndpoint) => {
    const api = new ApiClient(target);
    try {
      return await api.get<StatusResponse>('/v1/status');
    } finally {
      api.close();
    }
  };
  if (trust === 'cluster') return { standing: await ask(endpoint), trust };
  try {
    return { standing: await ask({ ...endpoint, insecure: false, ca: [hostCa] }), trust: 'cluster' };
  } catch (error) {
    if (!(error instanceof UntrustedServerError)) throw error;
    return { standing: await ask(endpoint), trust };
  }
}

function writeKnownHosts(path: string, answer: CertificatesResponse, gateways: readonly string[]): void {
  const line = knownHostsLine(answer.clusterName, answer.cas.sshHostCa, gateways);
  const marker = `@cert-authority ${answer.clusterName},`;
  const others = (readIfThere(path) ?? '').split('\n').filter((other) => other !== '' && !other.startsWith(marker));
  writeFileAtomic(path, `${[...others, line].join('\n')}\n`);
}

/** `tsh logout`: forgets one sign-in, or all of them. */
export function logout(options: GlobalOptions): void {
  const store = new ProfileStore();
  const profiles =
    options.proxy === undefined
      ? store.list()
      : [store.read(parseAddress(options.proxy).host)].filter((p) => p !== undefined);
  if (profiles.length === 0) {
    process.stdout.write('Not logged in.\n');
    return;
  }
  for (const profile of profiles) store.remove(profile);
  if (options.proxy === undefined) process.stdout.write('Logged out all users from all proxies.\n');
  else process.stdout.write(`Logged out ${profiles[0]!.user} from ${profiles[0]!.host}.\n`);
}
