const CAPS = 0x0100_0000;
const PROVIDE = 0x1000_0000;

/**
 * Bytes of text behind the flags of an extended clipboard message (pseudo-encoding 0xC0A1E5CE): `provide` carries some;
 * `caps`, which lists the other actions as supported, and requests and announcements carry none.
 */
export function extendedTextBytes(flags: number, bytesBehindFlags: number): number {
  return (flags & PROVIDE) !== 0 && (flags & CAPS) === 0 ? bytesBehindFlags : 0;
}
