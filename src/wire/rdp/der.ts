import { DecodeError } from '../../core/errors.ts';

/** One DER element: identifier octet, contents, and the offset just behind it. Only low tag numbers (one octet) occur here. */
export interface DerElement {
  readonly tag: number;
  readonly body: Buffer;
  readonly end: number;
}

export const DER_BOOLEAN = 0x01;
export const DER_INTEGER = 0x02;
export const DER_OCTET_STRING = 0x04;
export const DER_ENUMERATED = 0x0a;
export const DER_UTF8_STRING = 0x0c;
export const DER_SEQUENCE = 0x30;

/**
 * Reads the identifier and length octets at `offset` (X.690, 8.1.2 and 8.1.3; definite form only).
 * Returns undefined while octets are missing.
 */
export function decodeDerHeader(
  bytes: Buffer,
  offset: number,
): { readonly tag: number; readonly bodyStart: number; readonly end: number } | undefined {
  if (bytes.length < offset + 2) return undefined;
  const tag = bytes[offset]!;
  const first = bytes[offset + 1]!;
  if (first < 0x80) return { tag, bodyStart: offset + 2, end: offset + 2 + first };
  const count = first & 0x7f;
  if (count === 0 || count > 4) throw new DecodeError(`DER length of ${count} octets`);
  if (bytes.length < offset + 2 + count) return undefined;
  const length = bytes.readUIntBE(offset + 2, count);
  const bodyStart = offset + 2 + count;
  return { tag, bodyStart, end: bodyStart + length };
}

/** Reads the whole element at `offset`. @throws {DecodeError} when it is cut short. */
export function decodeDerElement(bytes: Buffer, offset = 0): DerElement {
  const header = decodeDerHeader(bytes, offset);
  if (header === undefined || header.end > bytes.length) throw new DecodeError('DER element is cut short');
  return { tag: header.tag, body: bytes.subarray(header.bodyStart, header.end), end: header.end };
}

/** Reads the element at `offset` and demands its tag. */
export function expectDer(bytes: Buffer, offset: number, tag: number): DerElement {
  const element = decodeDerElement(bytes, offset);
  if (element.tag !== tag) {
    throw new DecodeError(`DER tag 0x${element.tag.toString(16)} where 0x${tag.toString(16)} belongs`);
  }
  return element;
}

/** The elements that fill `bytes`, at most `limit` of them. */
export function decodeDerElements(bytes: Buffer, limit: number): DerElement[] {
  const elements: DerElement[] = [];
  for (let offset = 0; offset < bytes.length; ) {
    if (elements.length === limit) throw new DecodeError(`more than ${limit} DER elements`);
    const element = decodeDerElement(bytes, offset);
    elements.push(element);
    offset = element.end;
  }
  return elements;
}

/** The value of a non-negative INTEGER of at most 32 bits. */
export function derUnsigned(body: Buffer): number {
  const start = body[0] === 0 && body.length > 1 ? 1 : 0;
  if (body.length === 0 || body.length - start > 4 || (start === 0 && body[0]! >= 0x80)) {
    throw new DecodeError('DER integer out of range');
  }
  return body.readUIntBE(start, body.length - start);
}

/** One element of the given tag around `parts`. */
export function encodeDer(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  if (length < 0x80) return Buffer.concat([Buffer.from([tag, length]), ...parts]);
  const octets = length < 0x100 ? 1 : length < 0x10000 ? 2 : length < 0x1000000 ? 3 : 4;
  const header = Buffer.alloc(2 + octets);
  header[0] = tag;
  header[1] = 0x80 | octets;
  header.writeUIntBE(length, 2, octets);
  return Buffer.concat([header, ...parts]);
}

/** An INTEGER; `value` is non-negative and at most 32 bits. */
export function encodeDerUnsigned(value: number): Buffer {
  const bytes = Buffer.alloc(5);
  bytes.writeUInt32BE(value, 1);
  let start = 0;
  while (start < 4 && bytes[start] === 0 && bytes[start + 1]! < 0x80) start += 1;
  return encodeDer(DER_INTEGER, bytes.subarray(start));
}

/** `[number] EXPLICIT` around `inner`. */
export function encodeDerExplicit(number: number, inner: Uint8Array): Buffer {
  return encodeDer(0xa0 | number, inner);
}
