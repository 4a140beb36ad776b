import { NightlatchError } from '../../core/errors.ts';

/** Longest identification line, its end included (RFC 4253 section 4.2). */
const MAX_LINE = 255;
/** What a server may say before its identification, as OpenSSH allows it. */
const MAX_LINES_BEFORE = 1024;
const MAX_BYTES_BEFORE = 8192;

/** Reads the peer's identification string, the first thing on the wire (RFC 4253 section 4.2). */
export class IdentReader {
  /** The identification without its end of line, as it enters the exchange hash. */
  peer: Buffer | undefined;

  readonly #linesBefore: boolean;
  #line = Buffer.alloc(0);
  #lines = 0;
  #bytes = 0;

  /** `linesBefore`: the peer is a server, which may send other lines first. */
  constructor(linesBefore: boolean) {
    this.#linesBefore = linesBefore;
  }

  /**
   * Takes bytes; returns those after the identification, or undefined while it is not complete.
   * @throws {NightlatchError} `protocol` for anything else than SSH 2.0.
   */
  read(chunk: Buffer): Buffer | undefined {
    let at = 0;
    for (;;) {
      const end = chunk.indexOf(0x0a, at);
      const part = chunk.subarray(at, end < 0 ? chunk.length : end);
      const limit = this.#linesBefore ? MAX_BYTES_BEFORE : MAX_LINE;
      if (this.#line.length + part.length >= limit) throw bad('its identification is too long');
      this.#line = Buffer.concat([this.#line, part]);
      if (end < 0) return undefined;
      const line = this.#line;
      this.#line = Buffer.alloc(0);
      at = end + 1;
      if (line.subarray(0, 4).toString('latin1') === 'SSH-') {
        this.#accept(line);
        return chunk.subarray(at);
      }
      this.#bytes += line.length;
      if (!this.#linesBefore || ++this.#lines > MAX_LINES_BEFORE || this.#bytes > MAX_BYTES_BEFORE) {
        throw bad('it does not speak SSH');
      }
    }
  }

  #accept(line: Buffer): void {
    const ident = line.at(-1) === 0x0d ? line.subarray(0, -1) : line;
    const text = ident.toString('latin1');
    if (ident.length > MAX_LINE - 2) throw bad('its identification is too long');
    if (!/^SSH-(2\.0|1\.99)-[\x20-\x7e]+$/.test(text)) throw bad('it does not speak SSH 2.0');
    // A copy of its own: a slice would keep a whole slab of Node's buffer pool alive as long as the connection.
    this.peer = Buffer.alloc(ident.length);
    ident.copy(this.peer);
  }
}

function bad(what: string): NightlatchError {
  return new NightlatchError('protocol', `the peer is no SSH client or server: ${what}`);
}
