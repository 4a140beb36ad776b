import { randomFillSync } from 'node:crypto';
import { DecodeError } from '../../core/errors.ts';
import { SshReader, SshWriter } from './buffer.ts';
import { MSG } from './messages.ts';

/** What one side can do, each list best first (RFC 4253 section 7.1). Compression and languages are not negotiated: `none`. */
export interface AlgorithmOffer {
  readonly kex: readonly string[];
  readonly hostKey: readonly string[];
  readonly cipherClientToServer: readonly string[];
  readonly cipherServerToClient: readonly string[];
  readonly macClientToServer: readonly string[];
  readonly macServerToClient: readonly string[];
}

/** SSH_MSG_KEXINIT as it came. */
export interface KexInit extends AlgorithmOffer {
  readonly compressionClientToServer: readonly string[];
  readonly compressionServerToClient: readonly string[];
  /** The sender has sent its first key exchange packet already, guessing the method. */
  readonly firstKexPacketFollows: boolean;
}

/** What both sides agreed on; the MAC is '' where the cipher authenticates by itself. */
export interface Negotiated {
  readonly kex: string;
  readonly hostKey: string;
  readonly cipherClientToServer: string;
  readonly cipherServerToClient: string;
  readonly macClientToServer: string;
  readonly macServerToClient: string;
}

/** Names in the list of key exchange methods that are markers, not methods. */
export const EXT_INFO_CLIENT = 'ext-info-c';
export const STRICT_KEX_CLIENT = 'kex-strict-c-v00@openssh.com';
export const STRICT_KEX_SERVER = 'kex-strict-s-v00@openssh.com';
const MARKERS: readonly string[] = [EXT_INFO_CLIENT, 'ext-info-s', STRICT_KEX_CLIENT, STRICT_KEX_SERVER];

/** Makes SSH_MSG_KEXINIT with a fresh cookie. */
export function encodeKexInit(offer: AlgorithmOffer): Buffer {
  return new SshWriter(1024)
    .byte(MSG.KEXINIT)
    .bytes(randomFillSync(Buffer.allocUnsafe(16)))
    .nameList(offer.kex)
    .nameList(offer.hostKey)
    .nameList(offer.cipherClientToServer)
    .nameList(offer.cipherServerToClient)
    .nameList(offer.macClientToServer)
    .nameList(offer.macServerToClient)
    .nameList(['none'])
    .nameList(['none'])
    .nameList([])
    .nameList([])
    .boolean(false)
    .uint32(0)
    .finish();
}

/** @throws {DecodeError} */
export function decodeKexInit(packet: Uint8Array): KexInit {
  const reader = new SshReader(packet);
  if (reader.byte() !== MSG.KEXINIT) throw new DecodeError('the message is no KEXINIT');
  reader.bytes(16);
  const kexInit = {
    kex: reader.nameList(),
    hostKey: reader.nameList(),
    cipherClientToServer: reader.nameList(),
    cipherServerToClient: reader.nameList(),
    macClientToServer: reader.nameList(),
    macServerToClient: reader.nameList(),
    compressionClientToServer: reader.nameList(),
    compressionServerToClient: reader.nameList(),
  };
  reader.nameList();
  reader.nameList();
  const firstKexPacketFollows = reader.boolean();
  reader.uint32();
  return { ...kexInit, firstKexPacketFollows };
}

/**
 * The first algorithm of the client's list that the server has, for each sort (RFC 4253 section 7.1).
 * `isAead` says of a cipher that it needs no MAC.
 * @throws {DecodeError} where there is none, naming the sort and what was offered.
 */
export function negotiate(
  client: AlgorithmOffer,
  server: AlgorithmOffer,
  isAead: (cipher: string) => boolean,
): Negotiated {
  const kex = choose('key exchange method', withoutMarkers(client.kex), withoutMarkers(server.kex));
  const hostKey = choose('host key type', client.hostKey, server.hostKey);
  const cipherClientToServer = choose('cipher', client.cipherClientToServer, server.cipherClientToServer);
  const cipherServerToClient = choose('cipher', client.cipherServerToClient, server.cipherServerToClient);
  return {
    kex,
    hostKey,
    cipherClientToServer,
    cipherServerToClient,
    macClientToServer: isAead(cipherClientToServer)
      ? ''
      : choose('MAC', client.macClientToServer, server.macClientToServer),
    macServerToClient: isAead(cipherServerToClient)
      ? ''
      : choose('MAC', client.macServerToClient, server.macServerToClient),
  };
}

/** Whether a guessed first packet is the right one: both the method and the host key type must be everybody's first. */
export function guessedRight(client: AlgorithmOffer, server: AlgorithmOffer): boolean {
  return withoutMarkers(client.kex)[0] === withoutMarkers(server.kex)[0] && client.hostKey[0] === server.hostKey[0];
}

function withoutMarkers(names: readonly string[]): readonly string[] {
  return names.filter((name) => !MARKERS.includes(name));
}

function choose(sort: string, client: readonly string[], server: readonly string[]): string {
  const chosen = client.find((name) => server.includes(name));
  if (chosen === undefined) {
    const list = client.slice(0, 20).join(',').slice(0, 300);
    throw new DecodeError(`no common ${sort}: the client offers ${list === '' ? 'none' : list}`);
  }
  return chosen;
}
