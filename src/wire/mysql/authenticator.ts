import { constants, createHash, publicEncrypt } from 'node:crypto';
import { DecodeError, NightlatchError } from '../../core/errors.ts';
import type { Secret } from '../../core/secret.ts';
import { signWithPassword } from './ed25519-password.ts';
import { MARK } from './packets.ts';

/** caching_sha2_password: what AuthMoreData says, and how the server's key is asked for. */
const FAST_AUTH_SUCCESS = 3;
const PERFORM_FULL_AUTHENTICATION = 4;
const REQUEST_PUBLIC_KEY = Buffer.from([2]);
/** sha256_password asks for the key with another byte. */
const SHA256_REQUEST_PUBLIC_KEY = Buffer.from([1]);

function hash(algorithm: 'sha1' | 'sha256', ...parts: readonly Uint8Array[]): Buffer {
  const state = createHash(algorithm);
  for (const part of parts) state.update(part);
  return state.digest();
}

function xor(a: Buffer, b: Buffer): Buffer {
  const out = Buffer.alloc(a.length);
  for (let i = 0; i < a.length; i++) out[i] = a[i]! ^ b[i % b.length]!;
  return out;
}

/** mysql_native_password: SHA1(password) XOR SHA1(salt + SHA1(SHA1(password))). */
export function nativeScramble(password: Buffer, salt: Buffer): Buffer {
  if (password.length === 0) return Buffer.alloc(0);
  const once = hash('sha1', password);
  return xor(once, hash('sha1', salt, hash('sha1', once)));
}

/** caching_sha2_password: SHA256(password) XOR SHA256(SHA256(SHA256(password)) + salt). */
export function cachingSha2Scramble(password: Buffer, salt: Buffer): Buffer {
  if (password.length === 0) return Buffer.alloc(0);
  const once = hash('sha256', password);
  return xor(once, hash('sha256', hash('sha256', once), salt));
}

/** How the connection to the server is protected. */
export interface Protection {
  readonly encrypted: boolean;
  /** The server's certificate has been checked. */
  readonly verified: boolean;
}

/** What to do about one packet of the server. */
export type AuthStep =
  | { readonly kind: 'send'; readonly payload: Buffer }
  | { readonly kind: 'wait' }
  | { readonly kind: 'ok'; readonly payload: Buffer }
  | { readonly kind: 'error'; readonly payload: Buffer };

/** The client's side of the authentication, whatever the server asks for. Without a password the account is one that goes by certificate. */
export class MysqlAuthenticator {
  readonly #user: string;
  readonly #secret: Secret<string> | undefined;
  readonly #protection: Protection;
  #plugin = '';
  #salt: Buffer = Buffer.alloc(0);

  constructor(user: string, password: Secret<string> | undefined, protection: Protection) {
    this.#user = user;
    this.#secret = password;
    this.#protection = protection;
  }

  /** The plugin and its data for the handshake response, in answer to the server's default. */
  first(plugin: string, salt: Buffer): { plugin: string; authData: Buffer } {
    const known = plugin === 'caching_sha2_password' ? plugin : 'mysql_native_password';
    return { plugin: known, authData: this.#begin(known, salt) };
  }

  /**
   * Answers a packet.
   * @throws {DecodeError} for what is none of the protocol's; {NightlatchError} `unauthenticated` for a method that cannot be served.
   */
  answer(payload: Buffer): AuthStep {
    switch (payload[0]) {
      case MARK.ok:
        return { kind: 'ok', payload };
      case MARK.err:
        return { kind: 'error', payload };
      case MARK.eof:
        return { kind: 'send', payload: this.#switch(payload) };
      case MARK.authMoreData:
        return this.#more(payload.subarray(1));
      default:
        throw new DecodeError('a packet that does not belong to the login');
    }
  }

  #switch(payload: Buffer): Buffer {
    const end = payload.indexOf(0, 1);
    if (end < 0) throw this.#unsupported('mysql_old_password');
    const data = payload.subarray(end + 1);
    const salt = data.at(-1) === 0 ? data.subarray(0, -1) : data;
    return this.#begin(payload.toString('utf8', 1, end), Buffer.from(salt));
  }

  #begin(plugin: string, salt: Buffer): Buffer {
    this.#plugin = plugin;
    this.#salt = salt;
    const password = Buffer.from(this.#secret?.reveal() ?? '');
    switch (plugin) {
      case 'mysql_native_password':
        return nativeScramble(password, salt);
      case 'caching_sha2_password':
        return cachingSha2Scramble(password, salt);
      case 'client_ed25519':
        return signWithPassword(this.#password(), salt);
      case 'sha256_password':
        if (password.length === 0) return Buffer.from([0]);
        return this.#protection.encrypted ? Buffer.concat([password, Buffer.from([0])]) : SHA256_REQUEST_PUBLIC_KEY;
      case 'mysql_clear_password':
        if (!this.#protection.verified)
          throw new NightlatchError(
            'unauthenticated',
            'the database asks for the password in clear text, which it gets over TLS with a verified certificate only',
          );
        return Buffer.concat([this.#password(), Buffer.from([0])]);
      default:
        throw this.#unsupported(plugin);
    }
  }

  #more(data: Buffer): AuthStep {
    if (this.#plugin === 'caching_sha2_password' && data.length === 1) {
      if (data[0] === FAST_AUTH_SUCCESS) return { kind: 'wait' };
      if (data[0] === PERFORM_FULL_AUTHENTICATION)
        return this.#protection.encrypted
          ? { kind: 'send', payload: Buffer.concat([this.#password(), Buffer.from([0])]) }
          : { kind: 'send', payload: REQUEST_PUBLIC_KEY };
    } else if (this.#plugin === 'caching_sha2_password' || this.#plugin === 'sha256_password') {
      return { kind: 'send', payload: this.#encrypt(data) };
    }
    throw new DecodeError(`the server says more than ${this.#plugin || 'its plugin'} knows`);
  }

  /** The password for the server's RSA key (OAEP with SHA-1), masked with the challenge so that it cannot be replayed. */
  #encrypt(pem: Buffer): Buffer {
    const masked = xor(Buffer.concat([this.#password(), Buffer.from([0])]), this.#salt);
    try {
      return publicEncrypt({ key: pem, padding: constants.RSA_PKCS1_OAEP_PADDING }, masked);
    } catch (error) {
      throw new DecodeError('the public key of the database cannot be used', { cause: error });
    }
  }

  #password(): Buffer {
    if (this.#secret === undefined)
      throw new NightlatchError(
        'unauthenticated',
        `the database asks for a password for user "${this.#user}", and the gateway signs in by certificate: was the user made with REQUIRE X509 or SUBJECT and without a password?`,
      );
    return Buffer.from(this.#secret.reveal());
  }

  #unsupported(plugin: string): NightlatchError {
    return new NightlatchError(
      'unauthenticated',
      `the database asks for the authentication plugin "${plugin}", which is not supported`,
    );
  }
}
