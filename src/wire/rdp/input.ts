import { DecodeError } from '../../core/errors.ts';

/**
 * What one client input PDU holds, as far as the idle policy asks (SPEC 2.3): `person` is true if any of its events was
 * caused by a hand. Synchronize events (sent when the pointer enters the picture), quality timestamps and releases (a
 * browser sends them by itself when its window loses focus) are none.
 */
export interface InputPdu {
  readonly events: number;
  readonly person: boolean;
}

// Pointer flags (MS-RDPBCGR 2.2.8.1.1.3.1.1.3): moved, button down, wheel, horizontal wheel.
const POINTER_BY_HAND = 0x0800 | 0x8000 | 0x0200 | 0x0400;
const EXTENDED_POINTER_DOWN = 0x8000;

const FASTPATH_RELEASE = 0x01;
/** Bytes after the event header by event code: scancode, mouse, extended mouse, sync, unicode, relative mouse, QoE. */
const FASTPATH_EVENT_BYTES = [1, 6, 6, 0, 2, 6, 4];

/** Decodes a client fast-path input PDU (MS-RDPBCGR 2.2.8.1.2), header included. */
export function decodeFastPathInput(frame: Buffer): InputPdu {
  if (frame.length < 2) throw new DecodeError('fast-path input: no header');
  const first = frame[0]!;
  if (first >> 6 !== 0) throw new DecodeError('fast-path input: encrypted or signed inside TLS');
  let offset = frame[1]! & 0x80 ? 3 : 2;
  let events = (first >> 2) & 0x0f;
  if (events === 0) {
    if (offset >= frame.length) throw new DecodeError('fast-path input: no event count');
    events = frame[offset]!;
    offset += 1;
  }
  let person = false;
  for (let i = 0; i < events; i += 1) {
    if (offset >= frame.length) throw new DecodeError('fast-path input: events are cut short');
    const header = frame[offset]!;
    const code = header >> 5;
    const size = FASTPATH_EVENT_BYTES[code];
    if (size === undefined) throw new DecodeError(`fast-path input: event code ${code}`);
    if (offset + 1 + size > frame.length) throw new DecodeError('fast-path input: events are cut short');
    person ||= isFastPathByHand(code, header & 0x1f, frame, offset + 1);
    offset += 1 + size;
  }
  if (offset !== frame.length) throw new DecodeError('fast-path input: bytes after the last event');
  return { events, person };
}

function isFastPathByHand(code: number, flags: number, frame: Buffer, offset: number): boolean {
  switch (code) {
    case 0:
    case 4:
      return (flags & FASTPATH_RELEASE) === 0;
    case 1:
      return (frame.readUInt16LE(offset) & POINTER_BY_HAND) !== 0;
    case 2:
      return (frame.readUInt16LE(offset) & EXTENDED_POINTER_DOWN) !== 0;
    case 5:
      return true;
    default:
      return false;
  }
}

const SLOW_EVENT_BYTES = 12;
const KBDFLAGS_RELEASE = 0x8000;

/** Decodes the events of a slow-path Client Input Event PDU (MS-RDPBCGR 2.2.8.1.1.3): the bytes after the share data header. */
export function decodeSlowPathInput(body: Buffer): InputPdu {
  if (body.length < 4) throw new DecodeError('slow-path input: no header');
  const events = body.readUInt16LE(0);
  if (body.length < 4 + events * SLOW_EVENT_BYTES) throw new DecodeError('slow-path input: events are cut short');
  let person = false;
  for (let i = 0; i < events; i += 1) {
    const offset = 4 + i * SLOW_EVENT_BYTES;
    const flags = body.readUInt16LE(offset + 6);
    switch (body.readUInt16LE(offset + 4)) {
      case 0x0004:
      case 0x0005:
        person ||= (flags & KBDFLAGS_RELEASE) === 0;
        break;
      case 0x8001:
        person ||= (flags & POINTER_BY_HAND) !== 0;
        break;
      case 0x8002:
        person ||= (flags & EXTENDED_POINTER_DOWN) !== 0;
        break;
      case 0x8004:
        person = true;
        break;
      default:
        break;
    }
  }
  return { events, person };
}
