import type { EndFrames, StreamListener, StreamProtocol } from './streams.ts';

const NOTHING: Buffer = Buffer.alloc(0);

/** A connection through the API server's proxy to a pod or service, in whatever protocol: all that is known is that data passes. */
export class RawStreams implements StreamProtocol {
  readonly atBoundary = true;
  readonly targetFinished = false;
  readonly #listener: StreamListener;

  constructor(listener: StreamListener) {
    this.#listener = listener;
  }

  client(chunk: Uint8Array): void {
    this.#listener.fromClient('data', chunk.length, undefined);
  }

  target(chunk: Uint8Array): number {
    this.#listener.fromTarget('data', chunk.length, undefined);
    return chunk.length;
  }

  padding(): Buffer {
    return NOTHING;
  }

  output(): Buffer {
    return NOTHING;
  }

  end(): EndFrames {
    return { frames: NOTHING };
  }

  leave(): Buffer {
    return NOTHING;
  }

  hangup(): Buffer {
    return NOTHING;
  }
}
