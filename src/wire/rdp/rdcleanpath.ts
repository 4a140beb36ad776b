import { DecodeError } from '../../core/errors.ts';
import {
  DER_INTEGER,
  DER_OCTET_STRING,
  DER_SEQUENCE,
  DER_UTF8_STRING,
  decodeDerElement,
  decodeDerElements,
  decodeDerHeader,
  derUnsigned,
  encodeDer,
  encodeDerExplicit,
  encodeDerUnsigned,
  expectDer,
} from './der.ts';

/**
 * RDCleanPath: how IronRDP in a browser asks a proxy to open an RDP server's TLS connection for it, and gets clear RDP
 * back. DER with explicit tags; the reference is IronRDP's `ironrdp-rdcleanpath` crate. Version 1 carries the number 3390.
 */
const VERSION_1 = 3390;

/** A request is a few hundred bytes; more than this is no client of ours. */
export const RDCLEANPATH_MAX_BYTES = 16 * 1024;

export interface RdCleanPathRequest {
  /** Where the client believes it is going, `host:port`. */
  readonly destination: string;
  readonly proxyAuth: string;
  /** The client's X.224 Connection Request, with its TPKT header. */
  readonly x224: Buffer;
}

export interface RdCleanPathResponse {
  /** The X.224 Connection Confirm the client shall see. */
  readonly x224: Buffer;
  /** DER certificates of the server, leaf first. */
  readonly certChain: readonly Buffer[];
  readonly serverAddr: string;
}

/** What the page can show of a failed connection: `general` with at most one detail, or `negotiation` with the server's own answer. */
export type RdCleanPathError =
  | { readonly kind: 'general'; readonly httpStatus?: number; readonly wsaError?: number; readonly tlsAlert?: number }
  | { readonly kind: 'negotiation'; readonly x224: Buffer };

/**
 * Decodes the request at the start of `bytes`. Returns undefined while bytes are missing; `length` is what it took.
 * @throws {DecodeError}
 */
export function decodeRdCleanPathRequest(
  bytes: Buffer,
): { readonly request: RdCleanPathRequest; readonly length: number } | undefined {
  if (bytes.length > 0 && bytes[0] !== DER_SEQUENCE) throw new DecodeError('RDCleanPath: not a SEQUENCE');
  const header = decodeDerHeader(bytes, 0);
  if (header === undefined) return undefined;
  if (header.end > RDCLEANPATH_MAX_BYTES) throw new DecodeError('RDCleanPath: request is too long');
  if (header.end > bytes.length) return undefined;

  let version: number | undefined;
  let destination: string | undefined;
  let proxyAuth: string | undefined;
  let x224: Buffer | undefined;
  for (const field of decodeDerElements(bytes.subarray(header.bodyStart, header.end), 16)) {
    if ((field.tag & 0xe0) !== 0xa0) throw new DecodeError('RDCleanPath: field without a context tag');
    switch (field.tag & 0x1f) {
      case 0:
        version = derUnsigned(expectDer(field.body, 0, DER_INTEGER).body);
        break;
      case 2:
        destination = expectDer(field.body, 0, DER_UTF8_STRING).body.toString('utf8');
        break;
      case 3:
        proxyAuth = expectDer(field.body, 0, DER_UTF8_STRING).body.toString('utf8');
        break;
      case 6:
        x224 = Buffer.from(expectDer(field.body, 0, DER_OCTET_STRING).body);
        break;
      default:
        decodeDerElement(field.body);
    }
  }
  if (version !== VERSION_1) throw new DecodeError(`RDCleanPath: version ${version ?? 'missing'}`);
  if (destination === undefined || x224 === undefined) throw new DecodeError('RDCleanPath: not a request');
  return { request: { destination, proxyAuth: proxyAuth ?? '', x224 }, length: header.end };
}

/** Encodes a request, as IronRDP does (for raw clients in tests and benches). */
export function encodeRdCleanPathRequest(request: RdCleanPathRequest): Buffer {
  return encodeDer(
    DER_SEQUENCE,
    encodeDerExplicit(0, encodeDerUnsigned(VERSION_1)),
    encodeDerExplicit(2, encodeDer(DER_UTF8_STRING, Buffer.from(request.destination))),
    encodeDerExplicit(3, encodeDer(DER_UTF8_STRING, Buffer.from(request.proxyAuth))),
    encodeDerExplicit(6, encodeDer(DER_OCTET_STRING, request.x224)),
  );
}

/** Encodes the answer that hands the connection over to the client. */
export function encodeRdCleanPathResponse(response: RdCleanPathResponse): Buffer {
  const chain = response.certChain.map((certificate) => encodeDer(DER_OCTET_STRING, certificate));
  return encodeDer(
    DER_SEQUENCE,
    encodeDerExplicit(0, encodeDerUnsigned(VERSION_1)),
    encodeDerExplicit(6, encodeDer(DER_OCTET_STRING, response.x224)),
    encodeDerExplicit(7, encodeDer(DER_SEQUENCE, ...chain)),
    encodeDerExplicit(9, encodeDer(DER_UTF8_STRING, Buffer.from(response.serverAddr))),
  );
}

/** Encodes a refusal. */
export function encodeRdCleanPathError(error: RdCleanPathError): Buffer {
  const fields = [encodeDerExplicit(0, encodeDerUnsigned(error.kind === 'general' ? 1 : 2))];
  if (error.kind === 'general') {
    if (error.httpStatus !== undefined) fields.push(encodeDerExplicit(1, encodeDerUnsigned(error.httpStatus)));
    if (error.wsaError !== undefined) fields.push(encodeDerExplicit(2, encodeDerUnsigned(error.wsaError)));
    if (error.tlsAlert !== undefined) fields.push(encodeDerExplicit(3, encodeDerUnsigned(error.tlsAlert)));
  }
  const parts = [
    encodeDerExplicit(0, encodeDerUnsigned(VERSION_1)),
    encodeDerExplicit(1, encodeDer(DER_SEQUENCE, ...fields)),
  ];
  if (error.kind === 'negotiation') parts.push(encodeDerExplicit(6, encodeDer(DER_OCTET_STRING, error.x224)));
  return encodeDer(DER_SEQUENCE, ...parts);
}
