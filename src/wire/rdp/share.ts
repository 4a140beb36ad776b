import { DecodeError } from '../../core/errors.ts';
import { encodeSendDataIndication } from './mcs.ts';

/** Data PDUs that a relay acts on (MS-RDPBCGR 2.2.8.1.1.1.2, pduType2). */
export const PDUTYPE2_INPUT = 28;
export const PDUTYPE2_FONTMAP = 40;
export const PDUTYPE2_SET_ERROR_INFO = 47;

const PDUTYPE_DEMAND_ACTIVE = 1;
const PDUTYPE_CONFIRM_ACTIVE = 3;
const PDUTYPE_DEACTIVATE_ALL = 6;
const PDUTYPE_DATA = 7;
const PROTOCOL_VERSION = 0x10;
const SHARE_DATA_HEADER = 18;

/** A PDU on the IO channel once licensing is over. */
export type SharePdu =
  | { readonly type: 'demand-active'; readonly shareId: number }
  | { readonly type: 'confirm-active' }
  | { readonly type: 'deactivate-all' }
  | { readonly type: 'data'; readonly pduType2: number; readonly compressed: boolean; readonly body: Buffer }
  | { readonly type: 'other' };

/**
 * Decodes the share control header (MS-RDPBCGR 2.2.8.1.1.1.1). What is none (a licensing PDU, a flow PDU) is `other`: this
 * channel carries both, and nothing but the header tells them apart.
 */
export function decodeSharePdu(data: Buffer): SharePdu {
  if (data.length < 6) return { type: 'other' };
  const pduType = data.readUInt16LE(2);
  // Licensing PDUs begin with flags and a message type whose second word is 0 or above this range.
  if ((pduType & 0xfff0) !== PROTOCOL_VERSION) return { type: 'other' };
  switch (pduType & 0x0f) {
    case PDUTYPE_DEMAND_ACTIVE:
      if (data.length < 10) throw new DecodeError('Demand Active is cut short');
      return { type: 'demand-active', shareId: data.readUInt32LE(6) };
    case PDUTYPE_CONFIRM_ACTIVE:
      return { type: 'confirm-active' };
    case PDUTYPE_DEACTIVATE_ALL:
      return { type: 'deactivate-all' };
    case PDUTYPE_DATA:
      if (data.length < SHARE_DATA_HEADER) throw new DecodeError('share data header is cut short');
      return {
        type: 'data',
        pduType2: data[14]!,
        compressed: (data[15]! & 0x20) !== 0,
        body: data.subarray(SHARE_DATA_HEADER),
      };
    default:
      return { type: 'other' };
  }
}

/** Error info codes that tell a client why its session ends (MS-RDPBCGR 2.2.5.1.1). */
export const ERRINFO_RPC_INITIATED_DISCONNECT = 1;
export const ERRINFO_IDLE_TIMEOUT = 3;
export const ERRINFO_LOGON_TIMEOUT = 4;
export const ERRINFO_SERVER_DENIED_CONNECTION = 7;

/** Encodes a Set Error Info PDU (MS-RDPBCGR 2.2.5.1) as the server would send it, in its TPKT. */
export function encodeSetErrorInfo(ioChannelId: number, shareId: number, errorInfo: number): Buffer {
  const pdu = Buffer.alloc(SHARE_DATA_HEADER + 4);
  pdu.writeUInt16LE(pdu.length, 0);
  pdu.writeUInt16LE(PROTOCOL_VERSION | PDUTYPE_DATA, 2);
  pdu.writeUInt16LE(1002, 4);
  pdu.writeUInt32LE(shareId, 6);
  pdu.writeUInt8(1, 11);
  pdu.writeUInt16LE(4, 12);
  pdu.writeUInt8(PDUTYPE2_SET_ERROR_INFO, 14);
  pdu.writeUInt32LE(errorInfo, SHARE_DATA_HEADER);
  return encodeSendDataIndication(ioChannelId, pdu);
}

/** The code in the body of a Set Error Info PDU. */
export function decodeSetErrorInfo(body: Buffer): number {
  if (body.length < 4) throw new DecodeError('Set Error Info is cut short');
  return body.readUInt32LE(0);
}
