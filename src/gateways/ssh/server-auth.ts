import { DecodeError, errorMessage, NightlatchError } from '../../core/errors.ts';
import type { CertAuthority, Identity } from '../../identity/types.ts';
import { SshReader, SshWriter } from '../../wire/ssh/buffer.ts';
import { CERTIFICATE_SUFFIX, decodeCertificate } from '../../wire/ssh/certificate.ts';
import { sshVerify } from '../../wire/ssh/keys.ts';
import { DISCONNECT, MSG } from '../../wire/ssh/messages.ts';
import type { SshTransport } from './transport.ts';

/** Failed public key requests before a client is cut: an agent may hold several keys before the right one. */
const MAX_FAILED_ATTEMPTS = 10;
/** Requests of any sort before a client is cut. */
const MAX_REQUESTS = 64;
/** Longest login name, in bytes. */
const MAX_LOGIN = 255;

/** Who is at the other end, proved by a certificate of the user CA and a signature with its key. */
export interface AuthenticatedClient {
  readonly identity: Identity;
  /** The user name of the SSH request: the login on the target. */
  readonly login: string;
}

export type Admission = { readonly ok: true } | { readonly ok: false; readonly text: string };

/** A request that was refused. */
export interface Refusal {
  readonly login: string;
  readonly reason: string;
  /** Whose certificate it is, where this cluster's authority has signed it. Whether its key is there too is not proved. */
  readonly user?: string;
  /** Whether a certificate was shown; clients try plain keys and other methods beside it. */
  readonly certificate: boolean;
}

export interface ServerAuthOptions {
  readonly transport: SshTransport;
  readonly ca: Pick<CertAuthority, 'verifySshUser'>;
  /** Address of the client without its port, for `source-address`. */
  readonly clientIp: string;
  /** Whether the login must be among the certificate's principals; a jump leads to no login. */
  readonly checkLogin: boolean;
  /** Asked once a client has proved who it is. A refusal's text is shown to the person, and the connection is closed. */
  admit(client: AuthenticatedClient): Promise<Admission>;
  /** A request was refused: for the log and the audit. The client is told, when this has resolved, nothing but that it failed. Never rejects. */
  onRefused?(refusal: Refusal): Promise<void> | undefined;
}

/**
 * Answers the authentication protocol (RFC 4252) with the one method `publickey` and certificates only. Calls `done` once
 * the client is in; a client that is never admitted ends with its connection.
 */
export function authenticateClient(options: ServerAuthOptions, done: (client: AuthenticatedClient) => void): void {
  const { transport } = options;
  let busy = false;
  let requests = 0;
  let failures = 0;

  const refuse = (refusal: Refusal) => {
    failures++;
    const answer = () => {
      if (transport.closed) return;
      if (failures < MAX_FAILED_ATTEMPTS) sendFailure(transport);
      else void transport.disconnect(DISCONNECT.NO_MORE_AUTH_METHODS, 'Too many authentication failures');
    };
    const recorded = options.onRefused?.(refusal);
    if (recorded === undefined) {
      answer();
      return;
    }
    busy = true;
    void recorded.then(() => {
      busy = false;
      answer();
    });
  };

  const admit = async (client: AuthenticatedClient) => {
    const admission = await options.admit(client).catch(
      (error: unknown): Admission => ({
        ok: false,
        text: error instanceof NightlatchError ? error.message : 'the session could not be started',
      }),
    );
    busy = false;
    if (transport.closed) return;
    if (!admission.ok) {
      // The banner is what `ssh` prints without a prefix; the reason of the disconnect is for clients that show no banners.
      transport.send(new SshWriter().byte(MSG.USERAUTH_BANNER).string(`${admission.text}\r\n`).string('').finish());
      void transport.disconnect(DISCONNECT.BY_APPLICATION, admission.text);
      return;
    }
    transport.authenticated = true;
    transport.send(Buffer.from([MSG.USERAUTH_SUCCESS]));
    done(client);
  };

  const request = (packet: Buffer) => {
    const parsed = decodeRequest(packet);
    if (parsed.service !== 'ssh-connection') {
      throw new NightlatchError('protocol', `the service ${parsed.service} is not there`);
    }
    const { login } = parsed;
    if (parsed.publicKey === undefined) {
      // Clients ask by the method `none` what there is: nothing to count.
      options.onRefused?.({ login, reason: 'no certificate was shown', certificate: false });
      sendFailure(transport);
      return;
    }
    const verdict = checkCertificate(options, login, parsed.publicKey);
    if (!verdict.ok) {
      refuse({ login, ...verdict.refusal });
      return;
    }
    if (parsed.publicKey.signature === undefined) {
      const { algorithm, blob } = parsed.publicKey;
      transport.send(new SshWriter(1024).byte(MSG.USERAUTH_PK_OK).string(algorithm).string(blob).finish());
      return;
    }
    const signed = new SshWriter(2048).string(transport.sessionId).bytes(parsed.publicKey.signedBytes).finish();
    const plain = parsed.publicKey.algorithm.slice(0, -CERTIFICATE_SUFFIX.length);
    if (!sshVerify(verdict.key, signed, parsed.publicKey.signature, [plain])) {
      refuse({ login, reason: 'the signature is not valid', user: verdict.identity.user, certificate: true });
      return;
    }
    busy = true;
    void admit({ identity: verdict.identity, login });
  };

  transport.onAuthPacket = (packet) => {
    if (busy || ++requests > MAX_REQUESTS) throw new NightlatchError('protocol', 'too many authentication requests');
    if (packet[0] === MSG.SERVICE_REQUEST) {
      const service = new SshReader(packet, 1).name();
      if (service !== 'ssh-userauth') {
        void transport.disconnect(DISCONNECT.SERVICE_NOT_AVAILABLE, 'no such service');
        return;
      }
      transport.send(new SshWriter().byte(MSG.SERVICE_ACCEPT).string(service).finish());
    } else if (packet[0] === MSG.USERAUTH_REQUEST) request(packet);
    else throw new NightlatchError('protocol', `a packet of type ${packet[0]} came during authentication`);
  };
}

function sendFailure(transport: SshTransport): void {
  transport.send(new SshWriter().byte(MSG.USERAUTH_FAILURE).nameList(['publickey']).boolean(false).finish());
}

interface PublicKeyRequest {
  readonly algorithm: string;
  readonly blob: Buffer;
  /** Absent in a query whether the key would do. */
  readonly signature: Buffer | undefined;
  /** What is signed after the session identifier: the request without its signature. */
  readonly signedBytes: Buffer;
}

interface AuthRequest {
  readonly login: string;
  readonly service: string;
  /** Undefined for every other method. */
  readonly publicKey: PublicKeyRequest | undefined;
}

/** RFC 4252 sections 5 and 7. Exported for its tests. @throws {DecodeError} */
export function decodeRequest(packet: Buffer): AuthRequest {
  const reader = new SshReader(packet, 1);
  const login = reader.utf8(MAX_LOGIN);
  if (login === '' || /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/.test(login)) {
    throw new DecodeError('the user name is empty or has control characters');
  }
  const service = reader.name();
  const method = reader.name();
  if (method !== 'publickey') return { login, service, publicKey: undefined };
  const hasSignature = reader.boolean();
  const algorithm = reader.name();
  const blob = reader.string(16 * 1024);
  const signedBytes = packet.subarray(0, reader.offset);
  const signature = hasSignature ? reader.string(4096) : undefined;
  reader.end();
  return { login, service, publicKey: { algorithm, blob, signature, signedBytes } };
}

type CertificateVerdict =
  | { readonly ok: true; readonly identity: Identity; readonly key: Parameters<typeof sshVerify>[0] }
  | { readonly ok: false; readonly refusal: Omit<Refusal, 'login'> };

function checkCertificate(options: ServerAuthOptions, login: string, request: PublicKeyRequest): CertificateVerdict {
  const refused = (reason: string, user?: string): CertificateVerdict => ({
    ok: false,
    refusal: { reason, certificate: true, ...(user === undefined ? {} : { user }) },
  });
  if (!request.algorithm.endsWith(CERTIFICATE_SUFFIX)) {
    return { ok: false, refusal: { reason: 'the key is no certificate', certificate: false } };
  }
  try {
    const certificate = decodeCertificate(request.blob);
    const plain = request.algorithm.slice(0, -CERTIFICATE_SUFFIX.length);
    const rsa = plain === 'rsa-sha2-256' || plain === 'rsa-sha2-512';
    if (certificate.keyType !== (rsa ? 'ssh-rsa' : plain)) {
      return refused(`a certificate of the type ${certificate.type} came as ${request.algorithm}`);
    }
    const verified = options.ca.verifySshUser(request.blob, options.clientIp);
    if (!verified.ok) return refused(verified.reason, verified.user);
    const { user, principals } = verified.identity;
    if (options.checkLogin && !principals.includes(login)) {
      return refused(`the certificate of ${user} does not name the login ${login}`, user);
    }
    return { ok: true, identity: verified.identity, key: certificate.publicKey };
  } catch (error) {
    return refused(errorMessage(error));
  }
}
