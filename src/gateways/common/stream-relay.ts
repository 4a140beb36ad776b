import type { Duplex } from 'node:stream';
import type { FastDirection, FastPath } from './fast-path.ts';
import { TlsStream } from './tls/tls-stream.ts';

/** What a gateway looks at while bytes go by. The handlers may throw `DecodeError`: the relay then reports `failed`. */
export interface StreamRelayHandlers {
  /**
   * Bytes from the client, before they go on. The first `length` bytes of `chunk` are valid, and only during the call. A gateway that holds back or
   * replaces some of them returns what goes on in place of the chunk.
   */
  fromClient(chunk: Buffer, length: number): Buffer | void;
  /** Bytes from the server; returns how many of them go on to the client (all, except while the session is ending). */
  fromServer(chunk: Buffer, length: number): number;
  /** The client has finished sending (FIN), or its connection is gone. Once. */
  clientEnded(): void;
  /** Likewise the server. Once. */
  serverEnded(): void;
  /** A handler threw. */
  failed(error: unknown): void;
}

/**
 * Carries the original bytes between two streams, with backpressure end to end, and shows them to a gateway on the way. It ends
 * nothing by itself: the gateway's session decides.
 */
export class StreamRelay {
  readonly #client: Duplex;
  readonly #server: Duplex;
  readonly #handlers: StreamRelayHandlers;
  #clientOpen = true;
  #serverOpen = true;
  #clientMuted = false;
  #clientHeld = false;
  #stopped = false;
  readonly #fastPath: FastPath | undefined;
  /** The two directions, once both connections were quiet and their sockets could be taken over. */
  #fast: { readonly up: FastDirection; readonly down: FastDirection } | undefined;

  /** @param fastPath - goes below the streams where it can; the gateway must then write through the relay only. */
  constructor(client: Duplex, server: Duplex, handlers: StreamRelayHandlers, fastPath?: FastPath) {
    this.#client = client;
    this.#server = server;
    this.#handlers = handlers;
    this.#fastPath = fastPath;
  }

  /** Starts to relay. What either side sent early goes first. */
  start(earlyFromClient: Buffer, earlyFromServer: Buffer): void {
    const client = this.#client;
    const server = this.#server;
    client.on('error', ignore);
    server.on('error', ignore);
    client.on('end', this.#onClientEnd);
    client.on('close', this.#onClientEnd);
    server.on('end', this.#onServerEnd);
    server.on('close', this.#onServerEnd);
    client.on('drain', () => server.resume());
    server.on('drain', () => {
      if (!this.#clientHeld) client.resume();
    });
    client.on('data', this.#onClientData);
    server.on('data', this.#onServerData);
    this.#goFast();
    if (earlyFromServer.length > 0) this.#onServerData(earlyFromServer);
    if (earlyFromClient.length > 0) this.#onClientData(earlyFromClient);
    client.resume();
    server.resume();
    if (client.destroyed || client.readableEnded) this.#onClientEnd();
    if (server.destroyed || server.readableEnded) this.#onServerEnd();
  }

  /** Drops what the client still sends: it is read, so that closing its connection loses nothing of what it was told. */
  muteClient(): void {
    this.#clientMuted = true;
    this.releaseClient();
    this.#client.resume();
  }

  /** Takes nothing more from the client until `releaseClient`. */
  holdClient(): void {
    this.#clientHeld = true;
    if (this.#fast !== undefined) this.#fast.up.hold();
    else this.#client.pause();
  }

  releaseClient(): void {
    if (!this.#clientHeld) return;
    this.#clientHeld = false;
    if (this.#fast !== undefined) this.#fast.up.release();
    else this.#client.resume();
  }

  /** What was written to the client waits for its connection to take it. */
  get clientBacklogged(): boolean {
    return this.#fast?.down.backlogged ?? this.#client.writableNeedDrain;
  }

  /** Calls back once, when the client's connection has taken what was written to it. */
  whenClientDrained(fn: () => void): void {
    if (this.#fast !== undefined) this.#fast.down.whenFlushed(fn);
    else this.#client.once('drain', fn);
  }

  /** Writes a message of the gateway's own to the client, behind what was passed on. */
  tellClient(bytes: Buffer): void {
    if (!this.#clientOpen || this.#client.writableEnded) return;
    if (this.#fast !== undefined) this.#fast.down.write(bytes);
    else if (!this.#client.write(bytes)) this.#server.pause();
  }

  /** Likewise to the server. */
  tellServer(bytes: Buffer): void {
    if (!this.#serverOpen || this.#server.writableEnded) return;
    if (this.#fast !== undefined) this.#fast.up.write(bytes);
    else this.#server.write(bytes);
  }

  /** Sends the client the end of the server's side (FIN), behind what was passed on; nothing must be passed on or told after it. */
  endClient(): void {
    if (this.#fast !== undefined) this.#fast.down.whenFlushed(() => this.#client.end());
    else this.#client.end();
  }

  /** Sends the server the end of the client's side (FIN), behind what was passed on. */
  endServer(): void {
    if (this.#fast !== undefined) this.#fast.up.whenFlushed(() => this.#server.end());
    else this.#server.end();
  }

  /** Passes nothing on any more; resolves when what was passed on is out of the gateway's hands and both streams may be written to. */
  async stop(): Promise<void> {
    this.#stopped = true;
    const fast = this.#fast;
    if (fast === undefined) return;
    await Promise.all([fast.up, fast.down].map((one) => new Promise<void>((resolve) => one.whenFlushed(resolve))));
  }

  /** What of the client's bytes goes on to the server; undefined for nothing. */
  readonly #takeFromClient = (chunk: Buffer, length: number): Buffer | undefined => {
    if (this.#clientMuted || this.#stopped) return undefined;
    let forward: Buffer | void;
    try {
      forward = this.#handlers.fromClient(chunk, length);
    } catch (error) {
      this.#handlers.failed(error);
      return undefined;
    }
    if (forward?.length === 0 || !this.#serverOpen || this.#server.writableEnded) return undefined;
    return forward ?? this.#first(chunk, length);
  };

  /** What of the server's bytes goes on to the client; undefined for nothing. */
  readonly #takeFromServer = (chunk: Buffer, length: number): Buffer | undefined => {
    if (this.#stopped) return undefined;
    let taken: number;
    try {
      taken = this.#handlers.fromServer(chunk, length);
    } catch (error) {
      this.#handlers.failed(error);
      return undefined;
    }
    if (taken === 0 || !this.#clientOpen || this.#client.writableEnded) return undefined;
    return this.#first(chunk, taken);
  };

  #first(chunk: Buffer, length: number): Buffer {
    if (length === chunk.length) return chunk;
    return this.#fastPath === undefined ? chunk.subarray(0, length) : this.#fastPath.first(chunk, length);
  }

  readonly #onClientData = (chunk: Buffer): void => {
    this.#goFast();
    const bytes = this.#takeFromClient(chunk, chunk.length);
    if (bytes === undefined) return;
    if (this.#fast !== undefined) this.#fast.up.write(bytes);
    else if (!this.#server.write(bytes)) this.#client.pause();
  };

  readonly #onServerData = (chunk: Buffer): void => {
    this.#goFast();
    const bytes = this.#takeFromServer(chunk, chunk.length);
    if (bytes === undefined) return;
    if (this.#fast !== undefined) this.#fast.down.write(bytes);
    else if (!this.#client.write(bytes)) this.#server.pause();
  };

  /** Goes below the streams at the first moment when neither has a write under way. */
  #goFast(): void {
    const [client, server] = [this.#client, this.#server];
    if (this.#fastPath === undefined || this.#fast !== undefined || this.#stopped || this.#clientHeld) return;
    if (
      client.writableLength > 0 ||
      server.writableLength > 0 ||
      client.readableLength > 0 ||
      server.readableLength > 0
    )
      return;
    if (!this.#clientOpen || !this.#serverOpen || client.writableEnded || server.writableEnded) return;
    const up = this.#fastPath.direction(client, server, this.#takeFromClient);
    const down = this.#fastPath.direction(server, client, this.#takeFromServer);
    if (up === undefined || down === undefined) return;
    client.off('data', this.#onClientData);
    server.off('data', this.#onServerData);
    client.pause();
    server.pause();
    this.#fast = { up, down };
    up.start();
    down.start();
  }

  readonly #onClientEnd = (): void => {
    if (!this.#clientOpen) return;
    this.#clientOpen = false;
    // Nobody takes what the server sends now; it must not wait for it.
    this.#server.resume();
    this.#handlers.clientEnded();
  };

  readonly #onServerEnd = (): void => {
    if (!this.#serverOpen) return;
    this.#serverOpen = false;
    this.#client.resume();
    this.#handlers.serverEnded();
  };
}

function ignore(): void {
  // 'close' follows every error.
}

/** Sends the last bytes of a stream and closes it once they are out. Resolves when it is closed. */
export function finishStream(stream: Duplex, last?: Buffer): Promise<void> {
  return new Promise((resolve) => {
    if (stream.destroyed) {
      if (stream.closed) resolve();
      else stream.once('close', resolve);
      return;
    }
    stream.once('close', resolve);
    stream.once('finish', () => stream.destroy());
    if (stream.writableFinished) stream.destroy();
    else if (last === undefined || stream.writableEnded) stream.end();
    else if (stream instanceof TlsStream && stream.writableLength === 0) stream.endWith(last);
    else stream.end(last);
  });
}
