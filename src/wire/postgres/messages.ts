import { DecodeError } from '../../core/errors.ts';

/** Message type bytes (protocol documentation, "Message Formats"). One byte means different things in the two directions. */
export const FRONTEND = {
  bind: 0x42,
  close: 0x43,
  copyData: 0x64,
  copyDone: 0x63,
  copyFail: 0x66,
  describe: 0x44,
  execute: 0x45,
  flush: 0x48,
  functionCall: 0x46,
  parse: 0x50,
  password: 0x70,
  query: 0x51,
  sync: 0x53,
  terminate: 0x58,
} as const;

export const BACKEND = {
  authentication: 0x52,
  backendKeyData: 0x4b,
  bindComplete: 0x32,
  closeComplete: 0x33,
  commandComplete: 0x43,
  copyBothResponse: 0x57,
  copyInResponse: 0x47,
  emptyQueryResponse: 0x49,
  errorResponse: 0x45,
  negotiateProtocolVersion: 0x76,
  noData: 0x6e,
  noticeResponse: 0x4e,
  parameterStatus: 0x53,
  parseComplete: 0x31,
  portalSuspended: 0x73,
  readyForQuery: 0x5a,
  rowDescription: 0x54,
} as const;

/** Longest message that either side may send: PostgreSQL's own limit is one byte below 1 GiB. */
export const MAX_MESSAGE_LENGTH = 0x4000_0000;

/** Authentication requests (int32 after the header of message `R`). */
export const AUTHENTICATION = { ok: 0, cleartext: 3, md5: 5, sasl: 10, saslContinue: 11, saslFinal: 12 } as const;

/** A whole message: type byte, length, body. */
export function encodeMessage(type: number, body: Uint8Array): Buffer {
  const message = Buffer.allocUnsafe(5 + body.length);
  message[0] = type;
  message.writeUInt32BE(body.length + 4, 1);
  message.set(body, 5);
  return message;
}

/** Terminate. */
export const TERMINATE: Buffer = encodeMessage(FRONTEND.terminate, Buffer.alloc(0));

function fields(severity: string, sqlstate: string, text: string): Buffer {
  // A zero byte would end the field early.
  const message = text.replaceAll('\0', ' ');
  return Buffer.from(`S${severity}\0V${severity}\0C${sqlstate}\0M${message}\0\0`);
}

/** ErrorResponse of severity FATAL, after which the connection is closed. */
export function encodeFatal(sqlstate: string, text: string): Buffer {
  return encodeMessage(BACKEND.errorResponse, fields('FATAL', sqlstate, text));
}

/** NoticeResponse; PostgreSQL's clients show it when they read next. */
export function encodeNotice(severity: 'WARNING' | 'NOTICE', sqlstate: string, text: string): Buffer {
  return encodeMessage(BACKEND.noticeResponse, fields(severity, sqlstate, text));
}

/** BackendKeyData: what the client's cancel requests must carry. */
export function encodeBackendKeyData(processId: number, secret: Buffer): Buffer {
  const body = Buffer.alloc(4 + secret.length);
  body.writeUInt32BE(processId, 0);
  secret.copy(body, 4);
  return encodeMessage(BACKEND.backendKeyData, body);
}

/** Password message or SASL response: whatever the authentication asks for. */
export function encodePassword(body: Buffer): Buffer {
  return encodeMessage(FRONTEND.password, body);
}

/** SASLInitialResponse. */
export function encodeSaslInitial(mechanism: string, response: Buffer): Buffer {
  const name = Buffer.from(`${mechanism}\0`);
  const length = Buffer.alloc(4);
  length.writeInt32BE(response.length, 0);
  return encodePassword(Buffer.concat([name, length, response]));
}

/** The parts of an ErrorResponse or NoticeResponse that are of use to a relay. */
export interface ServerError {
  readonly severity: string;
  readonly sqlstate: string;
  readonly message: string;
}

/**
 * Decodes the body of ErrorResponse or NoticeResponse; unknown fields are passed over.
 * @throws {DecodeError}
 */
export function decodeServerError(body: Buffer): ServerError {
  const found = new Map<string, string>();
  let at = 0;
  while (at < body.length && body[at] !== 0) {
    const end = body.indexOf(0, at + 1);
    if (end < 0) throw new DecodeError('error field without its zero byte');
    found.set(String.fromCharCode(body[at]!), body.toString('utf8', at + 1, end));
    at = end + 1;
  }
  return {
    severity: found.get('V') ?? found.get('S') ?? '',
    sqlstate: found.get('C') ?? '',
    message: found.get('M') ?? '',
  };
}

/**
 * The body length of a message, from its five-byte header.
 * @throws {DecodeError} for a length no message has, or above `limit`.
 */
export function decodeBodyLength(header: Buffer, limit: number): number {
  const length = header.readUInt32BE(1);
  if (length < 4 || length > limit) throw new DecodeError(`message of ${length} bytes`);
  return length - 4;
}

/** `isEmptyStatement` of the text in `body` from `start` to `end`; a text that begins like any ordinary one is not looked at further. */
export function isEmptyText(body: Buffer, start: number, end: number): boolean {
  const first = body[start];
  if (start < end && first !== undefined && first > 0x20 && first !== 0x3b && first !== 0x2d && first !== 0x2f)
    return false;
  return isEmptyStatement(body.toString('latin1', start, end));
}

/** Whether `text` holds no statement: white space, semicolons and comments only. Drivers send such queries to see if the server lives. */
function isEmptyStatement(text: string): boolean {
  let at = 0;
  while (at < text.length) {
    const ch = text.charCodeAt(at);
    if (ch === 0x20 || (ch >= 0x09 && ch <= 0x0d) || ch === 0x3b) {
      at += 1;
    } else if (text.startsWith('--', at)) {
      const end = text.slice(at).search(/[\n\r]/);
      if (end < 0) return true;
      at += end + 1;
    } else if (text.startsWith('/*', at)) {
      // Comments nest in SQL; the server calls an unfinished one an error.
      let depth = 0;
      const mark = /\/\*|\*\//g;
      mark.lastIndex = at;
      let end = -1;
      for (let match = mark.exec(text); match !== null; match = mark.exec(text)) {
        depth += match[0] === '/*' ? 1 : -1;
        if (depth === 0) {
          end = mark.lastIndex;
          break;
        }
      }
      if (end < 0) return false;
      at = end;
    } else return false;
  }
  return true;
}
