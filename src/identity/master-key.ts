import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';
import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { errorMessage, NightlatchError } from '../core/errors.ts';
import { Secret } from '../core/secret.ts';
import { LruMap } from './lru-map.ts';

/** Name of the key file in the data directory. */
export const MASTER_KEY_FILE = 'master.key';

const HEADER = 'nightlatch-master-key-v1 ';
const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
/** Derived keys that are kept: some buckets belong to one user each. */
const MAX_BUCKET_KEYS = 1024;
/** First byte of every sealed record. */
const FORMAT = 1;

/**
 * Encrypts what the store holds of keys and credentials, so that a copy of the store alone is worth nothing. AES-256-GCM with a random
 * nonce; a key of its own for every bucket (HKDF-SHA-256), so that no key comes near the 2³² messages random nonces allow;
 * bucket and key are bound to the content as associated data, so that no record passes for another.
 */
export class MasterKey {
  readonly #key: Secret<Buffer>;
  readonly #bucketKeys = new LruMap<string, Buffer>(MAX_BUCKET_KEYS);

  constructor(key: Secret<Buffer>) {
    if (key.reveal().length !== KEY_BYTES)
      throw new NightlatchError('internal', `the master key must have ${KEY_BYTES} bytes`);
    this.#key = key;
  }

  /** Seals a record: format byte, nonce, ciphertext, tag. */
  seal(bucket: string, key: string, plain: Uint8Array): Buffer {
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv('aes-256-gcm', this.#bucketKey(bucket), nonce).setAAD(associatedData(bucket, key));
    return Buffer.concat([Buffer.from([FORMAT]), nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
  }

  /**
   * Opens a record.
   * @throws {NightlatchError} `internal` where it was changed, moved to another key, or sealed with another master key.
   */
  open(bucket: string, key: string, sealed: Uint8Array): Buffer {
    const bytes = Buffer.from(sealed.buffer, sealed.byteOffset, sealed.byteLength);
    try {
      if (bytes[0] !== FORMAT || bytes.length < 1 + NONCE_BYTES + TAG_BYTES) throw new Error('unknown format');
      const nonce = bytes.subarray(1, 1 + NONCE_BYTES);
      const decipher = createDecipheriv('aes-256-gcm', this.#bucketKey(bucket), nonce, { authTagLength: TAG_BYTES });
      decipher.setAAD(associatedData(bucket, key)).setAuthTag(bytes.subarray(-TAG_BYTES));
      return Buffer.concat([decipher.update(bytes.subarray(1 + NONCE_BYTES, -TAG_BYTES)), decipher.final()]);
    } catch (cause) {
      throw new NightlatchError(
        'internal',
        `the record "${key}" in ${bucket} cannot be opened: it is damaged, or ${MASTER_KEY_FILE} is not the one that belongs to this store`,
        { cause },
      );
    }
  }

  #bucketKey(bucket: string): Buffer {
    let key = this.#bucketKeys.get(bucket);
    if (key === undefined) {
      key = Buffer.from(hkdfSync('sha256', this.#key.reveal(), '', `nightlatch seal v1 ${bucket}`, KEY_BYTES));
      this.#bucketKeys.set(bucket, key);
    }
    return key;
  }
}

function associatedData(bucket: string, key: string): Buffer {
  // JSON keeps the two apart whatever they hold.
  return Buffer.from(JSON.stringify([bucket, key]), 'utf8');
}

/**
 * Reads the data directory's key file, or makes it at the first start (mode 0600, whole or not at all).
 * @throws {NightlatchError} `unavailable`: readable for others, another's, not a plain file, damaged, or the directory cannot be written.
 */
export function loadMasterKey(dataDir: string): MasterKey {
  const path = join(dataDir, MASTER_KEY_FILE);
  try {
    return new MasterKey(readKeyFile(path) ?? createKeyFile(dataDir, path));
  } catch (error) {
    if (error instanceof NightlatchError) throw error;
    throw new NightlatchError('unavailable', `cannot use the key file ${path}: ${errorMessage(error)}`, {
      cause: error,
    });
  }
}

function readKeyFile(path: string): Secret<Buffer> | undefined {
  let file: number;
  try {
    file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  try {
    const refuse = (why: string): never => {
      throw new NightlatchError('unavailable', `the key file ${path} ${why}`);
    };
    const stat = fstatSync(file);
    if (!stat.isFile()) refuse('is not a plain file');
    if (stat.mode & 0o077) refuse(`can be read or written by others; its mode must be 0600 (chmod 600 ${path})`);
    const uid = process.getuid?.();
    if (uid !== undefined && stat.uid !== uid && stat.uid !== 0) refuse('belongs to another user');
    const content = Buffer.alloc(256);
    const text = content.toString('latin1', 0, readSync(file, content, 0, content.length, 0)).trim();
    const key = Buffer.from(text.slice(HEADER.length), 'base64');
    content.fill(0);
    if (!text.startsWith(HEADER) || key.length !== KEY_BYTES || key.toString('base64') !== text.slice(HEADER.length)) {
      refuse('is damaged; restore it from the backup that belongs to the store');
    }
    return new Secret(key);
  } finally {
    closeSync(file);
  }
}

function createKeyFile(dataDir: string, path: string): Secret<Buffer> {
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  const key = randomBytes(KEY_BYTES);
  const draft = `${path}.${randomBytes(6).toString('hex')}`;
  const file = openSync(draft, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600);
  try {
    writeSync(file, `${HEADER}${key.toString('base64')}\n`);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  try {
    // A link, since a rename would replace the key that another process made at the same moment.
    linkSync(draft, path);
    syncDirectory(dataDir);
    return new Secret(key);
  } catch (error) {
    const other = (error as NodeJS.ErrnoException).code === 'EEXIST' ? readKeyFile(path) : undefined;
    if (other === undefined) throw error;
    return other;
  } finally {
    unlinkSync(draft);
  }
}

function syncDirectory(path: string): void {
  const directory = openSync(path, constants.O_RDONLY);
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}
