import { createHash } from 'node:crypto';
import { DecodeError, NightlatchError } from '../../core/errors.ts';
import { SshReader, SshWriter } from '../../wire/ssh/buffer.ts';
import { CERTIFICATE_SUFFIX, decodeCertificate } from '../../wire/ssh/certificate.ts';
import {
  type AlgorithmOffer,
  decodeKexInit,
  EXT_INFO_CLIENT,
  encodeKexInit,
  guessedRight,
  type KexInit,
  type Negotiated,
  negotiate,
  STRICT_KEX_CLIENT,
  STRICT_KEX_SERVER,
} from '../../wire/ssh/kexinit.ts';
import { decodePublicKey, SIGNATURE_ALGORITHMS, sshVerify } from '../../wire/ssh/keys.ts';
import { MSG } from '../../wire/ssh/messages.ts';
import { type ClientExchange, KEX_NAMES, type KexMethod, kexMethod } from './kex-methods.ts';
import { CIPHER_NAMES, createOpener, createSealer, isAead, keyLengths, MAC_NAMES } from './packet-cipher.ts';
import type { DirectionKeys, PacketOpener, PacketSealer } from './packet-protection.ts';

/** One key or certificate of a server, for one algorithm name. */
export interface HostKey {
  /** As negotiated: `ssh-ed25519-cert-v01@openssh.com`, `rsa-sha2-512`, … */
  readonly algorithm: string;
  /** Public key blob or certificate. */
  readonly blob: Buffer;
  /** Makes a signature blob (algorithm and signature). */
  sign(data: Uint8Array): Buffer;
}

/** Whether a server's key or certificate blob is the one expected. `reason` is for the operator. */
export type VerifyHostKey = (blob: Buffer) => { readonly ok: true } | { readonly ok: false; readonly reason: string };

/** What the first key exchange led to. */
export interface HandshakeResult {
  readonly negotiated: Negotiated;
  readonly strict: boolean;
  readonly peerIdent: string;
}

/** What the transport does for its key exchange. */
export interface KeyExchangeActions {
  send(packet: Uint8Array): void;
  newSendKeys(sealer: PacketSealer, resetSequence: boolean): void;
  newReceiveKeys(opener: PacketOpener, resetSequence: boolean): void;
  /** Our NEWKEYS has been sent: other packets may follow. */
  sendReady(result: HandshakeResult, first: boolean): void;
  /** The peer's NEWKEYS has come as well. */
  complete(): void;
}

export interface KeyExchangeOptions {
  readonly role: 'server' | 'client';
  readonly hostKeys?: readonly HostKey[];
  readonly verifyHostKey?: VerifyHostKey;
  readonly hostKeyAlgorithms?: readonly string[];
  readonly kex?: readonly string[];
  readonly ciphers?: readonly string[];
}

/**
 * Where an exchange stands: nothing under way; our KEXINIT is out; both are and the method's messages run; ours is done and the
 * peer's NEWKEYS is awaited.
 */
type Phase = 'idle' | 'started' | 'method' | 'newkeys';

/** Signature algorithms told to clients (RFC 8308 section 3.1), with and without certificates. */
const SERVER_SIG_ALGS = SIGNATURE_ALGORITHMS.flatMap((name) => [name, name + CERTIFICATE_SUFFIX]);

/** Key exchange of one transport, as a state machine without IO (RFC 4253 section 7; strict mode: OpenSSH's PROTOCOL section 1.10). */
export class KeyExchange {
  completed = 0;
  readonly #role: 'server' | 'client';
  readonly #options: KeyExchangeOptions;
  readonly #ownIdent: Buffer;
  readonly #actions: KeyExchangeActions;
  #peerIdent: Buffer | undefined;
  #phase: Phase = 'idle';
  #ownInit: Buffer | undefined;
  #peerInit: Buffer | undefined;
  #negotiated: Negotiated | undefined;
  #method: KexMethod | undefined;
  #clientExchange: ClientExchange | undefined;
  #nextOpener: PacketOpener | undefined;
  #ignoreGuess = false;
  #strict = false;
  #extInfo = false;
  #sessionId: Buffer | undefined;

  /** `ownIdent`: our identification string without its end of line; kept, not copied. */
  constructor(options: KeyExchangeOptions, ownIdent: Buffer, actions: KeyExchangeActions) {
    this.#role = options.role;
    this.#options = options;
    this.#ownIdent = ownIdent;
    this.#actions = actions;
  }

  get sessionId(): Buffer {
    if (this.#sessionId === undefined) throw new NightlatchError('internal', 'no key exchange has been done yet');
    return this.#sessionId;
  }

  /** No exchange is under way. */
  get idle(): boolean {
    return this.#phase === 'idle' && this.completed > 0;
  }

  /** Our KEXINIT is out and our NEWKEYS is not: nothing else may be sent. */
  get blocksSending(): boolean {
    return this.#phase === 'started' || this.#phase === 'method';
  }

  /** The peer may send packets of other protocols: its KEXINIT has not come. */
  get passesData(): boolean {
    return this.completed > 0 && (this.#phase === 'idle' || this.#phase === 'started');
  }

  peerIdent(ident: Buffer): void {
    this.#peerIdent = ident;
  }

  /** Sends our KEXINIT. */
  start(): void {
    this.#phase = 'started';
    this.#ownInit = encodeKexInit(this.#offer());
    this.#actions.send(this.#ownInit);
  }

  /**
   * Handles a packet that belongs to the exchange, and refuses those that may not come during it.
   * @returns false where the packet is not of the key exchange and may be handled by others.
   * @throws {NightlatchError} `protocol`; {DecodeError}
   */
  packet(payload: Buffer, sequence: number): boolean {
    const type = payload[0]!;
    if (this.completed === 0 && this.#peerInit === undefined && type === MSG.KEXINIT && sequence !== 0) {
      // Strict mode demands that KEXINIT is the first packet; whether the peer wants it is known only from this very packet.
      const init = decodeKexInit(payload);
      if (init.kex.includes(this.#role === 'server' ? STRICT_KEX_CLIENT : STRICT_KEX_SERVER)) {
        throw new NightlatchError('protocol', 'KEXINIT is not the first packet (strict key exchange)');
      }
    }
    if (type === MSG.KEXINIT) {
      this.#kexInit(payload);
      return true;
    }
    if (type === MSG.NEWKEYS) {
      this.#newKeys();
      return true;
    }
    if (type >= 30 && type <= 49) {
      if (this.#ignoreGuess) this.#ignoreGuess = false;
      else this.#methodPacket(payload);
      return true;
    }
    const underWay = this.#phase === 'method' || this.#phase === 'newkeys' || this.completed === 0;
    if (!underWay) return false;
    // RFC 4253 section 7.1: during an exchange only the transport's own messages, and in strict mode none at all at first.
    const transportMessage = type === MSG.IGNORE || type === MSG.UNIMPLEMENTED || type === MSG.DEBUG;
    if (!transportMessage || (this.#strict && this.completed === 0)) {
      throw new NightlatchError('protocol', `a packet of type ${type} came during the key exchange`);
    }
    return true;
  }

  #offer(): AlgorithmOffer {
    const { kex = KEX_NAMES, ciphers = CIPHER_NAMES, hostKeys = [], hostKeyAlgorithms = [] } = this.#options;
    const first = this.completed === 0;
    const markers = this.#role === 'server' ? [STRICT_KEX_SERVER] : [EXT_INFO_CLIENT, STRICT_KEX_CLIENT];
    return {
      kex: first ? [...kex, ...markers] : kex,
      hostKey: this.#role === 'server' ? hostKeys.map((key) => key.algorithm) : hostKeyAlgorithms,
      cipherClientToServer: ciphers,
      cipherServerToClient: ciphers,
      macClientToServer: MAC_NAMES,
      macServerToClient: MAC_NAMES,
    };
  }

  #kexInit(payload: Buffer): void {
    if (this.#peerInit !== undefined || this.#phase === 'newkeys') {
      throw new NightlatchError('protocol', 'a second KEXINIT came during the key exchange');
    }
    const peer = decodeKexInit(payload);
    if (this.#phase === 'idle') this.start();
    this.#peerInit = Buffer.from(payload);
    const own = this.#offer();
    const [client, server] = this.#role === 'server' ? [peer, own] : [own, peer];
    if (this.completed === 0) this.#readMarkers(peer);
    this.#negotiated = negotiate(client, server, isAead);
    this.#method = kexMethod(this.#negotiated.kex);
    this.#ignoreGuess = peer.firstKexPacketFollows && !guessedRight(client, server);
    for (const list of [peer.compressionClientToServer, peer.compressionServerToClient]) {
      if (!list.includes('none')) throw new DecodeError('the peer insists on compression');
    }
    this.#phase = 'method';
    if (this.#role === 'client') {
      this.#clientExchange = this.#method.client();
      const writer = new SshWriter(1280).byte(MSG.KEX_INIT);
      this.#actions.send(this.#writePublic(writer, this.#clientExchange.init).finish());
    }
  }

  #readMarkers(peer: KexInit): void {
    this.#strict = peer.kex.includes(this.#role === 'server' ? STRICT_KEX_CLIENT : STRICT_KEX_SERVER);
    this.#extInfo = this.#role === 'server' && peer.kex.includes(EXT_INFO_CLIENT);
  }

  #methodPacket(payload: Buffer): void {
    const wanted = this.#role === 'server' ? MSG.KEX_INIT : MSG.KEX_REPLY;
    if (this.#phase !== 'method' || payload[0] !== wanted) {
      throw new NightlatchError('protocol', `key exchange message ${payload[0]} came out of turn`);
    }
    if (this.#role === 'server') this.#serverReply(payload);
    else this.#clientFinish(payload);
  }

  #serverReply(payload: Buffer): void {
    const reader = new SshReader(payload, 1);
    const init = this.#readPublic(reader);
    reader.end();
    const hostKey = this.#options.hostKeys!.find((key) => key.algorithm === this.#negotiated!.hostKey)!;
    const { reply, secret } = this.#method!.server(init);
    const hash = this.#exchangeHash(hostKey.blob, init, reply, secret);
    const writer = new SshWriter(2048).byte(MSG.KEX_REPLY).string(hostKey.blob);
    this.#actions.send(this.#writePublic(writer, reply).string(hostKey.sign(hash)).finish());
    this.#switchKeys(secret, hash);
  }

  #clientFinish(payload: Buffer): void {
    const reader = new SshReader(payload, 1);
    const blob = Buffer.from(reader.string());
    const reply = this.#readPublic(reader);
    const signature = reader.string();
    reader.end();
    const secret = this.#clientExchange!.finish(reply);
    const hash = this.#exchangeHash(blob, this.#clientExchange!.init, reply, secret);
    const verdict = this.#options.verifyHostKey?.(blob) ?? {
      ok: false,
      reason: 'there is nothing to check it against',
    };
    if (!verdict.ok) {
      throw new NightlatchError('access_denied', `the host key of the target is not accepted: ${verdict.reason}`);
    }
    if (!signatureHolds(this.#negotiated!.hostKey, blob, hash, signature)) {
      throw new NightlatchError('access_denied', 'the target has not proved that the host key is its own');
    }
    this.#switchKeys(secret, hash);
  }

  #writePublic(writer: SshWriter, value: Uint8Array): SshWriter {
    return this.#method!.publicAs === 'mpint' ? writer.mpint(value) : writer.string(value);
  }

  #readPublic(reader: SshReader): Buffer {
    return Buffer.from(this.#method!.publicAs === 'mpint' ? reader.mpint(1024) : reader.string(8192));
  }

  /** RFC 4253 section 8, RFC 5656 section 4: the hash of all that both sides have said. */
  #exchangeHash(hostKey: Buffer, init: Uint8Array, reply: Uint8Array, secret: Buffer): Buffer {
    const server = this.#role === 'server';
    const writer = new SshWriter(8192)
      .string(server ? this.#peerIdent! : this.#ownIdent)
      .string(server ? this.#ownIdent : this.#peerIdent!)
      .string(server ? this.#peerInit! : this.#ownInit!)
      .string(server ? this.#ownInit! : this.#peerInit!)
      .string(hostKey);
    this.#writePublic(writer, init);
    this.#writePublic(writer, reply).bytes(secret);
    return createHash(this.#method!.hash).update(writer.finish()).digest();
  }

  #switchKeys(secret: Buffer, hash: Buffer): void {
    this.#sessionId ??= hash;
    const negotiated = this.#negotiated!;
    const derive = (letter: string, bytes: number) =>
      deriveKey(this.#method!.hash, secret, hash, letter, this.sessionId, bytes);
    const direction = (cipher: string, mac: string, letters: string): DirectionKeys => {
      const lengths = keyLengths(cipher, mac);
      return {
        cipher,
        mac,
        iv: derive(letters[0]!, lengths.iv),
        key: derive(letters[1]!, lengths.key),
        macKey: derive(letters[2]!, lengths.mac),
      };
    };
    const clientToServer = direction(negotiated.cipherClientToServer, negotiated.macClientToServer, 'ACE');
    const serverToClient = direction(negotiated.cipherServerToClient, negotiated.macServerToClient, 'BDF');
    const [send, receive] =
      this.#role === 'server' ? [serverToClient, clientToServer] : [clientToServer, serverToClient];
    this.#actions.send(Buffer.from([MSG.NEWKEYS]));
    this.#actions.newSendKeys(createSealer(send), this.#strict);
    this.#nextOpener = createOpener(receive);
    this.#phase = 'newkeys';
    const first = this.completed === 0;
    this.#ownInit = undefined;
    this.#peerInit = undefined;
    this.#clientExchange = undefined;
    const result = { negotiated, strict: this.#strict, peerIdent: this.#peerIdent!.toString('latin1') };
    this.#actions.sendReady(result, first);
  }

  /**
   * RFC 8308: tells a client that signatures by RSA keys with SHA-2 are understood. It is the next packet after our NEWKEYS, and sent
   * when the client's has come: a client with Nagle's algorithm on (OpenSSH before its session starts) holds its next packet back until
   * something acknowledges its NEWKEYS, and the kernel alone would take 40 ms for that.
   */
  #sendExtInfo(): void {
    const writer = new SshWriter(512).byte(MSG.EXT_INFO).uint32(1).string('server-sig-algs').nameList(SERVER_SIG_ALGS);
    this.#actions.send(writer.finish());
  }

  #newKeys(): void {
    if (this.#phase !== 'newkeys' || this.#nextOpener === undefined) {
      throw new NightlatchError('protocol', 'NEWKEYS came out of turn');
    }
    this.#actions.newReceiveKeys(this.#nextOpener, this.#strict);
    this.#nextOpener = undefined;
    this.#phase = 'idle';
    if (this.completed === 0 && this.#extInfo) this.#sendExtInfo();
    this.completed++;
    this.#actions.complete();
  }
}

/** Whether the signature over `hash` is by the key in the blob and by the algorithm that was agreed on. */
function signatureHolds(algorithm: string, blob: Buffer, hash: Buffer, signature: Buffer): boolean {
  const plain = algorithm.endsWith(CERTIFICATE_SUFFIX) ? algorithm.slice(0, -CERTIFICATE_SUFFIX.length) : algorithm;
  const key = algorithm === plain ? decodePublicKey(blob).key : decodeCertificate(blob).publicKey;
  return sshVerify(key, hash, signature, [plain]);
}

/** RFC 4253 section 7.2. `secret` is encoded already. */
function deriveKey(
  hashName: string,
  secret: Buffer,
  hash: Buffer,
  letter: string,
  sessionId: Buffer,
  bytes: number,
): Buffer {
  let key = createHash(hashName).update(secret).update(hash).update(letter).update(sessionId).digest();
  while (key.length < bytes) {
    const more = createHash(hashName).update(secret).update(hash).update(key).digest();
    key = Buffer.concat([key, more]);
  }
  return key.subarray(0, bytes);
}
