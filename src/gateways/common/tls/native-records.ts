// The one place that loads the addon in native/: it protects TLS 1.3 records with cipher contexts that are kept. Without it, or where it
// does not do what node:crypto does, connections stay with Node's own TLS, which takes about twice the memory and the time.
import { createCipheriv } from 'node:crypto';
import { createRequire } from 'node:module';

/** One direction's cipher, key and place in the sequence of records. It is freed when it is collected. */
export type RecordProtection = object & { readonly __recordProtection: never };

/** The functions of native/tls-record.c. All of them check their bounds. */
export interface NativeRecords {
  /** @param sequence - number of the first record. */
  create(cipher: string, key: Uint8Array, iv: Uint8Array, seals: boolean, sequence: number): RecordProtection;
  /** Opens a whole record in place, from its header at `offset` on; the length of what is behind the header, or -1 where it is not authentic. */
  open(protection: RecordProtection, bytes: Uint8Array, offset: number): number;
  /** Writes a record of content type `type`; returns its length. */
  seal(
    protection: RecordProtection,
    type: number,
    from: Uint8Array,
    fromOffset: number,
    length: number,
    to: Uint8Array,
    toOffset: number,
  ): number;
}

/** Undefined where the addon is not built for this Node or fails its test. */
export const nativeRecords: NativeRecords | undefined = load();

function load(): NativeRecords | undefined {
  try {
    const native = createRequire(import.meta.url)('../../../../native/build/Release/tlsrecord.node') as NativeRecords;
    return protectsAsItShould(native) ? native : undefined;
  } catch {
    return undefined;
  }
}

/** Seals as node:crypto does, opens what it sealed, and refuses what was changed. */
function protectsAsItShould(native: NativeRecords): boolean {
  const key = Buffer.alloc(32, 'key');
  const iv = Buffer.alloc(12, 'iv');
  const content = Buffer.from('a record');
  const record = Buffer.alloc(64);
  // The second record: its nonce differs from the IV in the last bit.
  const length = native.seal(native.create('aes-256-gcm', key, iv, true, 1), 23, content, 0, content.length, record, 3);
  const nonce = Buffer.from(iv);
  nonce[11] = nonce[11]! ^ 1;
  const header = Buffer.from([23, 3, 3, 0, content.length + 17]);
  const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(header);
  const expected = [
    header,
    cipher.update(content),
    cipher.update(Buffer.from([23])),
    cipher.final(),
    cipher.getAuthTag(),
  ];
  if (!record.subarray(3, 3 + length).equals(Buffer.concat(expected))) return false;
  const changed = Buffer.from(record);
  changed[10] = changed[10]! ^ 1;
  if (native.open(native.create('aes-256-gcm', key, iv, false, 1), changed, 3) !== -1) return false;
  const opened = native.open(native.create('aes-256-gcm', key, iv, false, 1), record, 3);
  return opened === content.length + 1 && record.subarray(8, 8 + content.length).equals(content);
}
