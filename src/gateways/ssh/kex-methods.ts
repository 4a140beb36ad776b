import {
  createDiffieHellmanGroup,
  createECDH,
  createHash,
  createPublicKey,
  decapsulate,
  diffieHellman,
  encapsulate,
  generateKeyPairSync,
  type KeyObject,
} from 'node:crypto';
import { NightlatchError } from '../../core/errors.ts';
import { SshWriter } from '../../wire/ssh/buffer.ts';

/** The shared secret as it enters the exchange hash and the key derivation: encoded already, as a `string` or an `mpint`. */
type EncodedSecret = Buffer;

/** The client's half of an exchange: what it sends, and the secret it has once the server has answered. */
export interface ClientExchange {
  readonly init: Buffer;
  finish(reply: Uint8Array): EncodedSecret;
}

/** A key exchange method whose messages are 30 and 31 with one string from each side (RFC 5656, RFC 8731, RFC 4253 section 8). */
export interface KexMethod {
  readonly name: string;
  readonly hash: 'sha256' | 'sha384' | 'sha512';
  /** Public values stand in the exchange hash as `mpint` for finite-field Diffie-Hellman, else as `string`. */
  readonly publicAs: 'string' | 'mpint';
  client(): ClientExchange;
  /** The server's side. @throws {NightlatchError} `protocol` where the client's value is not valid. */
  server(init: Uint8Array): { readonly reply: Buffer; readonly secret: EncodedSecret };
}

function badValue(what: string, cause?: unknown): NightlatchError {
  return new NightlatchError('protocol', `the peer's ${what} is not valid`, { cause });
}

function asMpint(magnitude: Uint8Array): EncodedSecret {
  return new SshWriter(magnitude.length + 5).mpint(magnitude).finish();
}

const X25519_BYTES = 32;
/** SubjectPublicKeyInfo of an X25519 key up to its 32 bytes (RFC 8410). */
const X25519_SPKI = Buffer.from('302a300506032b656e032100', 'hex');

function rawX25519(key: KeyObject): Buffer {
  return key.export({ type: 'spki', format: 'der' }).subarray(-X25519_BYTES);
}

/** @throws {NightlatchError} `protocol` for a value of wrong length or of small order (RFC 7748 section 6.1). */
function agreeX25519(privateKey: KeyObject, peer: Uint8Array): Buffer {
  if (peer.length !== X25519_BYTES) throw badValue('X25519 key');
  try {
    const publicKey = createPublicKey({ key: Buffer.concat([X25519_SPKI, peer]), format: 'der', type: 'spki' });
    const secret = diffieHellman({ privateKey, publicKey });
    if (secret.every((byte) => byte === 0)) throw badValue('X25519 key');
    return secret;
  } catch (error) {
    throw badValue('X25519 key', error);
  }
}

/** curve25519-sha256 (RFC 8731). */
function curve25519(name: string): KexMethod {
  return {
    name,
    hash: 'sha256',
    publicAs: 'string',
    client() {
      const { publicKey, privateKey } = generateKeyPairSync('x25519');
      return { init: rawX25519(publicKey), finish: (reply) => asMpint(agreeX25519(privateKey, reply)) };
    },
    server(init) {
      const { publicKey, privateKey } = generateKeyPairSync('x25519');
      return { reply: rawX25519(publicKey), secret: asMpint(agreeX25519(privateKey, init)) };
    },
  };
}

/** Bytes of an ML-KEM-768 encapsulation key and of a ciphertext (FIPS 203, table 3). */
const MLKEM768_KEY_BYTES = 1184;
const MLKEM768_CIPHERTEXT_BYTES = 1088;
/** SubjectPublicKeyInfo of an ML-KEM-768 key up to its 1184 bytes (RFC 9935: id-alg-ml-kem-768, 2.16.840.1.101.3.4.4.2). */
const MLKEM768_SPKI = Buffer.from('308204b2300b0609608648016503040402038204a100', 'hex');

/**
 * The secret of the hybrid: HASH(K_PQ || K_CL), encoded as a `string` (draft-ietf-sshm-mlkem-hybrid-kex section 2.4). Exported
 * for the test against its vectors.
 */
export function combineMlkemX25519(postQuantum: Uint8Array, classical: Uint8Array): EncodedSecret {
  const combined = createHash('sha256').update(postQuantum).update(classical).digest();
  return new SshWriter(36).string(combined).finish();
}

/**
 * mlkem768x25519-sha256: ML-KEM-768 and X25519 side by side, post-quantum first in every concatenation
 * (draft-ietf-sshm-mlkem-hybrid-kex; OpenSSH's default since 10.0).
 */
const mlkem768x25519: KexMethod = {
  name: 'mlkem768x25519-sha256',
  hash: 'sha256',
  publicAs: 'string',
  client() {
    const kem = generateKeyPairSync('ml-kem-768');
    const classical = generateKeyPairSync('x25519');
    const kemKey = kem.publicKey.export({ type: 'spki', format: 'der' }).subarray(-MLKEM768_KEY_BYTES);
    return {
      init: Buffer.concat([kemKey, rawX25519(classical.publicKey)]),
      finish(reply) {
        if (reply.length !== MLKEM768_CIPHERTEXT_BYTES + X25519_BYTES) throw badValue('hybrid reply');
        const shared = decapsulate(kem.privateKey, reply.subarray(0, MLKEM768_CIPHERTEXT_BYTES));
        return combineMlkemX25519(shared, agreeX25519(classical.privateKey, reply.subarray(MLKEM768_CIPHERTEXT_BYTES)));
      },
    };
  },
  server(init) {
    if (init.length !== MLKEM768_KEY_BYTES + X25519_BYTES) throw badValue('hybrid key');
    let kem: { sharedKey: Uint8Array; ciphertext: Uint8Array };
    try {
      const key = Buffer.concat([MLKEM768_SPKI, init.subarray(0, MLKEM768_KEY_BYTES)]);
      kem = encapsulate(createPublicKey({ key, format: 'der', type: 'spki' }));
    } catch (error) {
      // FIPS 203 section 7.2: a key with a coefficient out of range is refused.
      throw badValue('ML-KEM key', error);
    }
    const { publicKey, privateKey } = generateKeyPairSync('x25519');
    const secret = combineMlkemX25519(kem.sharedKey, agreeX25519(privateKey, init.subarray(MLKEM768_KEY_BYTES)));
    return { reply: Buffer.concat([kem.ciphertext, rawX25519(publicKey)]), secret };
  },
};

/** ecdh-sha2-nistp256 and its sisters (RFC 5656 section 4). */
function ecdh(name: string, curve: string, hash: KexMethod['hash']): KexMethod {
  const agree = (own: ReturnType<typeof createECDH>, peer: Uint8Array) => {
    try {
      return asMpint(own.computeSecret(peer));
    } catch (error) {
      throw badValue('ECDH key', error);
    }
  };
  return {
    name,
    hash,
    publicAs: 'string',
    client() {
      const own = createECDH(curve);
      return { init: own.generateKeys(), finish: (reply) => agree(own, reply) };
    },
    server(init) {
      const own = createECDH(curve);
      const reply = own.generateKeys();
      return { reply, secret: agree(own, init) };
    },
  };
}

/** Finite-field Diffie-Hellman with a group of RFC 3526 (RFC 8268). Node refuses peers' values outside of 2 … p-2. */
function modp(name: string, group: string, hash: KexMethod['hash']): KexMethod {
  const agree = (own: ReturnType<typeof createDiffieHellmanGroup>, peer: Uint8Array) => {
    try {
      return asMpint(own.computeSecret(peer));
    } catch (error) {
      throw badValue('Diffie-Hellman value', error);
    }
  };
  return {
    name,
    hash,
    publicAs: 'mpint',
    client() {
      const own = createDiffieHellmanGroup(group);
      return { init: own.generateKeys(), finish: (reply) => agree(own, reply) };
    },
    server(init) {
      const own = createDiffieHellmanGroup(group);
      const reply = own.generateKeys();
      return { reply, secret: agree(own, init) };
    },
  };
}

/** Key exchange methods, best first. */
const METHODS: readonly KexMethod[] = [
  mlkem768x25519,
  curve25519('curve25519-sha256'),
  curve25519('curve25519-sha256@libssh.org'),
  ecdh('ecdh-sha2-nistp256', 'prime256v1', 'sha256'),
  ecdh('ecdh-sha2-nistp384', 'secp384r1', 'sha384'),
  ecdh('ecdh-sha2-nistp521', 'secp521r1', 'sha512'),
  modp('diffie-hellman-group16-sha512', 'modp16', 'sha512'),
  modp('diffie-hellman-group14-sha256', 'modp14', 'sha256'),
];

export const KEX_NAMES: readonly string[] = METHODS.map((method) => method.name);

/** @throws {NightlatchError} `protocol` for a name that is not in `KEX_NAMES`. */
export function kexMethod(name: string): KexMethod {
  const method = METHODS.find((candidate) => candidate.name === name);
  if (method === undefined) throw new NightlatchError('protocol', `unknown key exchange method ${name}`);
  return method;
}
