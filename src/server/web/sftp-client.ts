import type { Clock } from '../../core/clock.ts';
import { NightlatchError } from '../../core/errors.ts';
import type { LocalChannel } from '../../gateways/ssh/local-channel.ts';
import { SshReader, SshWriter } from '../../wire/ssh/buffer.ts';

/** Packet types of the SSH File Transfer Protocol, version 3 (draft-ietf-secsh-filexfer-02 section 3). */
const FXP = {
  INIT: 1,
  VERSION: 2,
  OPEN: 3,
  CLOSE: 4,
  READ: 5,
  WRITE: 6,
  FSTAT: 8,
  STATUS: 101,
  HANDLE: 102,
  DATA: 103,
  ATTRS: 105,
} as const;
const VERSION = 3;
/** `pflags` of SSH_FXP_OPEN (section 6.3). */
const OPEN_READ = 0x01;
const OPEN_WRITE_NEW = 0x02 | 0x08 | 0x10;
/** Codes of SSH_FXP_STATUS (section 7). */
const STATUS = { OK: 0, EOF: 1, NO_SUCH_FILE: 2, PERMISSION_DENIED: 3 } as const;
const ATTR_SIZE = 0x01;
const ATTR_PERMISSIONS = 0x04;
const FILE_TYPE_MASK = 0o170_000;
const REGULAR_FILE = 0o100_000;

const PART_BYTES = 32 * 1024;
/** Requests under way at a time: what hides the way there and back. */
const PIPELINED = 16;
const MAX_PACKET_BYTES = 256 * 1024;
const ANSWER_LIMIT_MS = 30_000;

interface Answer {
  readonly type: number;
  readonly reader: SshReader;
}

/** The client's side of sftp on one channel, for one file. */
export class SftpClient {
  readonly #channel: LocalChannel;
  readonly #clock: Clock;
  readonly #pending = new Map<number, { resolve(answer: Answer): void; reject(error: Error): void }>();
  #unread: Buffer = Buffer.alloc(0);
  #nextId = 0;
  #ready = Promise.withResolvers<void>();
  #failure: Error | undefined;

  private constructor(channel: LocalChannel, clock: Clock) {
    this.#channel = channel;
    this.#clock = clock;
    channel.on('data', (data: Buffer) => this.#receive(data));
    channel.once('close', () => this.#fail(new NightlatchError('unavailable', 'the node ended the file transfer')));
    this.#ready.promise.catch(() => undefined);
  }

  /** Begins sftp on a fresh session channel. @throws {NightlatchError} `unavailable`, `timeout` */
  static async start(channel: LocalChannel, clock: Clock): Promise<SftpClient> {
    const client = new SftpClient(channel, clock);
    channel.request('subsystem', new SshWriter(16).string('sftp').finish());
    client.#write(new SshWriter(8).byte(FXP.INIT).uint32(VERSION).finish());
    await client.#limited(client.#ready.promise);
    return client;
  }

  /** A file to read: its size, and its content in order. @throws {NightlatchError} `not_found`, `access_denied` … */
  async read(path: string): Promise<{ size: number; content: AsyncGenerator<Buffer> }> {
    const handle = await this.#open(path, OPEN_READ);
    const answer = await this.#ask(FXP.FSTAT, (writer) => writer.string(handle));
    const { size, permissions } = readAttributes(expect(answer, FXP.ATTRS, path));
    if (permissions !== undefined && (permissions & FILE_TYPE_MASK) !== REGULAR_FILE) {
      throw new NightlatchError('bad_parameter', `${path} is no regular file`);
    }
    return { size, content: this.#content(handle, path) };
  }

  /** Writes a file anew. Resolves when the node has taken all of it. @throws {NightlatchError} */
  async write(path: string, content: AsyncIterable<Uint8Array>): Promise<number> {
    const handle = await this.#open(path, OPEN_WRITE_NEW);
    const under: Promise<Answer>[] = [];
    let offset = 0;
    for await (const chunk of content) {
      for (let at = 0; at < chunk.length; at += PART_BYTES) {
        const part = chunk.subarray(at, at + PART_BYTES);
        const from = BigInt(offset);
        const asked = this.#ask(FXP.WRITE, (writer) => writer.string(handle).uint64(from).string(part));
        // Whoever waits for it comes later.
        asked.catch(() => undefined);
        under.push(asked);
        offset += part.length;
        if (under.length >= PIPELINED) expect(await under.shift()!, FXP.STATUS, path);
      }
    }
    for (const asked of under) expect(await asked, FXP.STATUS, path);
    expect(await this.#ask(FXP.CLOSE, (writer) => writer.string(handle)), FXP.STATUS, path);
    return offset;
  }

  close(): void {
    this.#channel.destroy();
  }

  async #open(path: string, flags: number): Promise<Buffer> {
    const answer = await this.#ask(FXP.OPEN, (writer) => writer.string(path).uint32(flags).uint32(0));
    return Buffer.from(expect(answer, FXP.HANDLE, path).string(256));
  }

  async *#content(handle: Buffer, path: string): AsyncGenerator<Buffer> {
    const under: { offset: number; answer: Promise<Answer> }[] = [];
    let next = 0;
    const ask = (offset: number, length: number) => {
      const answer = this.#ask(FXP.READ, (writer) => writer.string(handle).uint64(BigInt(offset)).uint32(length));
      answer.catch(() => undefined);
      return answer;
    };
    for (;;) {
      for (; under.length < PIPELINED; next += PART_BYTES) under.push({ offset: next, answer: ask(next, PART_BYTES) });
      const { offset, answer } = under.shift()!;
      let part = dataOf(await answer, path);
      if (part === undefined) return;
      yield part;
      // A server may give less than it was asked for; what is missing is asked for again.
      for (let got = part.length; got < PART_BYTES; got += part.length) {
        part = dataOf(await ask(offset + got, PART_BYTES - got), path);
        if (part === undefined) return;
        yield part;
      }
    }
  }

  #ask(type: number, fields: (writer: SshWriter) => SshWriter): Promise<Answer> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    const id = this.#nextId++;
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    this.#pending.set(id, { resolve, reject });
    this.#write(fields(new SshWriter(64).byte(type).uint32(id)).finish());
    return this.#limited(promise);
  }

  #write(packet: Buffer): void {
    this.#channel.write(new SshWriter(packet.length + 4).string(packet).finish());
  }

  #limited<T>(promise: Promise<T>): Promise<T> {
    const timer = this.#clock.at(this.#clock.now() + ANSWER_LIMIT_MS, () => {
      this.#fail(new NightlatchError('timeout', 'the node does not answer the file transfer'));
      this.close();
    });
    return promise.finally(() => timer.cancel());
  }

  #receive(data: Buffer): void {
    this.#unread = this.#unread.length === 0 ? data : Buffer.concat([this.#unread, data]);
    while (this.#unread.length >= 4) {
      const length = this.#unread.readUInt32BE(0);
      if (length > MAX_PACKET_BYTES) {
        this.#fail(new NightlatchError('protocol', 'the node does not speak sftp'));
        this.close();
        return;
      }
      if (this.#unread.length < 4 + length) return;
      const packet = this.#unread.subarray(4, 4 + length);
      this.#unread = this.#unread.subarray(4 + length);
      try {
        this.#packet(new SshReader(packet));
      } catch (cause) {
        this.#fail(new NightlatchError('protocol', 'the node sent no valid sftp', { cause }));
        this.close();
        return;
      }
    }
  }

  #packet(reader: SshReader): void {
    const type = reader.byte();
    if (type === FXP.VERSION) {
      this.#ready.resolve();
      return;
    }
    const id = reader.uint32();
    const asked = this.#pending.get(id);
    this.#pending.delete(id);
    asked?.resolve({ type, reader });
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    this.#ready.reject(this.#failure);
    for (const { reject } of this.#pending.values()) reject(this.#failure);
    this.#pending.clear();
  }
}

function readAttributes(reader: SshReader): { size: number; permissions: number | undefined } {
  const flags = reader.uint32();
  const size = flags & ATTR_SIZE ? Number(reader.uint64()) : 0;
  if (flags & 0x02) reader.bytes(8);
  return { size, permissions: flags & ATTR_PERMISSIONS ? reader.uint32() : undefined };
}

/** The answer of the type that was expected. @throws {NightlatchError} in the server's words where it is another */
function expect({ type, reader }: Answer, wanted: number, path: string): SshReader {
  if (type === FXP.STATUS) {
    const code = reader.uint32();
    if (code === STATUS.OK && wanted === FXP.STATUS) return reader;
    throw statusError(code, path);
  }
  if (type !== wanted) throw new NightlatchError('protocol', 'the node sent another answer than was asked for');
  return reader;
}

/** What was read; undefined at the end of the file. */
function dataOf(answer: Answer, path: string): Buffer | undefined {
  if (answer.type === FXP.STATUS) {
    const code = answer.reader.uint32();
    if (code === STATUS.EOF) return undefined;
    throw statusError(code, path);
  }
  const part = expect(answer, FXP.DATA, path).string(PART_BYTES);
  return part.length === 0 ? undefined : Buffer.from(part);
}

function statusError(code: number, path: string): NightlatchError {
  if (code === STATUS.NO_SUCH_FILE) return new NightlatchError('not_found', `there is no ${path} on the node`);
  if (code === STATUS.PERMISSION_DENIED) {
    return new NightlatchError('access_denied', `the node does not allow access to ${path}`);
  }
  return new NightlatchError('unavailable', `the node could not do that with ${path} (status ${code})`);
}
