import { randomBytes } from 'node:crypto';
import type { Duplex } from 'node:stream';
import { DecodeError } from '../../core/errors.ts';
import type { Refusal } from '../../wire/mysql/client-tap.ts';
import { SALT_LENGTH } from '../../wire/mysql/handshake.ts';
import { encodeError, encodePacket, HEADER_LENGTH } from '../../wire/mysql/packets.ts';
import type { DbReader } from '../common/db-reader.ts';
import { finishStream } from '../common/stream-relay.ts';

/** Longest packet of a login, in bytes: a handshake response with all its connection attributes. */
const MAX_LOGIN_PACKET = 64 * 1024;

/** One packet of a login. */
export interface LoginPacket {
  readonly sequence: number;
  readonly payload: Buffer;
}

/** @throws {DecodeError} for a packet out of order or too long; what `DbReader.read` throws. */
export async function readPacket(reader: DbReader, expectedSequence?: number): Promise<LoginPacket> {
  const header = await reader.read(HEADER_LENGTH);
  const length = header.readUIntLE(0, 3);
  const sequence = header[3]!;
  if (expectedSequence !== undefined && sequence !== expectedSequence)
    throw new DecodeError(`packet ${sequence} where ${expectedSequence} was due`);
  if (length > MAX_LOGIN_PACKET) throw new DecodeError(`a packet of ${length} bytes during the login`);
  return { sequence, payload: length === 0 ? Buffer.alloc(0) : await reader.read(length) };
}

/** A challenge: printable, since zero bytes end it. */
export function makeSalt(): Buffer {
  return Buffer.from(randomBytes(SALT_LENGTH).map((byte) => (byte % 94) + 33));
}

/** Ends a connection that has no session with an ERR packet that its user can read. */
export function refuse(stream: Duplex, sequence: number, { code, sqlState, text }: Refusal): Promise<void> {
  stream.on('error', () => undefined);
  stream.resume();
  return finishStream(stream, encodePacket(sequence, encodeError(code, sqlState, text)));
}
