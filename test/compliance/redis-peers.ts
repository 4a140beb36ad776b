// A client and a server that speak just enough of RESP to test a gateway between them.
import type net from 'node:net';
import type { Duplex } from 'node:stream';
import { ReplyTap } from '../../src/wire/redis/reply-tap.ts';
import { decodeCommandHead } from '../../src/wire/redis/resp.ts';
import { TargetServer } from './db-subject.ts';

/** A connection at the target. */
export class TargetConnection {
  readonly socket: net.Socket;
  readonly closed: Promise<void>;
  /** Commands received, as words. */
  readonly commands: string[][] = [];
  #onCommand: (() => void)[] = [];

  constructor(socket: net.Socket) {
    this.socket = socket;
    socket.setNoDelay(true);
    socket.on('error', () => undefined);
    this.closed = new Promise((resolve) => socket.once('close', () => resolve()));
    let buffered: Buffer = Buffer.alloc(0);
    socket.on('data', (chunk: Buffer) => {
      buffered = Buffer.concat([buffered, chunk]);
      for (;;) {
        const head = decodeCommandHead(buffered, 0, 64, 1 << 20);
        if (head === undefined) return;
        buffered = buffered.subarray(head.next);
        if (head.count > 0) this.#command(head.args.map((arg) => arg.toString()));
      }
    });
    socket.once('end', () => socket.end());
  }

  #command(words: string[]): void {
    this.commands.push(words);
    const [name] = words;
    if (name === 'PING') this.socket.write('+PONG\r\n');
    else if (name === 'SUBSCRIBE') this.#flood();
    else if (name === 'NIGHTLATCH.ANSWERED') this.socket.write("-ERR unknown command 'NIGHTLATCH.ANSWERED'\r\n");
    else if (name !== 'BLPOP') this.socket.write('+OK\r\n');
    for (const resolve of this.#onCommand.splice(0)) resolve();
  }

  /** Answers the command that blocks. */
  release(): void {
    this.socket.write('*2\r\n$1\r\nk\r\n$1\r\nv\r\n');
  }

  /** Messages to a subscriber without end, as fast as they are taken. */
  #flood(): void {
    this.socket.write('*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n');
    const message = `*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$4096\r\n${'x'.repeat(4096)}\r\n`;
    const send = (): void => {
      if (this.socket.destroyed) return;
      if (this.socket.write(message)) setImmediate(send);
      else this.socket.once('drain', send);
    };
    send();
  }

  /** Resolves when the target has received a further command. */
  nextCommand(): Promise<void> {
    return new Promise((resolve) => this.#onCommand.push(resolve));
  }
}

/** The target: takes everybody in and answers OK. */
export function listenAsTarget(): Promise<TargetServer<TargetConnection>> {
  return TargetServer.listen((socket) => new TargetConnection(socket));
}

/** A client: sends commands and keeps what it was told. */
export class SmallClient {
  readonly stream: Duplex;
  readonly closed: Promise<void>;
  told = '';
  /** Whole messages received, and text as it came. */
  messages = 0;
  #gone = false;
  #waiting: (() => void)[] = [];

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
    stream.once('end', () => stream.end());
    const tap = new ReplyTap(() => {
      this.messages += 1;
    });
    stream.on('data', (chunk: Buffer) => {
      this.told += chunk.toString('latin1');
      if (this.told.length > 2_000_000) this.told = this.told.slice(-1_000_000);
      tap.push(chunk);
      this.#wake();
    });
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  /** Resolves when `count` messages have come in all; false when the connection was closed before. */
  async received(count: number): Promise<boolean> {
    while (this.messages < count) {
      if (this.#gone) return false;
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    return true;
  }

  send(command: Buffer): void {
    this.stream.write(command);
  }

  /** Sends a command and waits for one message more. */
  command(command: Buffer): Promise<boolean> {
    const due = this.messages + 1;
    this.send(command);
    return this.received(due);
  }
}
