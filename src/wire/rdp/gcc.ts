import { DecodeError } from '../../core/errors.ts';
import { DER_BOOLEAN, DER_ENUMERATED, DER_INTEGER, DER_OCTET_STRING, DER_SEQUENCE, expectDer } from './der.ts';
import { decodePerLength } from './mcs.ts';

/**
 * The settings blocks that client and server exchange in GCC Conference Create (T.124) inside MCS Connect
 * (MS-RDPBCGR 2.2.1.3 and 2.2.1.4).
 */
interface SettingsBlock {
  readonly type: number;
  /** The whole block with its 4-byte header: a view on the frame. */
  readonly data: Buffer;
}

const CS_CORE = 0xc001;
const CS_NET = 0xc003;
const SC_CORE = 0x0c01;
const SC_NET = 0x0c03;
const SC_MCS_MSGCHANNEL = 0x0c04;
/** Protocol limit for static virtual channels (MS-RDPBCGR 2.2.1.3.4). */
const MAX_CHANNELS = 31;
const MAX_BLOCKS = 16;

// Offsets inside CS_CORE (MS-RDPBCGR 2.2.1.3.2), header included.
const CORE_EARLY_CAPABILITY_FLAGS = 144;
const CORE_SERVER_SELECTED_PROTOCOL = 212;
/** RNS_UD_CS_WANT_32BPP_SESSION. */
const WANT_32BPP_SESSION = 0x0002;

export interface ClientSettings {
  readonly desktopWidth: number;
  readonly desktopHeight: number;
  /** Names of the static virtual channels in the order asked for, lower case. */
  readonly channels: readonly string[];
}

/** Decodes what a client asks for; `body` is the Connect-Initial from its first tag on. @throws {DecodeError} */
export function decodeConnectInitial(body: Buffer): ClientSettings {
  const blocks = clientBlocks(body);
  const core = clientCore(blocks);
  const net = onlyBlock(blocks, CS_NET, 'CS_NET');
  const channels: string[] = [];
  if (net !== undefined) {
    if (net.data.length < 8) throw new DecodeError('CS_NET is cut short');
    const count = net.data.readUInt32LE(4);
    if (count > MAX_CHANNELS || net.data.length < 8 + 12 * count)
      throw new DecodeError(`CS_NET with ${count} channels`);
    for (let i = 0; i < count; i += 1) {
      const name = net.data.toString('latin1', 8 + 12 * i, 16 + 12 * i);
      channels.push(name.replace(/\0.*$/s, '').toLowerCase());
    }
  }
  return { desktopWidth: core.readUInt16LE(8), desktopHeight: core.readUInt16LE(10), channels };
}

/**
 * Returns a copy of a Connect-Initial frame in which the client
 * - asks for a 32-bit session: without it, xrdp sends bitmaps whose padded rows IronRDP 0.7 draws sheared;
 * - names the protocol that the gateway has negotiated with the server, which checks it (MS-RDPBCGR 3.3.5.3.3).
 *
 * No length changes. @throws {DecodeError}
 */
export function rewriteConnectInitial(frame: Buffer, selectedProtocol: number): Buffer {
  const out = Buffer.from(frame);
  const core = clientCore(clientBlocks(out.subarray(7)));
  core.writeUInt16LE(core.readUInt16LE(CORE_EARLY_CAPABILITY_FLAGS) | WANT_32BPP_SESSION, CORE_EARLY_CAPABILITY_FLAGS);
  core.writeUInt32LE(selectedProtocol, CORE_SERVER_SELECTED_PROTOCOL);
  return out;
}

function clientCore(blocks: readonly SettingsBlock[]): Buffer {
  const core = onlyBlock(blocks, CS_CORE, 'CS_CORE')?.data;
  if (core === undefined || core.length < CORE_SERVER_SELECTED_PROTOCOL + 4) {
    throw new DecodeError('CS_CORE is missing or too old');
  }
  return core;
}

/** Of two blocks of a type one reader takes the first and another the last: a client could name other channels to the desktop than to the gateway. */
function onlyBlock(blocks: readonly SettingsBlock[], type: number, name: string): SettingsBlock | undefined {
  const [block, ...more] = blocks.filter((one) => one.type === type);
  if (more.length > 0) throw new DecodeError(`GCC: ${name} comes twice`);
  return block;
}

function clientBlocks(body: Buffer): SettingsBlock[] {
  // Connect-Initial ::= [APPLICATION 101] { calling, called, upwardFlag, three DomainParameters, userData }
  const outer = expectApplication(body, 0x65);
  let offset = 0;
  for (const tag of [DER_OCTET_STRING, DER_OCTET_STRING, DER_BOOLEAN, DER_SEQUENCE, DER_SEQUENCE, DER_SEQUENCE]) {
    offset = expectDer(outer, offset, tag).end;
  }
  return conferenceBlocks(expectDer(outer, offset, DER_OCTET_STRING).body, 'Duca');
}

export interface ServerSettings {
  readonly ioChannelId: number;
  /** Ids of the static virtual channels, in the order in which the client asked for them. */
  readonly channelIds: readonly number[];
  /** Channel of auto-detect and multitransport PDUs, where there is one. */
  readonly messageChannelId: number | undefined;
}

/** Decodes the server's answer; `body` is the Connect-Response from its first tag on. @throws {DecodeError} */
export function decodeConnectResponse(body: Buffer): ServerSettings {
  // Connect-Response ::= [APPLICATION 102] { result, calledConnectId, domainParameters, userData }
  const outer = expectApplication(body, 0x66);
  let offset = 0;
  for (const tag of [DER_ENUMERATED, DER_INTEGER, DER_SEQUENCE]) offset = expectDer(outer, offset, tag).end;
  const blocks = conferenceBlocks(expectDer(outer, offset, DER_OCTET_STRING).body, 'McDn');
  if (!blocks.some((block) => block.type === SC_CORE)) throw new DecodeError('SC_CORE is missing');
  const net = blocks.find((block) => block.type === SC_NET)?.data;
  if (net === undefined || net.length < 8) throw new DecodeError('SC_NET is missing');
  const count = net.readUInt16LE(6);
  if (count > MAX_CHANNELS || net.length < 8 + 2 * count) throw new DecodeError(`SC_NET with ${count} channels`);
  const channelIds = Array.from({ length: count }, (_, i) => net.readUInt16LE(8 + 2 * i));
  const message = blocks.find((block) => block.type === SC_MCS_MSGCHANNEL)?.data;
  return {
    ioChannelId: net.readUInt16LE(4),
    channelIds,
    messageChannelId: message !== undefined && message.length >= 6 ? message.readUInt16LE(4) : undefined,
  };
}

/** The contents of a BER element with the two-octet tag `7f tag`. */
function expectApplication(body: Buffer, tag: number): Buffer {
  if (body[0] !== 0x7f || body[1] !== tag) throw new DecodeError('MCS connect PDU of another type');
  // The second tag octet stands where a one-octet tag would: the length follows it as usual.
  return expectDer(body, 1, tag).body;
}

/**
 * The settings blocks behind the GCC header: a key, lengths and the H.221 key `Duca` (client) or `McDn` (server), which
 * stands at one fixed place in what RDP sends (MS-RDPBCGR 4.1.3, 4.1.4).
 */
function conferenceBlocks(userData: Buffer, h221Key: string): SettingsBlock[] {
  // 00 05 00 14 7c 00 01, the length of the rest, then the conference PDU's fixed part with the key behind it.
  if (userData.length < 9 || userData.readUInt16BE(0) !== 0x0005) throw new DecodeError('GCC: no ConnectData');
  const connect = decodePerLength(userData, 7);
  const key = userData.indexOf(h221Key, connect.offset, 'latin1');
  if (key < 0 || key > connect.offset + 24) throw new DecodeError(`GCC: no ${h221Key}`);
  const length = decodePerLength(userData, key + 4);
  if (length.offset + length.value > userData.length) throw new DecodeError('GCC: settings are cut short');
  const data = userData.subarray(length.offset, length.offset + length.value);
  const blocks: SettingsBlock[] = [];
  for (let offset = 0; offset < data.length; ) {
    if (offset + 4 > data.length || blocks.length === MAX_BLOCKS) throw new DecodeError('GCC: bad settings block');
    const size = data.readUInt16LE(offset + 2);
    if (size < 4 || offset + size > data.length) throw new DecodeError('GCC: bad settings block length');
    blocks.push({ type: data.readUInt16LE(offset), data: data.subarray(offset, offset + size) });
    offset += size;
  }
  return blocks;
}
