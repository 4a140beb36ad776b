import { createHash, randomBytes } from 'node:crypto';
import { Secret } from '../core/secret.ts';

/** A bearer token: 256 random bits, base64url. */
export function createToken(): Secret<string> {
  return new Secret(randomBytes(32).toString('base64url'));
}

/** The key under which a token is kept: its SHA-256, so that who reads the store cannot use it. */
export function tokenKey(token: Secret<string>): string {
  return createHash('sha256').update(token.reveal()).digest('hex');
}

/** Whether a text has the form of a token; what has not is not looked up. */
export function isToken(token: Secret<string>): boolean {
  return /^[A-Za-z0-9_-]{43}$/.test(token.reveal());
}
