import { DecodeError } from '../../core/errors.ts';
import {
  encodeData,
  encodeGoAway,
  SPDY_GOAWAY,
  SPDY_RST_STREAM,
  type SpdyHandler,
  SpdyReader,
} from '../../wire/spdy/frames.ts';
import { statusJson } from './status.ts';
import type { EndFrames, StreamName, StreamOptions, StreamProtocol } from './streams.ts';

const STREAM_NAMES: ReadonlySet<string> = new Set(['stdin', 'stdout', 'stderr', 'error', 'resize', 'data']);
/** More connections at a time through one forwarded port than any browser opens. */
const MAX_STREAMS = 4_096;
const NOTHING = new Uint8Array(0);

interface OpenStream {
  readonly name: StreamName;
  clientDone: boolean;
  targetDone: boolean;
}

/** What a SPDY connection carries. */
export interface SpdyOptions extends StreamOptions {
  /** `exec` also stands for attach. */
  readonly purpose: 'exec' | 'portforward';
  /** Streams that a remote command has, the error stream included: when all are there, headers need not be read any more. */
  readonly expectedStreams?: number;
  /** The error stream carries a v1 Status (`v4.channel.k8s.io` and later), not plain text. */
  readonly jsonStatus: boolean;
}

/** Remote commands and forwarded ports over SPDY/3.1: a SPDY stream each. */
export class SpdyStreams implements StreamProtocol {
  readonly #options: SpdyOptions;
  readonly #client: SpdyReader;
  readonly #target: SpdyReader;
  readonly #streams = new Map<number, OpenStream>();
  #lastStreamId = 0;
  #targetFinished = false;

  constructor(options: SpdyOptions) {
    this.#options = options;
    this.#client = new SpdyReader(this.#clientHandler(), true);
    this.#target = new SpdyReader(this.#targetHandler(), false);
  }

  client(chunk: Uint8Array): void {
    this.#client.push(chunk);
  }

  target(chunk: Uint8Array, stopAtBoundary: boolean): number {
    return this.#target.push(chunk, stopAtBoundary);
  }

  get atBoundary(): boolean {
    return this.#target.atBoundary;
  }

  get targetFinished(): boolean {
    return this.#targetFinished;
  }

  padding(): Buffer | undefined {
    const left = this.#target.payloadLeft;
    return left === undefined ? undefined : Buffer.alloc(left);
  }

  output(bytes: Uint8Array): Buffer {
    const id = this.#idOf('stdout');
    return id === undefined ? Buffer.alloc(0) : encodeData(id, bytes);
  }

  end(text: string, preface: Uint8Array): EndFrames {
    const message = this.#options.jsonStatus ? statusJson({ reason: 'Timeout', message: text }) : text;
    const parts: Buffer[] = [];
    if (preface.length > 0) parts.push(this.output(preface));
    const open = [...this.#streams].filter(([, stream]) => !stream.targetDone);
    for (const [id, { name }] of open) if (name === 'error') parts.push(encodeData(id, Buffer.from(message), true));
    for (const [id, { name }] of open) if (name !== 'error') parts.push(encodeData(id, NOTHING, true));
    const goAway = encodeGoAway(this.#lastStreamId);
    // kubectl prints what came on a forwarded port's error stream only if the connection stands for a while after it.
    if (this.#options.purpose === 'portforward') return { frames: Buffer.concat(parts), later: goAway };
    return { frames: Buffer.concat([...parts, goAway]) };
  }

  leave(): Buffer {
    return Buffer.alloc(0);
  }

  hangup(bytes: Uint8Array): Buffer {
    if (!this.#client.atBoundary) return Buffer.alloc(0);
    const id = this.#idOf('stdin');
    if (id === undefined || this.#streams.get(id)?.clientDone === true) return Buffer.alloc(0);
    return encodeData(id, bytes, true);
  }

  /** Undefined for a stream that is over: its frames may cross with the end. */
  #nameOf(id: number): StreamName | undefined {
    if (id > this.#lastStreamId) throw new DecodeError(`SPDY data for stream ${id}, which was never opened`);
    return this.#streams.get(id)?.name;
  }

  #idOf(name: StreamName): number | undefined {
    for (const [id, stream] of this.#streams) if (stream.name === name) return id;
    return undefined;
  }

  #clientHandler(): SpdyHandler {
    const { tty, listener, purpose, expectedStreams } = this.#options;
    let name: StreamName | undefined;
    return {
      synStream: (id, headers, fin) => {
        const streamName = headers?.get('streamtype') ?? '';
        if (!STREAM_NAMES.has(streamName))
          throw new DecodeError(`SPDY stream of the unknown type ${JSON.stringify(streamName)}`);
        if (this.#streams.size >= MAX_STREAMS) throw new DecodeError('too many SPDY streams');
        this.#streams.set(id, { name: streamName as StreamName, clientDone: fin, targetDone: false });
        this.#lastStreamId = Math.max(this.#lastStreamId, id);
        if (purpose === 'portforward' && streamName === 'data') listener.forwarded(headers?.get('port') ?? '');
        if (this.#streams.size === expectedStreams) this.#client.stopReadingHeaders();
      },
      dataFrame: (id) => {
        name = this.#nameOf(id);
        return tty && name === 'stdin';
      },
      data: (_id, length, bytes) => {
        if (name !== undefined) listener.fromClient(name, length, bytes);
      },
      dataEnd: (id, fin) => {
        if (fin) this.#done(id, 'clientDone');
      },
      control: (type, id) => {
        if (type === SPDY_RST_STREAM) this.#forget(id);
      },
    };
  }

  #targetHandler(): SpdyHandler {
    const { tty, listener, purpose } = this.#options;
    let name: StreamName | undefined;
    return {
      synStream: () => undefined,
      dataFrame: (id) => {
        name = this.#nameOf(id);
        return tty && name === 'stdout';
      },
      data: (_id, length, bytes) => {
        if (name === 'error' && purpose === 'exec') this.#targetFinished = true;
        if (name !== undefined) listener.fromTarget(name, length, bytes);
      },
      dataEnd: (id, fin) => {
        if (!fin) return;
        if (name === 'error' && purpose === 'exec') this.#targetFinished = true;
        this.#done(id, 'targetDone');
      },
      control: (type, id) => {
        if (type === SPDY_GOAWAY) this.#targetFinished = true;
        else if (type === SPDY_RST_STREAM) this.#forget(id);
      },
    };
  }

  #done(id: number, side: 'clientDone' | 'targetDone'): void {
    const stream = this.#streams.get(id);
    if (stream === undefined) return;
    stream[side] = true;
    if (stream.clientDone && stream.targetDone) this.#forget(id);
  }

  /** Streams of a remote command stay known; those of a forwarded port come and go. */
  #forget(id: number): void {
    if (this.#options.purpose === 'portforward') this.#streams.delete(id);
    else {
      const stream = this.#streams.get(id);
      if (stream !== undefined) stream.targetDone = true;
    }
  }
}
