import { chownSync, mkdtempSync, rmdirSync, unlinkSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import type { Clock } from '../../core/clock.ts';
import { errorMessage } from '../../core/errors.ts';
import type { Logger } from '../../core/logger.ts';
import { SshReader, SshWriter } from '../../wire/ssh/buffer.ts';
import {
  type ChannelRequest,
  decodeForwardAddress,
  decodeForwardedConnection,
  decodePtyRequest,
  encodeForwardedConnection,
  type GlobalRequest,
  OPEN_FAILURE,
  type PtyRequest,
} from '../../wire/ssh/messages.ts';
import { type Account, accountOf, environmentOf, isClientVariable } from './embedded-account.ts';
import { findSftpServer, type Program, startProgram } from './embedded-program.ts';
import type { EmbeddedNode } from './gateway.ts';
import { ChannelHost, type LocalChannel, type OpenAnswer } from './local-channel.ts';
import type { PacketPeer, PeerClosed } from './packet-peer.ts';

/** Variables, and bytes of each, that a client may set on a channel. */
const MAX_VARIABLES = 64;
const MAX_VARIABLE_BYTES = 4096;
const LOOPBACK = ['', 'localhost', '127.0.0.1', '::1', '*', '0.0.0.0', '::'];

export interface EmbeddedNodeDeps {
  readonly clock: Clock;
  readonly log: Logger;
  /** Finds the account of a login; the machine's own accounts by default. */
  readonly accountOf?: (login: string) => Promise<Account>;
}

/** The SSH node inside of the daemon (`ssh_service`): shells and programs under accounts of this machine, without an sshd. */
export function createEmbeddedNode(deps: EmbeddedNodeDeps): EmbeddedNode {
  return {
    async open({ login, clientAddr }) {
      return new EmbeddedPeer(await (deps.accountOf ?? accountOf)(login), clientAddr, deps);
    },
  };
}

/** One connection to the embedded node, as the far side of a relay. */
class EmbeddedPeer implements PacketPeer {
  onPacket: (packet: Buffer) => void = () => {};
  onWritable: (writable: boolean) => void = () => {};
  onClose: (closed: PeerClosed) => void = () => {};

  readonly #account: Account;
  readonly #clientAddr: string;
  readonly #deps: EmbeddedNodeDeps;
  readonly #host: ChannelHost;
  readonly #programs = new Set<Program>();
  readonly #listeners = new Map<string, net.Server>();
  #agentDir: string | undefined;
  #agentSocket: string | undefined;
  #closed = false;

  constructor(account: Account, clientAddr: string, deps: EmbeddedNodeDeps) {
    this.#account = account;
    this.#clientAddr = clientAddr;
    this.#deps = deps;
    this.#host = new ChannelHost((packet) => this.onPacket(packet), {
      open: (request) => this.#open(request.type, request.data),
      global: (request) => this.#global(request),
    });
  }

  send(packet: Uint8Array): void {
    if (!this.#closed) this.#host.packet(Buffer.from(packet));
  }

  pause(): void {
    this.#host.setWritable(false);
  }

  resume(): void {
    this.#host.setWritable(true);
  }

  async disconnect(_reason: number, text: string): Promise<void> {
    const programs = [...this.#programs];
    this.#close();
    await Promise.all(programs.map((program) => program.hangUp()));
    this.onClose({ by: 'local', detail: text });
  }

  abort(): void {
    for (const program of this.#programs) program.kill();
    this.#close();
  }

  #close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#host.close();
    for (const listener of this.#listeners.values()) listener.close();
    this.#listeners.clear();
    if (this.#agentDir !== undefined) removeAgentDir(this.#agentDir);
  }

  #open(type: string, data: Buffer): OpenAnswer {
    switch (type) {
      case 'session':
        return { accept: (channel) => this.#session(channel) };
      case 'direct-tcpip': {
        const { host, port } = decodeForwardedConnection(data);
        return { later: joinConnection(net.connect({ host, port, allowHalfOpen: true })) };
      }
      case 'direct-streamlocal@openssh.com':
        // The connection would be made by the daemon, with the daemon's rights: its own socket for administration, among others.
        if (!this.#account.own) {
          return {
            refuse: OPEN_FAILURE.ADMINISTRATIVELY_PROHIBITED,
            text: 'sockets are forwarded for the account of the daemon only',
          };
        }
        return { later: joinConnection(net.connect({ path: new SshReader(data).utf8(1024), allowHalfOpen: true })) };
      default:
        return { refuse: OPEN_FAILURE.UNKNOWN_CHANNEL_TYPE, text: 'unknown channel type' };
    }
  }

  #session(channel: LocalChannel): void {
    const variables: Record<string, string> = {};
    let pty: PtyRequest | undefined;
    let program: Program | undefined;
    const start = (command: readonly [string, ...string[]]): boolean => {
      if (program !== undefined) return false;
      const env = environmentOf(this.#account, this.#clientAddr, variables);
      if (this.#agentSocket !== undefined) env['SSH_AUTH_SOCK'] = this.#agentSocket;
      try {
        program = startProgram({ channel, account: this.#account, env, clock: this.#deps.clock, pty, command });
      } catch (error) {
        this.#deps.log.warn('a program of an SSH session could not be started', { error: errorMessage(error) });
        return false;
      }
      const started = program;
      this.#programs.add(started);
      void started.ended.then(() => this.#programs.delete(started));
      // A client that closes the channel hangs up, as a terminal does.
      channel.once('close', () => void started.hangUp());
      return true;
    };
    channel.onRequest = (request) => {
      switch (request.name) {
        case 'pty-req':
          pty = decodePtyRequest(request.data);
          pty = { ...pty, modes: Buffer.from(pty.modes) };
          return true;
        case 'env':
          return setVariable(variables, request);
        case 'shell':
          return start([this.#account.shell, '-l']);
        case 'exec':
          return start([this.#account.shell, '-c', new SshReader(request.data).string().toString('utf8')]);
        case 'subsystem':
          return this.#subsystem(request, channel, start);
        case 'window-change': {
          const reader = new SshReader(request.data);
          program?.resize(reader.uint32(), reader.uint32());
          return true;
        }
        case 'signal':
          return program?.signal(new SshReader(request.data).name()) ?? false;
        case 'auth-agent-req@openssh.com':
          return this.#forwardAgent();
        default:
          return false;
      }
    };
  }

  #subsystem(request: ChannelRequest, channel: LocalChannel, start: (command: [string]) => boolean): boolean {
    if (new SshReader(request.data).utf8(256) !== 'sftp') return false;
    const server = findSftpServer();
    if (server !== undefined) return start([server]);
    channel.stderr.write(
      "sftp needs the system's sftp-server (Debian: openssh-sftp-server), which is not installed here\n",
    );
    return false;
  }

  /** Makes the socket for agent requests of the connection's programs, each of which becomes a channel to the client. */
  #forwardAgent(): boolean {
    if (this.#agentSocket !== undefined) return true;
    const dir = mkdtempSync(join(tmpdir(), 'nightlatch-agent-'));
    this.#agentDir = dir;
    const path = join(dir, 'agent');
    const server = net.createServer({ allowHalfOpen: true }, (socket) => {
      void this.#toClient('auth-agent@openssh.com', Buffer.alloc(0), socket);
    });
    server.on('error', (error) => this.#deps.log.warn('no agent forwarding', { error: errorMessage(error) }));
    server.listen(path);
    // The folder last: until then its new owner cannot put a link in the socket's place.
    if (!this.#account.own) for (const file of [path, dir]) chownSync(file, this.#account.uid, this.#account.gid);
    this.#listeners.set(path, server);
    this.#agentSocket = path;
    return true;
  }

  async #global(request: GlobalRequest): Promise<boolean | Buffer> {
    if (request.name === 'tcpip-forward') return this.#listen(request);
    if (request.name !== 'cancel-tcpip-forward') return request.name === 'no-more-sessions@openssh.com';
    const { host, port } = decodeForwardAddress(request.data);
    const key = `${host}:${port}`;
    const listener = this.#listeners.get(key);
    listener?.close();
    return this.#listeners.delete(key);
  }

  /** Listens on the loopback for `-R`, as sshd does without GatewayPorts. */
  async #listen(request: GlobalRequest): Promise<boolean | Buffer> {
    const { host, port } = decodeForwardAddress(request.data);
    if (!LOOPBACK.includes(host) || port > 0xffff || this.#listeners.has(`${host}:${port}`)) return false;
    // As with sshd: what only root may listen on, only root has forwarded.
    if (port > 0 && port < 1024 && this.#account.uid !== 0) return false;
    const server = net.createServer({ allowHalfOpen: true });
    const bound = new Promise<number>((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, host === '::1' ? '::1' : '127.0.0.1', () =>
        resolve((server.address() as net.AddressInfo).port),
      );
    });
    const actual = await bound;
    if (this.#closed) {
      server.close();
      return false;
    }
    server.on('error', () => {});
    server.on('connection', (socket) => {
      const origin = { originHost: socket.remoteAddress ?? '', originPort: socket.remotePort ?? 0 };
      void this.#toClient('forwarded-tcpip', encodeForwardedConnection({ host, port: actual, ...origin }), socket);
    });
    this.#listeners.set(`${host}:${actual}`, server);
    return port === 0 ? new SshWriter(4).uint32(actual).finish() : true;
  }

  async #toClient(type: string, data: Uint8Array, socket: Duplex): Promise<void> {
    socket.on('error', () => {});
    const channel = await this.#host.open(type, data);
    if (channel === undefined) socket.destroy();
    else joinStreams(channel, socket);
  }
}

/** Waits for a connection that a client wants forwarded. */
function joinConnection(socket: net.Socket): Promise<OpenAnswer> {
  const { promise, resolve } = Promise.withResolvers<OpenAnswer>();
  socket.once('connect', () => resolve({ accept: (channel) => joinStreams(channel, socket) }));
  socket.once('error', (error) => resolve({ refuse: OPEN_FAILURE.CONNECT_FAILED, text: errorMessage(error) }));
  return promise;
}

/** Joins a channel and a connection, each direction with an end of its own. */
function joinStreams(channel: LocalChannel, socket: Duplex): void {
  channel.pipe(socket);
  socket.pipe(channel);
  socket.on('error', () => {});
  socket.once('close', () => channel.end(() => channel.destroy()));
  channel.once('close', () => socket.destroy());
}

/** Nothing in the folder but the socket: it belongs to the account, which may have put there what the daemon must not follow. */
function removeAgentDir(dir: string): void {
  try {
    unlinkSync(join(dir, 'agent'));
  } catch {
    // Closing the socket has removed it, or its owner has.
  }
  try {
    rmdirSync(dir);
  } catch {
    // What else is in it is its owner's.
  }
}

function setVariable(variables: Record<string, string>, request: ChannelRequest): boolean {
  const reader = new SshReader(request.data);
  const name = reader.utf8(256);
  const value = reader.utf8(MAX_VARIABLE_BYTES);
  if (!isClientVariable(name) || value.includes('\0') || Object.keys(variables).length >= MAX_VARIABLES) return false;
  variables[name] = value;
  return true;
}
