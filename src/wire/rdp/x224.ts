import { DecodeError } from '../../core/errors.ts';

/** Security protocols of RDP_NEG_REQ and RDP_NEG_RSP (MS-RDPBCGR 2.2.1.1.1). */
export const PROTOCOL_SSL = 1;
export const PROTOCOL_HYBRID = 2;

const TYPE_RDP_NEG_RSP = 2;
const TYPE_RDP_NEG_FAILURE = 3;

/** Why a server refuses the protocols offered (MS-RDPBCGR 2.2.1.2.2). */
export const NEGOTIATION_FAILURES: Readonly<Record<number, string>> = {
  1: 'the server requires TLS',
  2: 'the server does not offer TLS',
  3: 'the server has no certificate',
  4: 'the server offers other protocols only',
  5: 'the server requires network level authentication',
  6: 'the server requires TLS with a certificate of the client',
};

export type NegotiationAnswer =
  | { readonly kind: 'selected'; readonly protocol: number }
  | { readonly kind: 'failure'; readonly code: number };

/** Encodes an X.224 Connection Request with the routing cookie and the protocols offered (MS-RDPBCGR 2.2.1.1). */
export function encodeX224ConnectionRequest(login: string, protocols: number): Buffer {
  // The cookie is ASCII and ends at CR LF: anything else in a login must not reach it.
  const name = login.replace(/[^\x21-\x7e]/g, '').slice(0, 32);
  const cookie = Buffer.from(name === '' ? '' : `Cookie: mstshash=${name}\r\n`, 'latin1');
  const out = Buffer.alloc(11 + cookie.length + 8);
  out.writeUInt8(3, 0);
  out.writeUInt16BE(out.length, 2);
  out.writeUInt8(out.length - 5, 4);
  out.writeUInt8(0xe0, 5);
  cookie.copy(out, 11);
  const request = 11 + cookie.length;
  out.writeUInt8(1, request);
  out.writeUInt16LE(8, request + 2);
  out.writeUInt32LE(protocols, request + 4);
  return out;
}

/**
 * Decodes an X.224 Connection Confirm with its TPKT header (MS-RDPBCGR 2.2.1.2). An answer without RDP_NEG_RSP means
 * standard RDP security: protocol 0.
 */
export function decodeX224ConnectionConfirm(frame: Buffer): NegotiationAnswer {
  if (frame.length < 11 || (frame[5]! & 0xf0) !== 0xd0) throw new DecodeError('not an X.224 Connection Confirm');
  if (frame.length < 19) return { kind: 'selected', protocol: 0 };
  const value = frame.readUInt32LE(15);
  if (frame[11] === TYPE_RDP_NEG_RSP) return { kind: 'selected', protocol: value };
  if (frame[11] === TYPE_RDP_NEG_FAILURE) return { kind: 'failure', code: value };
  throw new DecodeError(`X.224 Connection Confirm with negotiation type ${frame[11]}`);
}

/** Encodes an X.224 Connection Confirm that selects `protocol`, keeping the server's own RDP_NEG_RSP `flags`. */
export function encodeX224ConnectionConfirm(protocol: number, flags: number): Buffer {
  const out = Buffer.from([3, 0, 0, 19, 14, 0xd0, 0, 0, 0, 0, 0, TYPE_RDP_NEG_RSP, flags, 8, 0, 0, 0, 0, 0]);
  out.writeUInt32LE(protocol, 15);
  return out;
}

/** The `flags` of RDP_NEG_RSP (EXTENDED_CLIENT_DATA_SUPPORTED and others); 0 where there is none. */
export function x224ResponseFlags(frame: Buffer): number {
  return frame.length >= 19 && frame[11] === TYPE_RDP_NEG_RSP ? frame[12]! : 0;
}
