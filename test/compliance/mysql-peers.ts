// A client and a server that speak just enough of the MySQL protocol to test a gateway between them. They share no code with it but the codecs.
import type net from 'node:net';
import type { Duplex } from 'node:stream';
import { CAPABILITY, OFFERED_CAPABILITIES } from '../../src/wire/mysql/capabilities.ts';
import { COMMAND } from '../../src/wire/mysql/commands.ts';
import {
  decodeHandshakeResponse,
  encodeHandshakeResponse,
  encodeHandshakeV10,
} from '../../src/wire/mysql/handshake.ts';
import { decodeError, encodePacket, MARK } from '../../src/wire/mysql/packets.ts';
import { TargetServer } from './db-subject.ts';

const OK = Buffer.from([0, 0, 0, 2, 0, 0, 0]);
const EOF = Buffer.from([0xfe, 0, 0, 2, 0]);

/** One packet with its sequence number. */
export interface Packet {
  readonly sequence: number;
  readonly payload: Buffer;
}

/** Cuts a stream into packets. */
export function onPackets(stream: Duplex, handle: (packet: Packet) => void): void {
  let buffered = Buffer.alloc(0);
  stream.on('data', (chunk: Buffer) => {
    buffered = Buffer.concat([buffered, chunk]);
    while (buffered.length >= 4) {
      const end = 4 + buffered.readUIntLE(0, 3);
      if (buffered.length < end) return;
      const packet = { sequence: buffered[3]!, payload: Buffer.from(buffered.subarray(4, end)) };
      buffered = buffered.subarray(end);
      handle(packet);
    }
  });
}

export function query(text: string): Buffer {
  return encodePacket(0, Buffer.concat([Buffer.from([COMMAND.query]), Buffer.from(text)]));
}

/** A connection at the target. */
export class TargetConnection {
  readonly socket: net.Socket;
  readonly closed: Promise<void>;
  readonly threadId: number;
  /** Payloads of the commands received. */
  readonly commands: Buffer[] = [];
  /** Statements that are not answered by themselves. */
  readonly held: string[] = [];
  loggedIn = false;
  #flooding = false;
  #onCommand: (() => void)[] = [];

  constructor(socket: net.Socket, threadId: number, kill: (threadId: number) => void) {
    this.socket = socket;
    this.threadId = threadId;
    socket.on('error', () => undefined);
    this.closed = new Promise((resolve) => socket.once('close', () => resolve()));
    socket.write(
      encodePacket(
        0,
        encodeHandshakeV10({
          serverVersion: '5.5.5-10.11.0-MariaDB',
          threadId,
          salt: Buffer.from('12345678901234567890'),
          capabilities: OFFERED_CAPABILITIES,
          plugin: 'mysql_native_password',
        }),
      ),
    );
    onPackets(socket, ({ sequence, payload }) => {
      if (!this.loggedIn) {
        decodeHandshakeResponse(payload);
        this.loggedIn = true;
        socket.write(encodePacket(sequence + 1, OK));
        return;
      }
      this.commands.push(payload);
      this.#answer(payload, kill);
      for (const resolve of this.#onCommand.splice(0)) resolve();
    });
  }

  #answer(payload: Buffer, kill: (threadId: number) => void): void {
    const text = payload.toString('utf8', 1);
    switch (payload[0]) {
      case COMMAND.quit:
        this.socket.end();
        return;
      case COMMAND.stmtClose:
        return;
      case COMMAND.query:
        if (text.startsWith('KILL ')) kill(Number(text.slice(5)));
        if (text === 'hold') {
          this.held.push(text);
          return;
        }
        if (text === 'flood') {
          this.#startFlood();
          return;
        }
        break;
      default:
    }
    this.socket.write(encodePacket(1, OK));
  }

  /** Answers the statement that is held. */
  release(): void {
    this.held.pop();
    this.socket.write(encodePacket(1, OK));
  }

  /** A result set without end, as fast as it is taken. */
  #startFlood(): void {
    this.#flooding = true;
    let sequence = 1;
    const column = Buffer.concat([Buffer.from('\x03def\0\0\0\x01c\0\x0c'), Buffer.alloc(12)]);
    for (const payload of [Buffer.from([1]), column, EOF]) this.socket.write(encodePacket(sequence++, payload));
    const row = Buffer.concat([Buffer.from([0xfd, 0, 0x10, 0]), Buffer.alloc(4096, 'x')]);
    const send = (): void => {
      if (!this.#flooding || this.socket.destroyed) return;
      if (this.socket.write(encodePacket(sequence++, row))) setImmediate(send);
      else this.socket.once('drain', send);
    };
    send();
  }

  /** Resolves when the target has received a further command. */
  nextCommand(): Promise<void> {
    return new Promise((resolve) => this.#onCommand.push(resolve));
  }
}

/** The target: accepts everybody, answers OK, and ends connections by `KILL`. */
export function listenAsTarget(): Promise<TargetServer<TargetConnection>> {
  let threadId = 10;
  return TargetServer.listen((socket, all) => {
    const kill = (id: number): void => {
      all.find((one) => one.threadId === id)?.socket.destroy();
    };
    return new TargetConnection(socket, ++threadId, kill);
  });
}

/** A client: logs in, sends commands, keeps what it was told. */
export class SmallClient {
  readonly stream: Duplex;
  readonly closed: Promise<void>;
  readonly packets: Packet[] = [];
  told = '';
  #waiting: (() => void)[] = [];
  #gone = false;

  constructor(stream: Duplex) {
    this.stream = stream;
    stream.on('error', () => undefined);
    this.closed = new Promise((resolve) =>
      stream.once('close', () => {
        this.#gone = true;
        this.#wake();
        resolve();
      }),
    );
    // Both sides close: a half-open connection would hide who did.
    stream.once('end', () => stream.end());
    onPackets(stream, (packet) => {
      if (packet.payload[0] === MARK.err && packet.payload.length > 9)
        this.told += `${decodeError(packet.payload).message}\n`;
      this.packets.push(packet);
      this.#wake();
    });
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  /** Takes the next packet; undefined when the connection is closed. */
  async next(): Promise<Packet | undefined> {
    while (this.packets.length === 0) {
      if (this.#gone) return undefined;
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    return this.packets.shift();
  }

  /** Signs in; true when the server said OK. `plugin` and `authData` are what the client says of itself, `flags` go on top of the least there is. */
  async login(
    user: string,
    { database = '', flags = 0, plugin = 'mysql_native_password', authData = Buffer.alloc(0) } = {},
  ): Promise<boolean> {
    const greeting = await this.next();
    if (greeting === undefined || greeting.payload[0] !== 10) return false;
    this.stream.write(
      encodePacket(
        greeting.sequence + 1,
        encodeHandshakeResponse({
          capabilities:
            CAPABILITY.protocol41 |
            CAPABILITY.secureConnection |
            CAPABILITY.pluginAuth |
            CAPABILITY.transactions |
            CAPABILITY.multiResults |
            flags |
            (database === '' ? 0 : CAPABILITY.connectWithDb),
          maxPacket: 0xff_ffff,
          charset: 45,
          user,
          authData,
          database,
          plugin,
          attributes: Buffer.alloc(0),
        }),
      ),
    );
    let answer = await this.next();
    // A caching_sha2_password client that has sent a password takes nothing but "fast authentication succeeded" for a good sign.
    if (plugin === 'caching_sha2_password' && authData.length > 1) {
      if (answer?.payload.equals(Buffer.from([MARK.authMoreData, 3])) !== true) return false;
      answer = await this.next();
    }
    return answer?.payload[0] === MARK.ok;
  }

  send(packet: Buffer): void {
    this.stream.write(packet);
  }

  /** Sends a command and waits for the one packet that answers it. */
  async command(packet: Buffer): Promise<Packet | undefined> {
    this.send(packet);
    return this.next();
  }
}
