import {
  chmodSync,
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { NightlatchError } from '../../core/errors.ts';

/** Makes a folder that only its owner may enter. */
export function makePrivateDir(path: string): void {
  mkdirSync(path, { recursive: true, mode: 0o700 });
}

/**
 * Replaces a file in one step: a reader sees the old or the new content, also after a crash. The folder is made if need be (0700).
 * `mode` holds whatever the umask says.
 */
export function writeFileAtomic(path: string, content: string | Uint8Array, mode = 0o600): void {
  makePrivateDir(dirname(path));
  // Most commands write nothing: node:crypto is loaded by those that do.
  const { randomBytes } = process.getBuiltinModule('node:crypto');
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`;
  const fd = openSync(temporary, 'wx', mode);
  try {
    const bytes = typeof content === 'string' ? Buffer.from(content) : content;
    for (let offset = 0; offset < bytes.length; ) offset += writeSync(fd, bytes, offset);
    fsyncSync(fd);
  } catch (error) {
    closeSync(fd);
    rmSync(temporary, { force: true });
    throw error;
  }
  closeSync(fd);
  chmodSync(temporary, mode);
  renameSync(temporary, path);
}

/** The content of a text file, or undefined where there is none. */
export function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR'))
      return undefined;
    throw error;
  }
}

/** A text file the user named. @throws {NightlatchError} `not_found` with the system's reason. */
export function readUserFile(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    throw new NightlatchError('not_found', `cannot read ${path}: ${(cause as Error).message}`, { cause });
  }
}
