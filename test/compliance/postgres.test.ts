// The suite against the PostgreSQL gateway: real sockets, the protocol's real bytes, a server that answers as it is told.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { createPostgresGateway } from '../../src/gateways/postgres/gateway.ts';
import { loadCertAuthority } from '../../src/identity/certificate-authority.ts';
import type { Identity } from '../../src/identity/types.ts';
import { BACKEND, decodeServerError, encodeMessage, encodeNotice, FRONTEND } from '../../src/wire/postgres/messages.ts';
import { encodeStartup, PROTOCOL_3_0 } from '../../src/wire/postgres/startup.ts';
import { settle } from '../fixtures/fake-clock.ts';
import { fastPath } from '../fixtures/fast-path.ts';
import { memoryStore, testMasterKey } from '../fixtures/identity.ts';
import {
  type ConnectResult,
  describeGateway,
  type GatewaySubject,
  type RunningGateway,
  type TestClient,
  type World,
} from './gateway.ts';

const MESSAGE_HEADER = 5;
const AUTHENTICATION_OK = encodeMessage(BACKEND.authentication, Buffer.alloc(4));
const READY = encodeMessage(BACKEND.readyForQuery, Buffer.from('I'));
const DONE = Buffer.concat([encodeMessage(BACKEND.commandComplete, Buffer.from('SELECT 0\0')), READY]);
const ROW = encodeMessage(0x44, Buffer.alloc(8 * 1024, 0x45));
const NOTIFICATION = encodeMessage(0x41, Buffer.from('\0\0\0\x01news\0\0'));

/** Waits in real time for what real sockets bring about. */
async function until(what: string, condition: () => boolean): Promise<void> {
  const giveUp = Date.now() + 10_000;
  while (!condition()) {
    if (Date.now() > giveUp) assert.fail(`${what} did not happen`);
    await settle();
  }
}

/** Hands on whole messages, of which there are never too many here to keep. */
function onMessages(socket: net.Socket, handle: (type: number, body: Buffer) => void): void {
  let seen = Buffer.alloc(0);
  socket.on('data', (chunk: Buffer) => {
    seen = Buffer.concat([seen, chunk]);
    while (seen.length >= MESSAGE_HEADER) {
      const length = 1 + seen.readUInt32BE(1);
      if (seen.length < length) return;
      const [message, rest] = [seen.subarray(0, length), seen.subarray(length)];
      seen = rest;
      handle(message[0]!, message.subarray(MESSAGE_HEADER));
    }
  });
}

/** The server's end of one session. It answers every query at once, except while `holding`. */
class Target {
  readonly socket: net.Socket;
  queries = 0;
  syncs = 0;
  holding = false;
  #flooding = false;

  constructor(socket: net.Socket) {
    this.socket = socket;
    socket.on('error', () => undefined);
    onMessages(socket, (type) => {
      if (type === FRONTEND.query) {
        this.queries += 1;
        if (!this.holding) socket.write(DONE);
      } else if (type === FRONTEND.sync) {
        this.syncs += 1;
        socket.write(READY);
      }
    });
  }

  /** Rows without end, as the answer to a query; resolves when they flow or nobody takes them. */
  async flood(): Promise<void> {
    this.#flooding = true;
    const pump = (): void => {
      while (this.#flooding && !this.socket.destroyed && this.socket.write(ROW))
        if (this.socket.writableLength > 1024 * 1024) break;
      if (!this.socket.destroyed) this.socket.once('drain', pump);
    };
    pump();
    let before = -1;
    for (let turn = 0; turn < 200 && before !== this.socket.bytesWritten; turn++) {
      before = this.socket.bytesWritten;
      await settle();
    }
    this.socket.once('close', () => {
      this.#flooding = false;
    });
  }
}

class PostgresClient implements TestClient {
  readonly canWarn = true;
  readonly closed: Promise<void>;
  readonly targetClosed: Promise<void>;
  ready = 0;
  notifications = 0;
  readonly #socket: net.Socket;
  readonly #target: Target;
  #told = '';

  constructor(socket: net.Socket, target: Target, told: string) {
    this.#socket = socket;
    this.#target = target;
    this.#told = told;
    socket.on('error', () => undefined);
    this.closed = new Promise((resolve) => socket.once('close', () => resolve()));
    this.targetClosed = new Promise((resolve) => target.socket.once('close', () => resolve()));
  }

  take(type: number, body: Buffer): void {
    if (type === BACKEND.readyForQuery) this.ready += 1;
    else if (type === 0x41) this.notifications += 1;
    else if (type === BACKEND.errorResponse || type === BACKEND.noticeResponse)
      this.#told += `${decodeServerError(body).message}\n`;
  }

  async #query(sql: string): Promise<void> {
    const before = this.#target.queries;
    this.#socket.write(encodeMessage(FRONTEND.query, Buffer.from(`${sql}\0`)));
    await until('the query at the server', () => this.#target.queries > before);
  }

  async input(): Promise<void> {
    const before = this.ready;
    await this.#query('select 1');
    await until('the answer', () => this.ready > before);
  }

  async startWork(): Promise<() => Promise<void>> {
    this.#target.holding = true;
    await this.#query('select pg_sleep(3600)');
    return async () => {
      const before = this.ready;
      this.#target.holding = false;
      this.#target.socket.write(DONE);
      await until('the answer', () => this.ready > before);
    };
  }

  async noise(): Promise<void> {
    const [ready, heard] = [this.ready, this.notifications];
    this.#target.socket.write(NOTIFICATION);
    this.#target.socket.write(encodeMessage(BACKEND.parameterStatus, Buffer.from('TimeZone\0UTC\0')));
    this.#target.socket.write(encodeNotice('NOTICE', '00000', 'noise'));
    this.#socket.write(encodeMessage(FRONTEND.sync, Buffer.alloc(0)));
    this.#socket.write(encodeMessage(FRONTEND.query, Buffer.from('\0')));
    this.#socket.write(encodeMessage(FRONTEND.query, Buffer.from('-- ping\0')));
    await until('the noise at both ends', () => this.ready === ready + 3 && this.notifications > heard);
  }

  told(): string {
    return this.#told;
  }
  vanish(): void {
    this.#socket.destroy();
  }
  dropTarget(): void {
    this.#target.socket.destroy();
  }
  stopReading(): void {
    this.#socket.pause();
  }
  async flood(): Promise<void> {
    this.#target.holding = true;
    await this.#query('select everything');
    await this.#target.flood();
  }
}

const subject: GatewaySubject = {
  name: 'PostgreSQL',
  protocol: 'postgres',
  allow: { db_labels: { env: 'test' }, db_users: ['postgres'], db_names: ['app'] },
  targets: [],
  async start(world: World): Promise<RunningGateway> {
    const { clock, policy, log, sessions } = world;
    const ca = await loadCertAuthority({
      store: memoryStore(clock),
      masterKey: testMasterKey,
      clock,
      clusterName: 'test',
    });
    const gateway = createPostgresGateway({
      clock,
      log,
      sessions,
      policy,
      ca,
      tls: { current: await ca.mintTlsServer(['localhost']), onChange: () => () => undefined },
      refused: async () => {},
      fastPath,
    });
    const sockets = new Set<net.Socket>();
    const targets: Target[] = [];
    const keep = (socket: net.Socket): net.Socket => {
      sockets.add(socket);
      socket.once('close', () => sockets.delete(socket));
      return socket;
    };
    const listen = async (accept: (socket: net.Socket) => void): Promise<net.Server> => {
      const server = net.createServer({ noDelay: true }, (socket) => accept(keep(socket)));
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      return server;
    };
    const server = await listen((socket) => {
      socket.on('error', () => undefined);
      socket.once('data', (startup: Buffer) => {
        // Cancel requests come on connections of their own.
        if (startup.readUInt32BE(4) !== PROTOCOL_3_0) {
          socket.end();
          return;
        }
        targets.push(new Target(socket));
        socket.write(Buffer.concat([AUTHENTICATION_OK, READY]));
      });
    });
    let user = '';
    // As from the public port: TLS is done, and the client is known.
    const port = await listen((socket) => {
      const identity: Identity = {
        user,
        serial: '01',
        expiresAtMs: clock.wallMs() + 12 * 3_600_000,
        principals: [],
        extensions: [],
        route: { kind: 'db', name: 'app-db' },
      };
      gateway.acceptTunnel(socket, { clientAddr: '192.0.2.7:5', identity });
    });
    const portOf = (one: net.Server): number => (one.address() as net.AddressInfo).port;
    policy.put({
      kind: 'db',
      version: 'v3',
      metadata: { name: 'app-db', labels: { env: 'test' } },
      spec: { protocol: 'postgres', uri: `127.0.0.1:${portOf(server)}`, tls: { mode: 'disable' } },
    });
    return {
      async connect(name): Promise<ConnectResult> {
        user = name;
        const socket = keep(net.connect({ port: portOf(port), host: '127.0.0.1', noDelay: true }));
        const before = targets.length;
        let told = '';
        let client: PostgresClient | undefined;
        let usable = false;
        let closed = false;
        socket.once('close', () => {
          closed = true;
        });
        onMessages(socket, (type, body) => {
          if (client !== undefined) client.take(type, body);
          else if (type === BACKEND.errorResponse) told += decodeServerError(body).message;
          else if (type === BACKEND.readyForQuery) usable = true;
        });
        socket.on('error', () => undefined);
        socket.write(
          encodeStartup(
            PROTOCOL_3_0,
            new Map([
              ['user', 'postgres'],
              ['database', 'app'],
            ]),
          ),
        );
        await until('an answer to the login', () => usable || closed);
        if (!usable) return { ok: false, told };
        client = new PostgresClient(socket, targets[before]!, told);
        return { ok: true, client };
      },
      async close() {
        gateway.close();
        for (const socket of sockets) socket.destroy();
        await Promise.all([server, port].map((one) => new Promise((resolve) => one.close(resolve))));
      },
    };
  },
};

describeGateway(subject);
