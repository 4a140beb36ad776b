import { createHash, timingSafeEqual } from 'node:crypto';
import { DecodeError } from '../../core/errors.ts';
import {
  DER_INTEGER,
  DER_OCTET_STRING,
  DER_SEQUENCE,
  decodeDerElements,
  decodeDerHeader,
  derUnsigned,
  encodeDer,
  encodeDerExplicit,
  encodeDerUnsigned,
  expectDer,
} from './der.ts';
import { answerNtlmChallenge, encodeNtlmNegotiate, type NtlmCredentials, type NtlmEntropy } from './ntlm.ts';

/** Network level authentication as a client: CredSSP (MS-CSSP) with NTLM, inside TLS. */

const OUR_VERSION = 6;
const MAX_REQUEST_BYTES = 64 * 1024;
const DER_BIT_STRING = 0x03;

/** TSRequest (MS-CSSP 2.2.1). */
export interface TsRequest {
  readonly version: number;
  readonly negoToken?: Buffer;
  readonly authInfo?: Buffer;
  readonly pubKeyAuth?: Buffer;
  /** NTSTATUS. */
  readonly errorCode?: number;
  readonly clientNonce?: Buffer;
}

/** The server says no: an NTSTATUS or SECURITY_STATUS code. */
export class CredSspRefusal extends Error {
  readonly status: number;

  constructor(status: number) {
    super(STATUS_TEXT[status] ?? `the desktop refuses the sign-in (status 0x${status.toString(16)})`);
    this.name = 'CredSspRefusal';
    this.status = status;
  }
}

const STATUS_TEXT: Readonly<Record<number, string>> = {
  3221225581: 'the user name or password is wrong',
  3221225582: 'the account may not sign in here',
  3221225583: 'the account may not sign in at this hour',
  3221225585: 'the password has expired',
  3221225586: 'the account is disabled',
  3221225875: 'the account has expired',
  3221226020: 'the password must be changed first',
  3221226036: 'the account is locked',
  2148074252: 'the user name or password is wrong',
};

/** Decodes the TSRequest at the start of `bytes`; undefined while bytes are missing. @throws {DecodeError} */
export function decodeTsRequest(bytes: Buffer): { readonly request: TsRequest; readonly length: number } | undefined {
  if (bytes.length > 0 && bytes[0] !== DER_SEQUENCE) throw new DecodeError('CredSSP: not a TSRequest');
  const header = decodeDerHeader(bytes, 0);
  if (header === undefined) return undefined;
  if (header.end > MAX_REQUEST_BYTES) throw new DecodeError('CredSSP: TSRequest is too long');
  if (header.end > bytes.length) return undefined;
  const request: { -readonly [K in keyof TsRequest]: TsRequest[K] } = { version: 0 };
  const octets = (body: Buffer) => Buffer.from(expectDer(body, 0, DER_OCTET_STRING).body);
  for (const field of decodeDerElements(bytes.subarray(header.bodyStart, header.end), 8)) {
    switch (field.tag) {
      case 0xa0:
        request.version = derUnsigned(expectDer(field.body, 0, DER_INTEGER).body);
        break;
      case 0xa1: {
        const list = expectDer(field.body, 0, DER_SEQUENCE).body;
        const first = expectDer(list, 0, DER_SEQUENCE).body;
        request.negoToken = octets(expectDer(first, 0, 0xa0).body);
        break;
      }
      case 0xa2:
        request.authInfo = octets(field.body);
        break;
      case 0xa3:
        request.pubKeyAuth = octets(field.body);
        break;
      case 0xa4:
        // An NTSTATUS has its top bit set: as an INTEGER it is negative, in four octets.
        request.errorCode = Number(BigInt.asUintN(32, signed(expectDer(field.body, 0, DER_INTEGER).body)));
        break;
      case 0xa5:
        request.clientNonce = octets(field.body);
        break;
      default:
        throw new DecodeError(`CredSSP: field 0x${field.tag.toString(16)}`);
    }
  }
  return { request, length: header.end };
}

function signed(body: Buffer): bigint {
  if (body.length === 0 || body.length > 8) throw new DecodeError('CredSSP: error code out of range');
  return BigInt.asIntN(8 * body.length, BigInt(`0x${body.toString('hex')}`));
}

/** Encodes a TSRequest. */
export function encodeTsRequest(request: TsRequest): Buffer {
  const octets = (data: Buffer) => encodeDer(DER_OCTET_STRING, data);
  const fields = [encodeDerExplicit(0, encodeDerUnsigned(request.version))];
  if (request.negoToken !== undefined) {
    const item = encodeDer(DER_SEQUENCE, encodeDerExplicit(0, octets(request.negoToken)));
    fields.push(encodeDerExplicit(1, encodeDer(DER_SEQUENCE, item)));
  }
  if (request.authInfo !== undefined) fields.push(encodeDerExplicit(2, octets(request.authInfo)));
  if (request.pubKeyAuth !== undefined) fields.push(encodeDerExplicit(3, octets(request.pubKeyAuth)));
  if (request.errorCode !== undefined) fields.push(encodeDerExplicit(4, encodeDerUnsigned(request.errorCode)));
  if (request.clientNonce !== undefined) fields.push(encodeDerExplicit(5, octets(request.clientNonce)));
  return encodeDer(DER_SEQUENCE, ...fields);
}

export interface CredSspOptions {
  readonly credentials: NtlmCredentials;
  /** `TERMSRV/host`. */
  readonly service: string;
  /** SubjectPublicKeyInfo of the server's TLS certificate, DER. */
  readonly publicKeyInfo: Buffer;
  readonly entropy: NtlmEntropy & {
    /** 32 bytes. */
    readonly nonce: Buffer;
  };
}

/**
 * The client's side as a generator without IO: yields what to send and is given the server's answer; returns the last message,
 * which has none.
 *
 * INVARIANT: the credentials are sent only after the server has proved that it knows the session key and ends this very TLS.
 * @throws {CredSspRefusal|DecodeError}
 */
export function* credSspClient(options: CredSspOptions): Generator<Buffer, Buffer, TsRequest> {
  const { credentials, service, entropy } = options;
  const negotiate = encodeNtlmNegotiate();
  const first = accepted(yield encodeTsRequest({ version: OUR_VERSION, negoToken: negotiate }));
  if (first.negoToken === undefined) throw new DecodeError('CredSSP: no NTLM challenge');
  const version = Math.min(OUR_VERSION, first.version);
  if (version < 2) throw new DecodeError(`CredSSP: version ${first.version}`);
  const { message, security } = answerNtlmChallenge(negotiate, first.negoToken, credentials, service, entropy);

  const key = subjectPublicKey(options.publicKeyInfo);
  const hashed = version >= 5;
  const binding = (direction: 'Client-To-Server' | 'Server-To-Client') =>
    createHash('sha256')
      .update(`CredSSP ${direction} Binding Hash\0`, 'latin1')
      .update(entropy.nonce)
      .update(key)
      .digest();
  const second = accepted(
    yield encodeTsRequest({
      version: OUR_VERSION,
      negoToken: message,
      pubKeyAuth: security.seal(hashed ? binding('Client-To-Server') : key),
      ...(hashed ? { clientNonce: entropy.nonce } : {}),
    }),
  );
  if (second.pubKeyAuth === undefined) throw new DecodeError('CredSSP: the server does not prove its key');
  const proof = security.unseal(second.pubKeyAuth);
  const expected = hashed ? binding('Server-To-Client') : incremented(key);
  if (proof.length !== expected.length || !timingSafeEqual(proof, expected)) {
    throw new DecodeError('CredSSP: the server proves another key');
  }
  return encodeTsRequest({ version: OUR_VERSION, authInfo: security.seal(encodePasswordCredentials(credentials)) });
}

function accepted(request: TsRequest): TsRequest {
  if (request.errorCode !== undefined && request.errorCode !== 0) throw new CredSspRefusal(request.errorCode);
  return request;
}

/** The first byte plus one: how versions before 5 answer (MS-CSSP 3.1.5). */
function incremented(key: Buffer): Buffer {
  const out = Buffer.from(key);
  out[0] = (out[0]! + 1) & 0xff;
  return out;
}

/** Contents of the BIT STRING in a SubjectPublicKeyInfo (RFC 5280, 4.1). */
function subjectPublicKey(info: Buffer): Buffer {
  const outer = expectDer(info, 0, DER_SEQUENCE).body;
  const algorithm = expectDer(outer, 0, DER_SEQUENCE);
  return expectDer(outer, algorithm.end, DER_BIT_STRING).body.subarray(1);
}

/** TSCredentials with TSPasswordCreds (MS-CSSP 2.2.1.2). */
function encodePasswordCredentials({ domain, username, password }: NtlmCredentials): Buffer {
  const text = (value: string) => encodeDer(DER_OCTET_STRING, Buffer.from(value, 'utf16le'));
  const creds = encodeDer(
    DER_SEQUENCE,
    encodeDerExplicit(0, text(domain)),
    encodeDerExplicit(1, text(username)),
    encodeDerExplicit(2, text(password.reveal())),
  );
  return encodeDer(
    DER_SEQUENCE,
    encodeDerExplicit(0, encodeDerUnsigned(1)),
    encodeDerExplicit(1, encodeDer(DER_OCTET_STRING, creds)),
  );
}
