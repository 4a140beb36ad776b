import { encodeClose, encodeFrame, WebSocketReader, WS_BINARY, WS_CLOSE } from '../../wire/websocket/frames.ts';
import type { SpdyStreams } from './spdy-streams.ts';
import type { EndFrames, StreamProtocol } from './streams.ts';

/** SPDY inside binary WebSocket messages: `SPDY/3.1+portforward.k8s.io`. Frames of the two need not line up. */
export class TunnelledStreams implements StreamProtocol {
  readonly #spdy: SpdyStreams;
  readonly #client: WebSocketReader;
  readonly #target: WebSocketReader;
  #closed = false;

  constructor(spdy: SpdyStreams) {
    this.#spdy = spdy;
    const handler = (data: (bytes: Uint8Array) => void, closed: () => void) => ({
      message: () => true,
      data: (_length: number, bytes: Uint8Array | undefined) => data(bytes!),
      messageEnd: () => undefined,
      control: (opcode: number) => {
        if (opcode === WS_CLOSE) closed();
      },
    });
    this.#client = new WebSocketReader(
      handler(
        (bytes) => spdy.client(bytes),
        () => undefined,
      ),
      true,
    );
    this.#target = new WebSocketReader(
      handler(
        (bytes) => void spdy.target(bytes, false),
        () => {
          this.#closed = true;
        },
      ),
      false,
    );
  }

  client(chunk: Uint8Array): void {
    this.#client.push(chunk);
  }

  target(chunk: Uint8Array, stopAtBoundary: boolean): number {
    if (!stopAtBoundary) return this.#target.push(chunk);
    let read = 0;
    do read += this.#target.push(chunk.subarray(read), true);
    while (read < chunk.length && !this.atBoundary);
    return read;
  }

  get atBoundary(): boolean {
    return this.#target.atMessageBoundary && this.#spdy.atBoundary;
  }

  get targetFinished(): boolean {
    return this.#closed || this.#spdy.targetFinished;
  }

  padding(): Buffer | undefined {
    return undefined;
  }

  output(bytes: Uint8Array): Buffer {
    return encodeFrame(WS_BINARY, this.#spdy.output(bytes));
  }

  end(text: string, preface: Uint8Array): EndFrames {
    const { frames, later } = this.#spdy.end(text, preface);
    const close = encodeClose(1000);
    return later === undefined
      ? { frames: Buffer.concat([encodeFrame(WS_BINARY, frames), close]) }
      : { frames: encodeFrame(WS_BINARY, frames), later: Buffer.concat([encodeFrame(WS_BINARY, later), close]) };
  }

  leave(): Buffer {
    return this.#closed ? Buffer.alloc(0) : encodeClose(1000);
  }

  hangup(): Buffer {
    return Buffer.alloc(0);
  }
}
