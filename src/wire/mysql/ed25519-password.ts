import { createHash } from 'node:crypto';

// MariaDB's `ed25519` plugin signs the server's challenge as RFC 8032 (section 5.1.6) does, except that the key's hash is taken over the password,
// which has any length. The platform's Ed25519 takes seeds of 32 bytes only, so the arithmetic is here; it runs once a login.

const P = 2n ** 255n - 19n;
/** Order of the base point. */
const L = 2n ** 252n + 27742317777372353535851937790883648493n;
const D = mod(-121665n * invert(121666n));

type Point = readonly [x: bigint, y: bigint, z: bigint, t: bigint];

const BASE: Point = (() => {
  const x = 15112221349535400772501151409588531511454012693041857206046113283949847762202n;
  const y = mod(4n * invert(5n));
  return [x, y, 1n, mod(x * y)];
})();

function mod(value: bigint, modulus = P): bigint {
  const rest = value % modulus;
  return rest >= 0n ? rest : rest + modulus;
}

function invert(value: bigint): bigint {
  let result = 1n;
  let base = mod(value);
  for (let exponent = P - 2n; exponent > 0n; exponent >>= 1n) {
    if ((exponent & 1n) === 1n) result = mod(result * base);
    base = mod(base * base);
  }
  return result;
}

/** RFC 8032, section 5.1.4: complete, so that it also doubles. */
function add([x1, y1, z1, t1]: Point, [x2, y2, z2, t2]: Point): Point {
  const a = mod((y1 - x1) * (y2 - x2));
  const b = mod((y1 + x1) * (y2 + x2));
  const c = mod(2n * D * t1 * t2);
  const d = mod(2n * z1 * z2);
  const e = b - a;
  const f = d - c;
  const g = d + c;
  const h = b + a;
  return [mod(e * f), mod(g * h), mod(f * g), mod(e * h)];
}

/** The same number of steps whatever the scalar is. */
function multiplyBase(scalar: bigint): Point {
  let low: Point = [0n, 1n, 1n, 0n];
  let high = BASE;
  for (let bit = 255n; bit >= 0n; bit--) {
    const sum = add(low, high);
    if (((scalar >> bit) & 1n) === 0n) [low, high] = [add(low, low), sum];
    else [low, high] = [sum, add(high, high)];
  }
  return low;
}

function encodePoint([x, y, z]: Point): Buffer {
  const inverse = invert(z);
  const encoded = encodeInteger(mod(y * inverse));
  if ((mod(x * inverse) & 1n) === 1n) encoded[31]! |= 0x80;
  return encoded;
}

function encodeInteger(value: bigint): Buffer {
  return Buffer.from(value.toString(16).padStart(64, '0'), 'hex').reverse();
}

function decodeInteger(bytes: Uint8Array): bigint {
  return BigInt(`0x${Buffer.from(bytes).reverse().toString('hex')}`);
}

function sha512(...parts: readonly Uint8Array[]): Buffer {
  const hash = createHash('sha512');
  for (const part of parts) hash.update(part);
  return hash.digest();
}

/** The answer of the plugin `client_ed25519` to a challenge: 64 bytes, R and S. */
export function signWithPassword(password: Uint8Array, challenge: Uint8Array): Buffer {
  const expanded = sha512(password);
  const clamped = Buffer.from(expanded.subarray(0, 32));
  clamped[0]! &= 248;
  clamped[31] = (clamped[31]! & 63) | 64;
  const secret = decodeInteger(clamped);
  const publicKey = encodePoint(multiplyBase(secret));
  const nonce = mod(decodeInteger(sha512(expanded.subarray(32), challenge)), L);
  const r = encodePoint(multiplyBase(nonce));
  const k = mod(decodeInteger(sha512(r, publicKey, challenge)), L);
  return Buffer.concat([r, encodeInteger(mod(nonce + k * secret, L))]);
}
