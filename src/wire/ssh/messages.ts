import { DecodeError } from '../../core/errors.ts';
import { SshReader, SshWriter } from './buffer.ts';

/** Message numbers (RFC 4250 section 4.1.2; 30 and 31 are those of every key exchange method used here). */
export const MSG = {
  DISCONNECT: 1,
  IGNORE: 2,
  UNIMPLEMENTED: 3,
  DEBUG: 4,
  SERVICE_REQUEST: 5,
  SERVICE_ACCEPT: 6,
  EXT_INFO: 7,
  KEXINIT: 20,
  NEWKEYS: 21,
  KEX_INIT: 30,
  KEX_REPLY: 31,
  USERAUTH_REQUEST: 50,
  USERAUTH_FAILURE: 51,
  USERAUTH_SUCCESS: 52,
  USERAUTH_BANNER: 53,
  USERAUTH_PK_OK: 60,
  GLOBAL_REQUEST: 80,
  REQUEST_SUCCESS: 81,
  REQUEST_FAILURE: 82,
  CHANNEL_OPEN: 90,
  CHANNEL_OPEN_CONFIRMATION: 91,
  CHANNEL_OPEN_FAILURE: 92,
  CHANNEL_WINDOW_ADJUST: 93,
  CHANNEL_DATA: 94,
  CHANNEL_EXTENDED_DATA: 95,
  CHANNEL_EOF: 96,
  CHANNEL_CLOSE: 97,
  CHANNEL_REQUEST: 98,
  CHANNEL_SUCCESS: 99,
  CHANNEL_FAILURE: 100,
} as const;

/** Reasons of SSH_MSG_DISCONNECT that are used (RFC 4253 section 11.1). */
export const DISCONNECT = {
  PROTOCOL_ERROR: 2,
  KEY_EXCHANGE_FAILED: 3,
  MAC_ERROR: 5,
  SERVICE_NOT_AVAILABLE: 7,
  HOST_KEY_NOT_VERIFIABLE: 9,
  BY_APPLICATION: 11,
  TOO_MANY_CONNECTIONS: 12,
  NO_MORE_AUTH_METHODS: 14,
} as const;

/** Reasons of SSH_MSG_CHANNEL_OPEN_FAILURE (RFC 4254 section 5.1). */
export const OPEN_FAILURE = {
  ADMINISTRATIVELY_PROHIBITED: 1,
  CONNECT_FAILED: 2,
  UNKNOWN_CHANNEL_TYPE: 3,
  RESOURCE_SHORTAGE: 4,
} as const;

/** `data_type_code` of standard error (RFC 4254 section 5.2). */
export const EXTENDED_DATA_STDERR = 1;

/** Longest request, channel type or service name that is read, in bytes. */
const MAX_NAME = 256;
/** Longest description shown to people, in bytes. */
const MAX_DESCRIPTION = 4096;

/** RFC 4253 section 11.1. */
export function encodeDisconnect(reason: number, description: string): Buffer {
  return new SshWriter().byte(MSG.DISCONNECT).uint32(reason).string(description).string('').finish();
}

export function decodeDisconnect(packet: Uint8Array): { reason: number; description: string } {
  const reader = new SshReader(packet, 1);
  const reason = reader.uint32();
  // The language tag is left out by some; text that is not UTF-8 is shown as well as possible.
  const description = reader.remaining > 0 ? reader.string(MAX_DESCRIPTION).toString('utf8') : '';
  return { reason, description };
}

/** RFC 4254 section 4. `data` stays undecoded. */
export interface GlobalRequest {
  readonly name: string;
  readonly wantReply: boolean;
  readonly data: Buffer;
}

export function decodeGlobalRequest(packet: Uint8Array): GlobalRequest {
  const reader = new SshReader(packet, 1);
  return { name: reader.name(MAX_NAME), wantReply: reader.boolean(), data: reader.rest() };
}

export function encodeGlobalRequest(name: string, wantReply: boolean, data: Uint8Array = new Uint8Array(0)): Buffer {
  return new SshWriter().byte(MSG.GLOBAL_REQUEST).string(name).boolean(wantReply).bytes(data).finish();
}

/** RFC 4254 section 5.1. */
export interface ChannelOpen {
  readonly type: string;
  /** The sender's number of the channel. */
  readonly sender: number;
  readonly window: number;
  readonly maxPacket: number;
  readonly data: Buffer;
  /** Where the window stands in the packet, for rewriting; the maximum packet size follows it. */
  readonly windowOffset: number;
}

export function decodeChannelOpen(packet: Uint8Array): ChannelOpen {
  const reader = new SshReader(packet, 1);
  const type = reader.name(MAX_NAME);
  const sender = reader.uint32();
  const windowOffset = reader.offset;
  return { type, sender, windowOffset, window: reader.uint32(), maxPacket: reader.uint32(), data: reader.rest() };
}

export function encodeChannelOpen(
  type: string,
  sender: number,
  window: number,
  maxPacket: number,
  data: Uint8Array = new Uint8Array(0),
): Buffer {
  return new SshWriter()
    .byte(MSG.CHANNEL_OPEN)
    .string(type)
    .uint32(sender)
    .uint32(window)
    .uint32(maxPacket)
    .bytes(data)
    .finish();
}

/** Offset of the window in SSH_MSG_CHANNEL_OPEN_CONFIRMATION. */
export const CONFIRMATION_WINDOW_OFFSET = 9;

export interface ChannelOpenConfirmation {
  readonly recipient: number;
  readonly sender: number;
  readonly window: number;
  readonly maxPacket: number;
}

export function decodeChannelOpenConfirmation(packet: Uint8Array): ChannelOpenConfirmation {
  const reader = new SshReader(packet, 1);
  return {
    recipient: reader.uint32(),
    sender: reader.uint32(),
    window: reader.uint32(),
    maxPacket: reader.uint32(),
  };
}

export function encodeChannelOpenConfirmation(open: ChannelOpenConfirmation): Buffer {
  return new SshWriter(17)
    .byte(MSG.CHANNEL_OPEN_CONFIRMATION)
    .uint32(open.recipient)
    .uint32(open.sender)
    .uint32(open.window)
    .uint32(open.maxPacket)
    .finish();
}

export function encodeChannelOpenFailure(recipient: number, reason: number, description: string): Buffer {
  return new SshWriter()
    .byte(MSG.CHANNEL_OPEN_FAILURE)
    .uint32(recipient)
    .uint32(reason)
    .string(description)
    .string('')
    .finish();
}

/** RFC 4254 section 5.4. */
export interface ChannelRequest {
  readonly recipient: number;
  readonly name: string;
  readonly wantReply: boolean;
  readonly data: Buffer;
}

export function decodeChannelRequest(packet: Uint8Array): ChannelRequest {
  const reader = new SshReader(packet, 1);
  return {
    recipient: reader.uint32(),
    name: reader.name(MAX_NAME),
    wantReply: reader.boolean(),
    data: reader.rest(),
  };
}

export function encodeChannelRequest(
  recipient: number,
  name: string,
  wantReply: boolean,
  data: Uint8Array = new Uint8Array(0),
): Buffer {
  return new SshWriter(64)
    .byte(MSG.CHANNEL_REQUEST)
    .uint32(recipient)
    .string(name)
    .boolean(wantReply)
    .bytes(data)
    .finish();
}

/** The number every channel message begins with: that of the recipient's side (RFC 4254 section 5). */
export function recipientChannel(packet: Uint8Array): number {
  if (packet.length < 5) throw new DecodeError('a channel message ends before its channel number');
  return ((packet[1]! << 24) | (packet[2]! << 16) | (packet[3]! << 8) | packet[4]!) >>> 0;
}

/** SSH_MSG_CHANNEL_EOF, _CLOSE, _SUCCESS and _FAILURE: nothing but the channel's number. */
export function encodeChannelMessage(type: number, recipient: number): Buffer {
  return new SshWriter(5).byte(type).uint32(recipient).finish();
}

export function encodeWindowAdjust(recipient: number, bytes: number): Buffer {
  return new SshWriter(9).byte(MSG.CHANNEL_WINDOW_ADJUST).uint32(recipient).uint32(bytes).finish();
}

/** Bytes to add of SSH_MSG_CHANNEL_WINDOW_ADJUST. */
export function decodeWindowAdjust(packet: Uint8Array): number {
  const reader = new SshReader(packet, 5);
  return reader.uint32();
}

/** The data of SSH_MSG_CHANNEL_DATA: a view. */
export function decodeChannelData(packet: Uint8Array): Buffer {
  const reader = new SshReader(packet, 5);
  const data = reader.string();
  reader.end();
  return data;
}

/** The data of SSH_MSG_CHANNEL_EXTENDED_DATA: a view. */
export function decodeChannelExtendedData(packet: Uint8Array): { type: number; data: Buffer } {
  const reader = new SshReader(packet, 5);
  const type = reader.uint32();
  const data = reader.string();
  reader.end();
  return { type, data };
}

export function encodeChannelData(recipient: number, data: Uint8Array): Buffer {
  const packet = Buffer.allocUnsafe(9 + data.length);
  packet[0] = MSG.CHANNEL_DATA;
  packet.writeUInt32BE(recipient, 1);
  packet.writeUInt32BE(data.length, 5);
  packet.set(data, 9);
  return packet;
}

export function encodeChannelExtendedData(recipient: number, type: number, data: Uint8Array): Buffer {
  const packet = Buffer.allocUnsafe(13 + data.length);
  packet[0] = MSG.CHANNEL_EXTENDED_DATA;
  packet.writeUInt32BE(recipient, 1);
  packet.writeUInt32BE(type, 5);
  packet.writeUInt32BE(data.length, 9);
  packet.set(data, 13);
  return packet;
}

/** Where a forwarded connection goes, and who asks for it (RFC 4254 sections 7.1 and 7.2; `host` may be an address or a name). */
export interface ForwardedConnection {
  readonly host: string;
  readonly port: number;
  readonly originHost: string;
  readonly originPort: number;
}

/** Data of a `direct-tcpip` or `forwarded-tcpip` channel. */
export function decodeForwardedConnection(data: Uint8Array): ForwardedConnection {
  const reader = new SshReader(data);
  return {
    host: reader.utf8(1024),
    port: reader.uint32(),
    originHost: reader.utf8(1024),
    originPort: reader.uint32(),
  };
}

export function encodeForwardedConnection(connection: ForwardedConnection): Buffer {
  return new SshWriter()
    .string(connection.host)
    .uint32(connection.port)
    .string(connection.originHost)
    .uint32(connection.originPort)
    .finish();
}

/** Address and port of `tcpip-forward` and `cancel-tcpip-forward`. */
export function decodeForwardAddress(data: Uint8Array): { host: string; port: number } {
  const reader = new SshReader(data);
  return { host: reader.utf8(1024), port: reader.uint32() };
}

/** RFC 4254 section 6.2; `modes` as they stand there (section 8). */
export interface PtyRequest {
  readonly term: string;
  readonly columns: number;
  readonly rows: number;
  readonly widthPx: number;
  readonly heightPx: number;
  readonly modes: Buffer;
}

export function decodePtyRequest(data: Uint8Array): PtyRequest {
  const reader = new SshReader(data);
  return {
    term: reader.utf8(256),
    columns: reader.uint32(),
    rows: reader.uint32(),
    widthPx: reader.uint32(),
    heightPx: reader.uint32(),
    modes: reader.string(4096),
  };
}
