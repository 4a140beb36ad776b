import { X509Certificate } from 'node:crypto';
import type { CertAuthority } from './types.ts';

/** What `tctl auth export --type=` takes. */
export const AUTHORITY_TYPES = [
  'user',
  'host',
  'openssh',
  'tls-user',
  'tls-host',
  'tls-user-der',
  'tls-host-der',
  'db',
  'db-der',
  'db-client',
  'db-client-der',
] as const;
export type AuthorityType = (typeof AUTHORITY_TYPES)[number];

/** The public halves that are exported. */
type AuthorityKeys = Pick<CertAuthority, 'sshUserCa' | 'sshHostCa' | 'tlsUserCa' | 'tlsHostCa' | 'databaseCa'>;

/**
 * What `tctl auth export --type=…` prints, with an end of line.
 *
 * `user`: an `authorized_keys` line, `cert-authority ` before the key, which published instructions cut off with
 * `sed s/cert-authority\ //` to get a `TrustedUserCAKeys` file; `openssh`: that file as it is. `host`: a `known_hosts` line. The others: PEM,
 * or base64 of the DER form. Databases trust one CA for both directions: `db` and `db-client` are the same.
 */
export function exportAuthority(type: AuthorityType, keys: AuthorityKeys, clusterName: string): string {
  switch (type) {
    case 'user':
      return `cert-authority ${keys.sshUserCa} clustername=${clusterName}&type=user\n`;
    case 'openssh':
      return `${keys.sshUserCa}\n`;
    case 'host':
      return `@cert-authority *.${clusterName},${clusterName} ${keys.sshHostCa} type=host\n`;
    case 'tls-user':
      return keys.tlsUserCa;
    case 'tls-host':
      return keys.tlsHostCa;
    case 'tls-user-der':
      return derOf(keys.tlsUserCa);
    case 'tls-host-der':
      return derOf(keys.tlsHostCa);
    case 'db':
    case 'db-client':
      return keys.databaseCa;
    case 'db-der':
    case 'db-client-der':
      return derOf(keys.databaseCa);
  }
}

function derOf(pem: string): string {
  return `${new X509Certificate(pem).raw.toString('base64')}\n`;
}
