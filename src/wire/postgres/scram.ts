import { createHash, createHmac, pbkdf2, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';
import { DecodeError, NightlatchError } from '../../core/errors.ts';
import type { Secret } from '../../core/secret.ts';

const pbkdf2Async = promisify(pbkdf2);
export const SCRAM = 'SCRAM-SHA-256';
export const SCRAM_PLUS = 'SCRAM-SHA-256-PLUS';
/** A server that asks for more rounds than this wants to keep us busy (PostgreSQL's default is 4,096). */
const MAX_ITERATIONS = 1_000_000;

/** What a login needs besides the password. */
export interface ScramOptions {
  readonly password: Secret<string>;
  /** Mechanisms the server offers. */
  readonly mechanisms: readonly string[];
  /** Channel binding data `tls-server-end-point` (RFC 5929, section 4), where the connection is TLS and it can be had. */
  readonly channelBinding: Buffer | undefined;
  /** 18 random bytes. */
  readonly nonce: Buffer;
}

/**
 * The client's side of SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677) as PostgreSQL uses it: the user name
 * is empty, since the startup message named it.
 */
export class ScramClient {
  readonly mechanism: string;
  readonly #password: Secret<string>;
  readonly #gs2Header: string;
  readonly #channelBinding: Buffer;
  readonly #clientNonce: string;
  readonly #firstBare: string;
  #serverSignature: Buffer | undefined;

  /** @throws {NightlatchError} `unauthenticated` when the server offers no mechanism of ours. */
  constructor({ password, mechanisms, channelBinding, nonce }: ScramOptions) {
    this.#password = password;
    if (channelBinding !== undefined && mechanisms.includes(SCRAM_PLUS)) {
      this.mechanism = SCRAM_PLUS;
      this.#gs2Header = 'p=tls-server-end-point,,';
      this.#channelBinding = channelBinding;
    } else if (mechanisms.includes(SCRAM)) {
      this.mechanism = SCRAM;
      // `y`: we could bind and the server does not offer it. An attacker who removed the offer is found out by the server.
      this.#gs2Header = channelBinding === undefined ? 'n,,' : 'y,,';
      this.#channelBinding = Buffer.alloc(0);
    } else
      throw new NightlatchError(
        'unauthenticated',
        `the database offers no SASL mechanism that is known here (${mechanisms.join(', ')})`,
      );
    this.#clientNonce = nonce.toString('base64');
    this.#firstBare = `n=,r=${this.#clientNonce}`;
  }

  /** client-first-message. */
  first(): Buffer {
    return Buffer.from(this.#gs2Header + this.#firstBare);
  }

  /**
   * client-final-message, in answer to server-first-message.
   * @throws {DecodeError} for a message that is not SCRAM's.
   */
  async final(serverFirst: string): Promise<Buffer> {
    const { r: nonce, s: salt64, i: rounds } = attributes(serverFirst);
    const salt = Buffer.from(salt64 ?? '', 'base64');
    const iterations = Number(rounds);
    if (nonce === undefined || !nonce.startsWith(this.#clientNonce) || nonce.length === this.#clientNonce.length)
      throw new DecodeError('SCRAM: the nonce is not ours');
    if (salt.length === 0) throw new DecodeError('SCRAM: no salt');
    if (!Number.isInteger(iterations) || iterations < 1 || iterations > MAX_ITERATIONS)
      throw new DecodeError(`SCRAM: ${rounds} iterations`);
    const salted = await pbkdf2Async(saslPrep(this.#password.reveal()), salt, iterations, 32, 'sha256');
    const clientKey = hmac(salted, 'Client Key');
    const storedKey = createHash('sha256').update(clientKey).digest();
    const binding = Buffer.concat([Buffer.from(this.#gs2Header), this.#channelBinding]).toString('base64');
    const withoutProof = `c=${binding},r=${nonce}`;
    const authMessage = `${this.#firstBare},${serverFirst},${withoutProof}`;
    const proof = hmac(storedKey, authMessage);
    for (let i = 0; i < proof.length; i++) proof[i]! ^= clientKey[i]!;
    this.#serverSignature = hmac(hmac(salted, 'Server Key'), authMessage);
    return Buffer.from(`${withoutProof},p=${proof.toString('base64')}`);
  }

  /**
   * Checks server-final-message: only who knows the password's verifier can sign it.
   * @throws {NightlatchError} `unauthenticated`; {DecodeError}.
   */
  verify(serverFinal: string): void {
    const { v: signature64, e: error } = attributes(serverFinal);
    if (error !== undefined) throw new NightlatchError('unauthenticated', `SCRAM: the database says ${error}`);
    const signature = Buffer.from(signature64 ?? '', 'base64');
    if (
      this.#serverSignature === undefined ||
      signature.length !== this.#serverSignature.length ||
      !timingSafeEqual(signature, this.#serverSignature)
    )
      throw new NightlatchError('unauthenticated', 'SCRAM: the signature of the database is wrong');
  }
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}

function attributes(message: string): Readonly<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const part of message.split(',')) {
    if (part[1] === '=') found[part[0]!] = part.slice(2);
  }
  return found;
}

/** SASLprep (RFC 4013) as far as passwords meet it: no invisible characters, spaces alike, NFKC. Where nothing changes the text stays. */
export function saslPrep(password: string): string {
  return password
    .replaceAll(/\u00ad|\u034f|\u1806|[\u180b-\u180d]|[\u200b-\u200d]|\u2060|[\ufe00-\ufe0f]|\ufeff/gu, '')
    .replaceAll(/[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]/gu, ' ')
    .normalize('NFKC');
}

/** The answer to AuthenticationMD5Password: `md5` and md5(md5(password + user) + salt), in hex. */
export function md5Response(user: string, password: Secret<string>, salt: Buffer): string {
  const md5 = (...parts: (string | Buffer)[]): string => {
    const hash = createHash('md5');
    for (const part of parts) hash.update(part);
    return hash.digest('hex');
  };
  return `md5${md5(md5(password.reveal(), user), salt)}`;
}
