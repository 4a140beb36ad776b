import { DecodeError } from '../../core/errors.ts';
import type { Secret } from '../../core/secret.ts';

/** SEC_INFO_PKT of the basic security header (MS-RDPBCGR 2.2.8.1.1.2.1). */
const SEC_INFO_PKT = 0x0040;
const SEC_LICENSE_PKT = 0x0080;
const SEC_ENCRYPT = 0x0008;
const INFO_AUTOLOGON = 0x0008;
const INFO_UNICODE = 0x0010;
/** The password is the PIN of a smart card. */
const INFO_PASSWORD_IS_SC_PIN = 0x40000;

// Offsets in the PDU, the 4-byte security header included.
const FLAGS = 8;
const LENGTHS = 12;
const STRINGS = 22;
const MAX_STRING_BYTES = 512;

/** Who signs in at the server, as the gateway decides it. */
export interface RdpLogon {
  readonly username: string;
  readonly domain: string;
  /** Undefined leaves the server's own sign-in screen. */
  readonly password: Secret<string> | undefined;
}

/** Whether the data of an MCS Send Data Request on the IO channel is the Client Info PDU. */
export function isClientInfo(data: Buffer): boolean {
  return data.length >= STRINGS && (data.readUInt16LE(0) & SEC_INFO_PKT) !== 0;
}

/** Whether a PDU in the phase of licensing is a licensing message (MS-RDPBCGR 2.2.1.12), and nothing else. */
export function isLicensing(data: Buffer): boolean {
  return data.length >= 4 && (data.readUInt16LE(0) & (SEC_LICENSE_PKT | SEC_INFO_PKT)) === SEC_LICENSE_PKT;
}

/** User and domain in a Client Info PDU; for tests and for what a client claims. @throws {DecodeError} */
export function decodeClientInfo(data: Buffer): {
  readonly flags: number;
  readonly domain: string;
  readonly username: string;
  readonly password: string;
} {
  const { strings } = parse(data);
  return {
    flags: data.readUInt32LE(FLAGS),
    domain: strings[0]!.toString('utf16le'),
    username: strings[1]!.toString('utf16le'),
    password: strings[2]!.toString('utf16le'),
  };
}

/**
 * Returns the Client Info PDU (MS-RDPBCGR 2.2.1.11) with the gateway's user, domain and password in place of the
 * client's, and signing in by itself where there is a password. What follows the strings stays. @throws {DecodeError}
 */
export function rewriteClientInfo(data: Buffer, logon: RdpLogon): Buffer {
  const { strings, rest } = parse(data);
  strings[0] = utf16(logon.domain);
  strings[1] = utf16(logon.username);
  strings[2] = logon.password === undefined ? Buffer.alloc(0) : utf16(logon.password.reveal());
  const header = Buffer.from(data.subarray(0, STRINGS));
  let flags = data.readUInt32LE(FLAGS) & ~(INFO_AUTOLOGON | INFO_PASSWORD_IS_SC_PIN);
  if (logon.password !== undefined) flags |= INFO_AUTOLOGON;
  header.writeUInt32LE(flags >>> 0, FLAGS);
  strings.forEach((value, i) => {
    header.writeUInt16LE(value.length, LENGTHS + 2 * i);
  });
  const end = Buffer.alloc(2);
  return Buffer.concat([header, ...strings.flatMap((value) => [value, end]), rest]);
}

function utf16(text: string): Buffer {
  const bytes = Buffer.from(text, 'utf16le');
  if (bytes.length > MAX_STRING_BYTES) throw new RangeError('a user name or password is longer than RDP allows');
  return bytes;
}

/** Domain, user name, password, alternate shell and working directory, and what follows them (the extended info). */
function parse(data: Buffer): { strings: Buffer[]; rest: Buffer } {
  if (!isClientInfo(data)) throw new DecodeError('not a Client Info PDU');
  if ((data.readUInt16LE(0) & SEC_ENCRYPT) !== 0) throw new DecodeError('Client Info: encrypted inside TLS');
  if ((data.readUInt32LE(FLAGS) & INFO_UNICODE) === 0) throw new DecodeError('Client Info: not in Unicode');
  const strings: Buffer[] = [];
  let offset = STRINGS;
  for (let i = 0; i < 5; i += 1) {
    const length = data.readUInt16LE(LENGTHS + 2 * i);
    if (length > MAX_STRING_BYTES) throw new DecodeError('Client Info: string is too long');
    if (offset + length + 2 > data.length) throw new DecodeError('Client Info: strings are cut short');
    strings.push(Buffer.from(data.subarray(offset, offset + length)));
    offset += length + 2;
  }
  return { strings, rest: data.subarray(offset) };
}
