import { createPrivateKey, createPublicKey, X509Certificate } from 'node:crypto';
import { NightlatchError } from '../../core/errors.ts';
import type { CertificatesResponse, RouteMessage } from '../../wire/api/messages.ts';
import type { ApiClient } from '../common/api-client.ts';
import { readIfThere, writeFileAtomic } from '../common/files.ts';
import { ProfileStore } from './profile.ts';
import type { SignIn } from './sign-in.ts';

/** A certificate that is about to end is renewed this long before, in milliseconds. */
const RENEW_BEFORE_MS = 60_000;

/** A client certificate bound to one database or cluster: what other programs are given, good for nothing else. */
export interface RoutedCertificate {
  readonly certificate: string;
  /** Milliseconds since the epoch. */
  readonly expiresAtMs: number;
  /** Where it is kept; undefined with an identity file, which has no folder of its own. */
  readonly file?: string;
}

/** The certificate for a database or a cluster: the one that is kept, if it is still good and bound alike, else a fresh one. */
export async function routedCertificate(
  api: ApiClient,
  signIn: SignIn,
  route: RouteMessage,
): Promise<RoutedCertificate> {
  const paths = new ProfileStore().paths(signIn.profile);
  const file = route.kind === 'db' ? paths.database(route.name) : paths.kube(route.name);
  const keep = signIn.identityFile === undefined;
  const kept = keep ? readIfThere(file) : undefined;
  const keptRoute = keep ? readIfThere(`${file}.route`) : undefined;
  if (kept !== undefined && keptRoute === JSON.stringify(route)) {
    const expiresAtMs = endOf(kept, signIn.endpoint.key!);
    if (expiresAtMs - RENEW_BEFORE_MS > Date.now()) return { certificate: kept, expiresAtMs, file };
  }
  const tlsPublicKey = createPublicKey(signIn.endpoint.key!).export({ type: 'spki', format: 'pem' });
  const answer = await api.post<CertificatesResponse>('/v1/certificates', { tlsPublicKey, route });
  if (answer.tls === undefined) throw new NightlatchError('protocol', 'the server sent no certificate');
  const fresh = { certificate: answer.tls, expiresAtMs: answer.expiresAtMs };
  if (!keep) return fresh;
  writeFileAtomic(file, answer.tls);
  writeFileAtomic(`${file}.route`, JSON.stringify(route));
  return { ...fresh, file };
}

/** 0 for what is no certificate of this key: each sign-in makes a new one. */
function endOf(pem: string, key: string): number {
  try {
    const certificate = new X509Certificate(pem);
    return certificate.checkPrivateKey(createPrivateKey(key)) ? certificate.validToDate.getTime() : 0;
  } catch {
    return 0;
  }
}
