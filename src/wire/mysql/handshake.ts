import { DecodeError } from '../../core/errors.ts';
import { CAPABILITY } from './capabilities.ts';
import { encodeLenenc, MARK, PayloadReader } from './packets.ts';

/** Bytes of SSLRequest, and of the fixed part of HandshakeResponse41. */
const FIXED_LENGTH = 32;
/** Bytes of a challenge. */
export const SALT_LENGTH = 20;
const STATUS_AUTOCOMMIT = 2;
/** utf8mb4_general_ci: known to every server. */
const CHARSET_UTF8MB4 = 45;

/** HandshakeV10 as the gateway sends it. `salt` holds `SALT_LENGTH` bytes, none of them zero. */
export function encodeHandshakeV10(greeting: {
  serverVersion: string;
  threadId: number;
  salt: Buffer;
  capabilities: number;
  plugin: string;
}): Buffer {
  const { serverVersion, threadId, salt, capabilities, plugin } = greeting;
  const middle = Buffer.alloc(4 + 8 + 1 + 2 + 1 + 2 + 2 + 1 + 10);
  middle.writeUInt32LE(threadId, 0);
  salt.copy(middle, 4, 0, 8);
  middle.writeUInt16LE(capabilities & 0xffff, 13);
  middle[15] = CHARSET_UTF8MB4;
  middle.writeUInt16LE(STATUS_AUTOCOMMIT, 16);
  middle.writeUInt16LE(capabilities >>> 16, 18);
  middle[20] = SALT_LENGTH + 1;
  return Buffer.concat([
    Buffer.from([10]),
    Buffer.from(`${serverVersion}\0`),
    middle,
    salt.subarray(8),
    Buffer.from(`\0${plugin}\0`),
  ]);
}

/** What a server says of itself. */
export interface ServerGreeting {
  readonly serverVersion: string;
  readonly threadId: number;
  readonly salt: Buffer;
  readonly capabilities: number;
  /** Its default authentication plugin, '' where it names none. */
  readonly plugin: string;
}

/** HandshakeV10 of a server; the caller has looked for an ERR packet. */
export function decodeHandshakeV10(payload: Buffer): ServerGreeting {
  const reader = new PayloadReader(payload);
  const protocol = reader.u8();
  if (protocol !== 10) throw new DecodeError(`the server speaks protocol ${protocol}, not 10`);
  const serverVersion = reader.nulText();
  const threadId = reader.u32();
  const first = reader.bytes(8);
  reader.bytes(1);
  const low = reader.u16();
  if (reader.remaining === 0)
    return { serverVersion, threadId, salt: Buffer.from(first), capabilities: low, plugin: '' };
  reader.bytes(3);
  const capabilities = (low | (reader.u16() << 16)) >>> 0;
  const saltLength = reader.u8();
  reader.bytes(10);
  const second =
    (capabilities & CAPABILITY.secureConnection) !== 0 ? reader.bytes(Math.max(13, saltLength - 8)) : Buffer.alloc(0);
  const end = second.indexOf(0);
  const salt = Buffer.concat([first, end < 0 ? second : second.subarray(0, end)]);
  let plugin = '';
  if ((capabilities & CAPABILITY.pluginAuth) !== 0) {
    // Some servers leave the last zero byte out.
    const rest = reader.rest();
    const stop = rest.indexOf(0);
    plugin = rest.toString('utf8', 0, stop < 0 ? rest.length : stop);
  }
  return { serverVersion, threadId, salt, capabilities, plugin };
}

/** True for SSLRequest: the fixed part of a response, with the TLS flag, and nothing behind it. */
export function isSslRequest(payload: Buffer): boolean {
  return payload.length === FIXED_LENGTH && (payload.readUInt32LE(0) & CAPABILITY.tls) !== 0;
}

/** HandshakeResponse41 of a client. */
export interface ClientResponse {
  readonly capabilities: number;
  readonly maxPacket: number;
  readonly charset: number;
  readonly user: string;
  /** What its authentication plugin says; the gateway does not care for it. */
  readonly authData: Buffer;
  readonly database: string;
  readonly plugin: string;
  /** Connection attributes in wire form, without their total length. */
  readonly attributes: Buffer;
}

export function decodeHandshakeResponse(payload: Buffer): ClientResponse {
  const reader = new PayloadReader(payload);
  const capabilities = reader.u32();
  if ((capabilities & CAPABILITY.protocol41) === 0) throw new DecodeError('the client is older than MySQL 4.1');
  const maxPacket = reader.u32();
  const charset = reader.u8();
  reader.bytes(23);
  const user = reader.nulText();
  const has = (flag: number): boolean => (capabilities & flag) !== 0;
  let authData: Buffer;
  if (has(CAPABILITY.pluginAuthLenenc)) authData = reader.bytes(reader.lenenc());
  else if (has(CAPABILITY.secureConnection)) authData = reader.bytes(reader.u8());
  else authData = reader.nulBytes();
  const database = has(CAPABILITY.connectWithDb) && reader.remaining > 0 ? reader.nulText() : '';
  const plugin = has(CAPABILITY.pluginAuth) && reader.remaining > 0 ? reader.nulText() : '';
  const attributes =
    has(CAPABILITY.connectAttributes) && reader.remaining > 0 ? reader.bytes(reader.lenenc()) : Buffer.alloc(0);
  return { capabilities, maxPacket, charset, user, authData, database, plugin, attributes };
}

function fixedPart(capabilities: number, maxPacket: number, charset: number): Buffer {
  const head = Buffer.alloc(FIXED_LENGTH);
  head.writeUInt32LE(capabilities >>> 0, 0);
  head.writeUInt32LE(maxPacket, 4);
  head[8] = charset;
  return head;
}

export function encodeSslRequest(capabilities: number, maxPacket: number, charset: number): Buffer {
  return fixedPart(capabilities | CAPABILITY.tls, maxPacket, charset);
}

/** HandshakeResponse41 to a server; `capabilities` says which of the fields are sent, and in which form. */
export function encodeHandshakeResponse(response: ClientResponse): Buffer {
  const { capabilities, authData } = response;
  const has = (flag: number): boolean => (capabilities & flag) !== 0;
  return Buffer.concat([
    fixedPart(capabilities, response.maxPacket, response.charset),
    Buffer.from(`${response.user}\0`),
    has(CAPABILITY.pluginAuthLenenc) ? encodeLenenc(authData.length) : Buffer.from([authData.length]),
    authData,
    has(CAPABILITY.connectWithDb) ? Buffer.from(`${response.database}\0`) : Buffer.alloc(0),
    has(CAPABILITY.pluginAuth) ? Buffer.from(`${response.plugin}\0`) : Buffer.alloc(0),
    ...(has(CAPABILITY.connectAttributes) ? [encodeLenenc(response.attributes.length), response.attributes] : []),
  ]);
}

/** AuthSwitchRequest. */
export function encodeAuthSwitch(plugin: string, salt: Buffer): Buffer {
  return Buffer.concat([Buffer.from([MARK.eof]), Buffer.from(`${plugin}\0`), salt, Buffer.from([0])]);
}

/** What a COM_CHANGE_USER asks for (payload with the command byte). */
export interface ChangeUser {
  readonly user: string;
  readonly authData: Buffer;
  readonly database: string;
  readonly plugin: string;
}

export function decodeChangeUser(payload: Buffer, capabilities: number): ChangeUser {
  const reader = new PayloadReader(payload);
  reader.bytes(1);
  const user = reader.nulText();
  const authData = (capabilities & CAPABILITY.secureConnection) !== 0 ? reader.bytes(reader.u8()) : reader.nulBytes();
  const database = reader.nulText();
  let plugin = '';
  if (reader.remaining >= 2) {
    reader.bytes(2);
    if ((capabilities & CAPABILITY.pluginAuth) !== 0 && reader.remaining > 0) plugin = reader.nulText();
  }
  return { user, authData, database, plugin };
}
