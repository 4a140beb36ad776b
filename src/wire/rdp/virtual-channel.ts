import { DecodeError } from '../../core/errors.ts';

/** Flags of the channel PDU header (MS-RDPBCGR 2.2.6.1.1). */
const CHANNEL_FLAG_FIRST = 0x01;
const PACKET_COMPRESSED = 0x0020_0000;
const CHUNK_HEADER = 8;

/** Clipboard messages (MS-RDPECLIP 2.2.1, msgType) that matter to policy and audit. */
export const CB_FORMAT_DATA_RESPONSE = 5;
export const CB_FILECONTENTS_RESPONSE = 9;
const CB_RESPONSE_OK = 0x0001;

/** The first chunk of a clipboard message. */
export interface ClipboardMessage {
  readonly msgType: number;
  readonly ok: boolean;
  /** Bytes of the message's data, all chunks together. */
  readonly dataLength: number;
}

/**
 * Decodes what begins in one chunk of the `cliprdr` channel; undefined for a chunk that goes on with a message, or whose
 * contents are compressed (MS-RDPECLIP 2.2.1). @throws {DecodeError}
 */
export function decodeClipboardChunk(data: Buffer): ClipboardMessage | undefined {
  const flags = chunkFlags(data);
  if ((flags & CHANNEL_FLAG_FIRST) === 0 || (flags & PACKET_COMPRESSED) !== 0) return undefined;
  if (data.length < CHUNK_HEADER + 8) throw new DecodeError('clipboard message is cut short');
  return {
    msgType: data.readUInt16LE(CHUNK_HEADER),
    ok: (data.readUInt16LE(CHUNK_HEADER + 2) & CB_RESPONSE_OK) !== 0,
    dataLength: data.readUInt32LE(CHUNK_HEADER + 4),
  };
}

/** A message of the `drdynvc` channel (MS-RDPEDYC 2.2), as far as a relay looks: what channels the server opens, and which one data is for. */
export type DynamicChannelMessage =
  | { readonly type: 'create'; readonly channelId: number; readonly name: string }
  | { readonly type: 'data'; readonly channelId: number; readonly data: Buffer }
  | { readonly type: 'close'; readonly channelId: number }
  /** Goes on with the message of an earlier chunk. */
  | { readonly type: 'continued' }
  /** By the compression of the static channel: nothing is known of it. */
  | { readonly type: 'compressed' }
  /** Of no channel: capabilities, soft synchronisation. */
  | { readonly type: 'other' };

const CMD_CREATE = 1;
const CMD_DATA_FIRST = 2;
const CMD_DATA = 3;
const CMD_CLOSE = 4;
const CMD_DATA_FIRST_COMPRESSED = 6;
const CMD_DATA_COMPRESSED = 7;
const COMMANDS_OF_CHANNELS = new Set([
  CMD_CREATE,
  CMD_DATA_FIRST,
  CMD_DATA,
  CMD_CLOSE,
  CMD_DATA_FIRST_COMPRESSED,
  CMD_DATA_COMPRESSED,
]);
const ID_BYTES = [1, 2, 4];

/** Decodes one `drdynvc` chunk. The data of compressed messages is left as it is. @throws {DecodeError} */
export function decodeDynamicChannelChunk(data: Buffer): DynamicChannelMessage {
  const flags = chunkFlags(data);
  if ((flags & PACKET_COMPRESSED) !== 0) return { type: 'compressed' };
  if ((flags & CHANNEL_FLAG_FIRST) === 0) return { type: 'continued' };
  if (data.length <= CHUNK_HEADER) return { type: 'other' };
  const header = data[CHUNK_HEADER]!;
  const command = header >> 4;
  if (!COMMANDS_OF_CHANNELS.has(command)) return { type: 'other' };
  const idBytes = ID_BYTES[header & 3];
  if (idBytes === undefined) throw new DecodeError('drdynvc: channel id of an unknown size');
  let offset = CHUNK_HEADER + 1;
  if (data.length < offset + idBytes) throw new DecodeError('drdynvc: message is cut short');
  const channelId = data.readUIntLE(offset, idBytes);
  offset += idBytes;
  switch (command) {
    case CMD_CREATE: {
      const end = data.indexOf(0, offset);
      return { type: 'create', channelId, name: data.toString('latin1', offset, end < 0 ? data.length : end) };
    }
    case CMD_DATA_FIRST:
    case CMD_DATA_FIRST_COMPRESSED: {
      const lengthBytes = ID_BYTES[(header >> 2) & 3];
      if (lengthBytes === undefined) throw new DecodeError('drdynvc: length of an unknown size');
      return { type: 'data', channelId, data: data.subarray(Math.min(data.length, offset + lengthBytes)) };
    }
    case CMD_DATA:
    case CMD_DATA_COMPRESSED:
      return { type: 'data', channelId, data: data.subarray(offset) };
    default:
      return { type: 'close', channelId };
  }
}

function chunkFlags(data: Buffer): number {
  if (data.length < CHUNK_HEADER) throw new DecodeError('virtual channel chunk is cut short');
  return data.readUInt32LE(4);
}

/** Name of the dynamic channel for touch and pen (MS-RDPEI 2.1). */
export const INPUT_CHANNEL = 'Microsoft::Windows::RDS::Input';
const EVENTID_TOUCH = 0x0003;
const EVENTID_PEN = 0x0008;

/** Whether a message of the input channel is a touch or a stroke of a pen (MS-RDPEI 2.2.3.3, 2.2.3.7). */
export function isTouchEvent(data: Buffer): boolean {
  if (data.length < 2) return false;
  const eventId = data.readUInt16LE(0);
  return eventId === EVENTID_TOUCH || eventId === EVENTID_PEN;
}
