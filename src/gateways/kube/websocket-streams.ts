import { encodeClose, encodeFrame, WebSocketReader, WS_BINARY, WS_CLOSE } from '../../wire/websocket/frames.ts';
import { statusJson } from './status.ts';
import type { EndFrames, StreamName, StreamOptions, StreamProtocol } from './streams.ts';

/** Channel numbers of `v4.channel.k8s.io` and `v5.channel.k8s.io` (k8s.io/apimachinery remotecommand). */
const CHANNELS: readonly StreamName[] = ['stdin', 'stdout', 'stderr', 'error', 'resize'];
const STDIN = 0;
const STDOUT = 1;
const ERROR = 3;
/** v5: `[255, n]` closes channel n. */
const CLOSE_CHANNEL = 255;
/** A client masks its frames; nobody between the gateway and the API server could be fooled by a mask of zeros. */
const NO_MASK = new Uint8Array(4);

/** Remote commands over WebSocket: every message is a channel number and data. */
export class WebSocketStreams implements StreamProtocol {
  readonly #client: WebSocketReader;
  readonly #target: WebSocketReader;
  readonly #version: 4 | 5;
  #targetFinished = false;
  #targetClosed = false;

  constructor(version: 4 | 5, { tty, listener }: StreamOptions) {
    this.#version = version;
    this.#client = new WebSocketReader(
      channelHandler(
        tty ? STDIN : undefined,
        (channel, length, bytes) => listener.fromClient(channel, length, bytes),
        () => undefined,
      ),
      true,
    );
    this.#target = new WebSocketReader(
      channelHandler(
        tty ? STDOUT : undefined,
        (channel, length, bytes) => {
          if (channel === 'error') this.#targetFinished = true;
          listener.fromTarget(channel, length, bytes);
        },
        () => {
          this.#targetFinished = true;
          this.#targetClosed = true;
        },
      ),
      false,
    );
  }

  client(chunk: Uint8Array): void {
    this.#client.push(chunk);
  }

  target(chunk: Uint8Array, stopAtBoundary: boolean): number {
    return this.#target.push(chunk, stopAtBoundary);
  }

  get atBoundary(): boolean {
    return this.#target.atMessageBoundary;
  }

  get targetFinished(): boolean {
    return this.#targetFinished;
  }

  padding(): Buffer | undefined {
    const left = this.#target.payloadLeft;
    return left === undefined ? undefined : Buffer.alloc(left);
  }

  output(bytes: Uint8Array): Buffer {
    return channelFrame(STDOUT, bytes);
  }

  end(text: string, preface: Uint8Array): EndFrames {
    const parts = preface.length > 0 ? [this.output(preface)] : [];
    parts.push(channelFrame(ERROR, Buffer.from(statusJson({ reason: 'Timeout', message: text }))), encodeClose(1000));
    return { frames: Buffer.concat(parts) };
  }

  /** Without a close frame kubectl takes the exit status for a broken connection. */
  leave(): Buffer {
    return this.#targetClosed ? Buffer.alloc(0) : encodeClose(1000);
  }

  hangup(bytes: Uint8Array): Buffer {
    if (!this.#client.atMessageBoundary) return Buffer.alloc(0);
    const parts = bytes.length > 0 ? [channelFrame(STDIN, bytes, NO_MASK)] : [];
    if (this.#version === 5) parts.push(encodeFrame(WS_BINARY, Uint8Array.of(CLOSE_CHANNEL, STDIN), NO_MASK));
    return Buffer.concat(parts);
  }
}

function channelFrame(channel: number, data: Uint8Array, mask?: Uint8Array): Buffer {
  return encodeFrame(WS_BINARY, Buffer.concat([Uint8Array.of(channel), data]), mask);
}

function channelHandler(
  shown: number | undefined,
  data: (channel: StreamName, length: number, bytes: Uint8Array | undefined) => void,
  closed: () => void,
): ConstructorParameters<typeof WebSocketReader>[0] {
  let channel: StreamName | undefined;
  let atStart = false;
  return {
    message(opcode, first) {
      atStart = true;
      // Text messages carry no channel (that is `base64.channel.k8s.io`, which is not negotiated).
      channel = opcode === WS_BINARY && first !== undefined ? CHANNELS[first] : undefined;
      return channel !== undefined && first === shown;
    },
    data(length, bytes) {
      const skip = atStart ? 1 : 0;
      atStart = false;
      if (channel !== undefined && length > skip) data(channel, length - skip, bytes?.subarray(skip));
    },
    messageEnd: () => undefined,
    control(opcode) {
      if (opcode === WS_CLOSE) closed();
    },
  };
}
