import type { Duplex } from 'node:stream';

/** What a gateway looks at while bytes go by. The handlers may throw `DecodeError`: the relay then reports `failed`. */
export interface DbRelayHandlers {
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
export class DbRelay {
  readonly #client: Duplex;
  readonly #server: Duplex;
  readonly #handlers: DbRelayHandlers;
  #clientOpen = true;
  #serverOpen = true;
  #clientMuted = false;

  constructor(client: Duplex, server: Duplex, handlers: DbRelayHandlers) {
    this.#client = client;
    this.#server = server;
    this.#handlers = handlers;
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
    server.on('drain', () => client.resume());
    if (earlyFromServer.length > 0) this.#onServerData(earlyFromServer);
    if (earlyFromClient.length > 0) this.#onClientData(earlyFromClient);
    client.on('data', this.#onClientData);
    server.on('data', this.#onServerData);
    client.resume();
    server.resume();
    if (client.destroyed || client.readableEnded) this.#onClientEnd();
    if (server.destroyed || server.readableEnded) this.#onServerEnd();
  }

  /** Drops what the client still sends: it is read, so that closing its connection loses nothing of what it was told. */
  muteClient(): void {
    this.#clientMuted = true;
    this.#client.resume();
  }

  /** Bytes written towards the client that its connection has not taken yet. */
  get clientBacklog(): number {
    return this.#client.writableLength;
  }

  readonly #onClientData = (chunk: Buffer): void => {
    if (this.#clientMuted) return;
    let forward: Buffer | void;
    try {
      forward = this.#handlers.fromClient(chunk, chunk.length);
    } catch (error) {
      this.#handlers.failed(error);
      return;
    }
    if (forward?.length === 0 || !this.#serverOpen || this.#server.writableEnded) return;
    if (!this.#server.write(forward ?? chunk)) this.#client.pause();
  };

  readonly #onServerData = (chunk: Buffer): void => {
    let taken: number;
    try {
      taken = this.#handlers.fromServer(chunk, chunk.length);
    } catch (error) {
      this.#handlers.failed(error);
      return;
    }
    if (taken === 0 || !this.#clientOpen || this.#client.writableEnded) return;
    if (!this.#client.write(taken === chunk.length ? chunk : chunk.subarray(0, taken))) this.#server.pause();
  };

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
    else stream.end(last);
  });
}
