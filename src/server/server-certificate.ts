import { readFileSync } from 'node:fs';
import os from 'node:os';
import type { Clock, Timer } from '../core/clock.ts';
import { errorMessage, NightlatchError } from '../core/errors.ts';
import type { Logger } from '../core/logger.ts';
import type { CertAuthority, TlsCredential } from '../identity/types.ts';

/** The gateway's own certificate is made anew this often; each is good for thirty days. */
const RENEW_MS = 24 * 3_600_000;

/** The certificate that the listeners present, as it stands and as it changes. */
export interface ServerCertificate {
  readonly current: TlsCredential;
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
  /** The operator's own certificates, PEM files; ours is used where there is none. The first is presented. */
  readonly keyPairs: readonly { readonly keyFile: string; readonly certFile: string }[];
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
  const { clock, log, ca, names, keyPairs } = options;
  const [files] = keyPairs;
  const listeners = new Set<(credential: TlsCredential) => void>();
  const load = async (): Promise<TlsCredential> => {
    if (files === undefined) {
      return ca.mintTlsServer([...new Set([...names, ...machineNames()])]);
    }
    try {
      return { keyPem: readFileSync(files.keyFile, 'utf8'), certPem: readFileSync(files.certFile, 'utf8') };
    } catch (error) {
      throw new NightlatchError('bad_parameter', `https_keypairs: ${errorMessage(error)}`, { cause: error });
    }
  };
  let current = await load();
  let timer: Timer | undefined;
  const renew = async (): Promise<void> => {
    current = await load();
    for (const fn of listeners) fn(current);
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
      return current;
    },
    onChange(fn) {
      listeners.add(fn);
      return () => listeners.delete(fn);
    },
    renew,
    close: () => timer?.cancel(),
  };
}
