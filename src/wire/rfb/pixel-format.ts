import { DecodeError } from '../../core/errors.ts';

/** A pixel format (RFC 6143, 7.4), as far as lengths depend on it. */
export interface PixelFormat {
  readonly bytesPerPixel: number;
  readonly depth: number;
  readonly trueColour: boolean;
  readonly redMax: number;
  readonly greenMax: number;
  readonly blueMax: number;
}

/** Decodes the 16 bytes of PIXEL_FORMAT at `offset`. @throws {DecodeError} */
export function decodePixelFormat(bytes: Buffer, offset: number): PixelFormat {
  if (bytes.length < offset + 16) throw new DecodeError('RFB pixel format is cut short');
  const bits = bytes[offset]!;
  if (bits !== 8 && bits !== 16 && bits !== 32) throw new DecodeError(`RFB pixel format of ${bits} bits`);
  return {
    bytesPerPixel: bits / 8,
    depth: bytes[offset + 1]!,
    trueColour: bytes[offset + 3] !== 0,
    redMax: bytes.readUInt16BE(offset + 4),
    greenMax: bytes.readUInt16BE(offset + 6),
    blueMax: bytes.readUInt16BE(offset + 8),
  };
}

/** Bytes of a TPIXEL: three where a pixel is 32 bits wide with 8 bits a colour. */
export function tightPixelBytes(format: PixelFormat): number {
  const packed =
    format.bytesPerPixel === 4 &&
    format.depth === 24 &&
    format.trueColour &&
    format.redMax === 255 &&
    format.greenMax === 255 &&
    format.blueMax === 255;
  return packed ? 3 : format.bytesPerPixel;
}
