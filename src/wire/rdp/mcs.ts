import { DecodeError } from '../../core/errors.ts';

/** Channel of the server's own data in T.125: initiator of what a server sends. */
const SERVER_USER_ID = 1002;
const USER_ID_BASE = 1001;
const DATA_HEADER = [2, 0xf0, 0x80];

/** One MCS PDU (T.125) inside TPKT and X.224 Data, as far as a relay has to know it. */
export type McsPdu =
  | { readonly type: 'connect-initial' | 'connect-response'; readonly body: Buffer }
  | {
      readonly type: 'send-data-request' | 'send-data-indication';
      readonly initiator: number;
      readonly channelId: number;
      /** Payload: a view on the frame. */
      readonly data: Buffer;
    }
  | { readonly type: 'disconnect-provider-ultimatum'; readonly reason: number }
  | { readonly type: 'erect-domain' | 'attach-user-request' | 'channel-join-request' }
  | { readonly type: 'x224-disconnect' }
  | { readonly type: 'other'; readonly choice: number };

/** Decodes the MCS PDU in a TPKT frame. @throws {DecodeError} */
export function decodeMcsPdu(frame: Buffer): McsPdu {
  if (frame.length < 8) {
    if (frame.length >= 6 && (frame[5]! & 0xf0) === 0x80) return { type: 'x224-disconnect' };
    throw new DecodeError('TPKT holds no MCS PDU');
  }
  if ((frame[5]! & 0xf0) === 0x80) return { type: 'x224-disconnect' };
  if (frame[4] !== DATA_HEADER[0] || frame[5] !== DATA_HEADER[1] || frame[6] !== DATA_HEADER[2]) {
    throw new DecodeError(`X.224 TPDU 0x${frame[5]!.toString(16)} where Data belongs`);
  }
  const first = frame[7]!;
  if (first === 0x7f) {
    const tag = frame[8];
    if (tag === 0x65) return { type: 'connect-initial', body: frame.subarray(7) };
    if (tag === 0x66) return { type: 'connect-response', body: frame.subarray(7) };
    throw new DecodeError('MCS connect PDU of an unknown type');
  }
  const choice = first >> 2;
  switch (choice) {
    case 1:
      return { type: 'erect-domain' };
    case 8:
      return { type: 'disconnect-provider-ultimatum', reason: ((first & 3) << 1) | ((frame[8] ?? 0) >> 7) };
    case 10:
      return { type: 'attach-user-request' };
    case 14:
      return { type: 'channel-join-request' };
    case 25:
      return decodeSendData('send-data-request', frame);
    case 26:
      return decodeSendData('send-data-indication', frame);
    default:
      return { type: 'other', choice };
  }
}

function decodeSendData(type: 'send-data-request' | 'send-data-indication', frame: Buffer): McsPdu {
  if (frame.length < 14) throw new DecodeError('MCS Send Data is cut short');
  const length = decodePerLength(frame, 13);
  if (length.offset + length.value !== frame.length) {
    throw new DecodeError('MCS Send Data: length does not match its frame');
  }
  return {
    type,
    initiator: frame.readUInt16BE(8) + USER_ID_BASE,
    channelId: frame.readUInt16BE(10),
    data: frame.subarray(length.offset),
  };
}

/** A PER length determinant of one or two octets (X.691, 10.9). */
export function decodePerLength(bytes: Buffer, offset: number): { readonly value: number; readonly offset: number } {
  if (offset >= bytes.length) throw new DecodeError('PER length is missing');
  const first = bytes[offset]!;
  if (first < 0x80) return { value: first, offset: offset + 1 };
  if (first >= 0xc0 || offset + 1 >= bytes.length) throw new DecodeError('PER length of an unsupported form');
  return { value: ((first & 0x3f) << 8) | bytes[offset + 1]!, offset: offset + 2 };
}

/** Encodes a TPKT with an MCS Send Data Request; `initiator` is the client's user id. */
export function encodeSendDataRequest(initiator: number, channelId: number, data: Uint8Array): Buffer {
  return encodeSendData(25, initiator, channelId, data);
}

/** Encodes a TPKT with an MCS Send Data Indication, as the server sends it. */
export function encodeSendDataIndication(channelId: number, data: Uint8Array): Buffer {
  return encodeSendData(26, SERVER_USER_ID, channelId, data);
}

function encodeSendData(choice: number, initiator: number, channelId: number, data: Uint8Array): Buffer {
  if (data.length > 0x3fff) throw new RangeError('MCS Send Data carries at most 16383 bytes');
  const long = data.length >= 0x80;
  const out = Buffer.alloc((long ? 15 : 14) + data.length);
  out.writeUInt8(3, 0);
  out.writeUInt16BE(out.length, 2);
  out.set(DATA_HEADER, 4);
  out.writeUInt8(choice << 2, 7);
  out.writeUInt16BE(initiator - USER_ID_BASE, 8);
  out.writeUInt16BE(channelId, 10);
  // High priority, one segment that is both first and last.
  out.writeUInt8(0x70, 12);
  if (long) out.writeUInt16BE(0x8000 | data.length, 13);
  else out.writeUInt8(data.length, 13);
  out.set(data, long ? 15 : 14);
  return out;
}

/** Why a provider disconnects (T.125, `Reason`): rn-provider-initiated. */
export const REASON_PROVIDER_INITIATED = 1;

/** Encodes an MCS Disconnect Provider Ultimatum (MS-RDPBCGR 2.2.2.3). */
export function encodeDisconnectProviderUltimatum(reason: number): Buffer {
  return Buffer.from([3, 0, 0, 9, ...DATA_HEADER, 0x20 | (reason >> 1), (reason & 1) << 7]);
}
