import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import os from 'node:os';
import tls from 'node:tls';
import type { Clock, Timer } from '../core/clock.ts';
import { errorMessage } from '../core/errors.ts';
import type { Logger } from '../core/logger.ts';
import type { CertAuthority, TlsCredential } from '../identity/types.ts';
import { ConfigError, type Path } from '../resources/problems.ts';

/** How often the files are read again, or the authority is asked for a certificate, which it makes anew when it has had a third of its life. */
const RENEW_MS = 24 * 3_600_000;

/** Where the operator's key pairs stand in the configuration file. */
const KEY_PAIRS: Path = ['proxy_service', 'https_keypairs'];

/** A certificate that is presented, ready to be asked for its names. */
interface Presented extends TlsCredential {
  readonly certificate: X509Certificate;
}

/** The certificate that the listeners present, as it stands and as it changes. */
export interface ServerCertificate {
  /** For who asks for no name, and where no other certificate has the name: the operator's first, else the cluster's. */
  readonly current: TlsCredential;
  /** The certificate for a TLS server name: the first of the operator's that covers it, else `current`. */
  forName(serverName: string): TlsCredential;
  /**
   * The certificate for the TLS server name of a Kubernetes client: the cluster's own for `kube.CLUSTER`, which kubeconfigs expect to be signed
   * by the cluster, and for names that none of the operator's covers; the operator's for those that it covers.
   */
  forKubeName(serverName: string): TlsCredential;
  onChange(fn: (credential: TlsCredential) => void): () => void;
  /** Reads the operator's files again (SIGHUP), or renews our own. */
  renew(): Promise<void>;
  close(): void;
}

export interface ServerCertificateOptions {
  readonly clock: Clock;
  readonly log: Logger;
  readonly ca: CertAuthority;
  /** Names under which the gateway is reached, beside those of the machine. */
  readonly names: readonly string[];
  readonly clusterName: string;
  /** The operator's own certificates, PEM files; ours is used where there is none. */
  readonly keyPairs: readonly { readonly keyFile: string; readonly certFile: string }[];
  /** Makes the error for what is wrong at a key of the configuration file. */
  readonly errorAt?: (path: Path, text: string) => ConfigError;
}

/** Names and addresses of this machine, which its self-signed certificate covers. */
export function machineNames(): string[] {
  const addresses = Object.values(os.networkInterfaces())
    .flatMap((list) => list ?? [])
    // Link-local addresses carry a zone that no certificate can name.
    .map(({ address }) => address)
    .filter((address) => !address.startsWith('fe80:'));
  return ['localhost', os.hostname(), ...addresses];
}

/** Loads or makes the certificate and keeps it fresh. @throws {NightlatchError} `bad_parameter` for files that cannot be used. */
export async function createServerCertificate(options: ServerCertificateOptions): Promise<ServerCertificate> {
  const { clock, log, ca, names, clusterName, keyPairs, errorAt = errorWithoutFile } = options;
  const listeners = new Set<(credential: TlsCredential) => void>();
  const read = (path: Path, file: string): string => {
    try {
      return readFileSync(file, 'utf8');
    } catch (error) {
      throw errorAt(path, `cannot be read: ${errorMessage(error)}`);
    }
  };
  const readPair = ({ keyFile, certFile }: (typeof keyPairs)[number], index: number): Presented => {
    const path = [...KEY_PAIRS, index];
    const [keyPem, certPem] = [read([...path, 'key_file'], keyFile), read([...path, 'cert_file'], certFile)];
    try {
      tls.createSecureContext({ key: keyPem, cert: certPem });
      return { keyPem, certPem, certificate: new X509Certificate(certPem) };
    } catch (error) {
      throw errorAt(path, `cannot be used (${keyFile}, ${certFile}): ${errorMessage(error)}`);
    }
  };
  const load = async (): Promise<{ operators: readonly Presented[]; ofCluster: TlsCredential }> => ({
    operators: keyPairs.map(readPair),
    ofCluster: await ca.mintTlsServer([...new Set([...names, ...machineNames()])]),
  });
  let current = await load();
  const presented = (): TlsCredential => current.operators[0] ?? current.ofCluster;
  const covering = (serverName: string): TlsCredential | undefined =>
    current.operators.find(({ certificate }) => certificate.checkHost(serverName) !== undefined);
  let timer: Timer | undefined;
  const renew = async (): Promise<void> => {
    current = await load();
    for (const fn of listeners) fn(presented());
  };
  const schedule = (): void => {
    timer = clock.at(clock.now() + RENEW_MS, () => {
      renew().catch((error: unknown) =>
        log.error('the server certificate could not be renewed', { error: errorMessage(error) }),
      );
      schedule();
    });
  };
  schedule();
  return {
    get current() {
      return presented();
    },
    // One certificate for all names need not be asked.
    forName: (serverName) => (current.operators.length > 1 ? covering(serverName) : undefined) ?? presented(),
    forKubeName: (serverName) =>
      (serverName === `kube.${clusterName}` ? undefined : covering(serverName)) ?? current.ofCluster,
    onChange(fn) {
      listeners.add(fn);
      return () => listeners.delete(fn);
    },
    renew,
    close: () => timer?.cancel(),
  };
}

function errorWithoutFile(path: Path, text: string): ConfigError {
  return new ConfigError('', [{ line: 0, path, text, unsupported: false }]);
}
