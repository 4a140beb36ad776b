// The suite against the SSH gateway: its real transport, relay and cryptography over in-memory streams, with a terminal and without.
import assert from 'node:assert/strict';
import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { type Duplex, duplexPair } from 'node:stream';
import { errorMessage } from '../../src/core/errors.ts';
import { authenticateAtServer } from '../../src/gateways/ssh/client-auth.ts';
import { createSshGateway } from '../../src/gateways/ssh/gateway.ts';
import { SshTransport } from '../../src/gateways/ssh/transport.ts';
import { loadCertAuthority } from '../../src/identity/certificate-authority.ts';
import { RefusedLogins } from '../../src/identity/refused-logins.ts';
import { SshReader, SshWriter } from '../../src/wire/ssh/buffer.ts';
import { encodePublicKey, sshSign } from '../../src/wire/ssh/keys.ts';
import { EXTENDED_DATA_STDERR, encodeChannelOpen, encodeGlobalRequest, MSG } from '../../src/wire/ssh/messages.ts';
import { settle } from '../fixtures/fake-clock.ts';
import { memoryStore, testMasterKey } from '../fixtures/identity.ts';
import {
  type ConnectResult,
  describeGateway,
  type GatewaySubject,
  type RunningGateway,
  type TestClient,
  type World,
} from './gateway.ts';

const LOGIN = 'worker';
const CHANNEL = 7;
const TARGET_CHANNEL = 3;
const WINDOW = 256 * 1024;
const MAX_PACKET = 32 * 1024;
const hostKey = generateKeyPairSync('ed25519').privateKey;
const hostBlob = encodePublicKey(hostKey);

const NODE = {
  kind: 'node',
  version: 'v2',
  metadata: { name: 'n1', labels: { env: 'test' } },
  spec: { hostname: 'web', addr: '192.0.2.1:22', host_keys: [`ssh-ed25519 ${hostBlob.toString('base64')}`] },
};

function message(type: number, channel: number, fill: (writer: SshWriter) => SshWriter = (writer) => writer): Buffer {
  return fill(new SshWriter().byte(type).uint32(channel)).finish();
}

/** Everything that is on its way in memory has arrived. */
async function quiet(): Promise<void> {
  for (let turn = 0; turn < 25; turn++) await settle();
}

/** An SSH server that lets everybody in and answers to one channel. */
class Target {
  readonly transport: SshTransport;
  readonly stream: Duplex;
  received = '';
  #window = 0;
  #flooding = false;
  #sent = 0;

  constructor(stream: Duplex, world: World) {
    this.stream = stream;
    const sign = (data: Uint8Array): Buffer => sshSign(hostKey, data, 'ssh-ed25519');
    const hostKeys = [{ algorithm: 'ssh-ed25519', blob: hostBlob, sign }];
    this.transport = new SshTransport({ stream, clock: world.clock, role: 'server', hostKeys });
    this.transport.onAuthPacket = (packet) => {
      if (packet[0] === MSG.SERVICE_REQUEST) {
        this.transport.send(new SshWriter().byte(MSG.SERVICE_ACCEPT).string('ssh-userauth').finish());
      } else if (packet[0] === MSG.USERAUTH_REQUEST) {
        this.transport.authenticated = true;
        this.transport.send(Buffer.from([MSG.USERAUTH_SUCCESS]));
      }
    };
    this.transport.onPacket = (packet) => this.#packet(packet);
  }

  #packet(packet: Buffer): void {
    const reader = new SshReader(packet, 1);
    switch (packet[0]) {
      case MSG.GLOBAL_REQUEST:
        reader.name();
        if (reader.boolean()) this.transport.send(Buffer.from([MSG.REQUEST_FAILURE]));
        return;
      case MSG.CHANNEL_OPEN:
        reader.name();
        assert.equal(reader.uint32(), CHANNEL);
        this.#window = reader.uint32();
        this.transport.send(
          message(MSG.CHANNEL_OPEN_CONFIRMATION, CHANNEL, (w) =>
            w.uint32(TARGET_CHANNEL).uint32(WINDOW).uint32(MAX_PACKET),
          ),
        );
        return;
      case MSG.CHANNEL_REQUEST:
        reader.uint32();
        reader.name();
        if (reader.boolean()) this.transport.send(message(MSG.CHANNEL_SUCCESS, CHANNEL));
        return;
      case MSG.CHANNEL_WINDOW_ADJUST:
        reader.uint32();
        this.#window += reader.uint32();
        return;
      case MSG.CHANNEL_DATA:
        reader.uint32();
        this.received += reader.string().toString('latin1');
    }
  }

  send(text: string | Buffer): void {
    this.#window -= text.length;
    this.transport.send(message(MSG.CHANNEL_DATA, CHANNEL, (w) => w.string(text)));
  }

  /** Sends whatever the window allows, again and again; resolves when it runs or stands still. */
  async flood(): Promise<void> {
    this.#flooding = true;
    const block = Buffer.alloc(MAX_PACKET / 2, 'x');
    const pump = async (): Promise<void> => {
      while (this.#flooding && !this.transport.closed) {
        if (this.#window >= block.length) {
          this.#sent += 1;
          this.send(block);
        }
        await settle();
      }
    };
    void pump();
    await quiet();
    this.transport.onClose = () => {
      this.#flooding = false;
    };
    assert.ok(this.#sent > 2);
  }
}

class SshClient implements TestClient {
  readonly canWarn: boolean;
  readonly closed: Promise<void>;
  readonly targetClosed: Promise<void>;
  readonly #transport: SshTransport;
  readonly #stream: Duplex;
  readonly #target: Target;
  readonly #terminal: boolean;
  #text = '';
  #reading = true;
  #succeeded = 0;
  #confirmed = false;
  #answers = 0;

  constructor(transport: SshTransport, stream: Duplex, target: Target, terminal: boolean) {
    this.#transport = transport;
    this.#stream = stream;
    this.#target = target;
    this.#terminal = terminal;
    this.canWarn = terminal;
    this.closed = transport.whenClosed;
    this.targetClosed = target.transport.whenClosed;
    transport.onPacket = (packet) => this.#packet(packet);
    transport.onClose = (closed) => {
      this.#text += `\n${closed.detail}`;
    };
    if (terminal) this.output = () => this.#fromTarget('output');
    else this.work = () => this.#fromTarget('work');
  }
  output?: () => Promise<void>;
  work?: () => Promise<void>;

  async open(): Promise<void> {
    this.#transport.send(encodeChannelOpen('session', CHANNEL, WINDOW, MAX_PACKET));
    await this.#until('the channel', () => this.#confirmed);
    if (this.#terminal) {
      this.#request('pty-req', (w) => w.string('xterm').uint32(80).uint32(24).uint32(0).uint32(0).string(''));
      this.#request('shell');
    } else {
      this.#request('exec', (w) => w.string('work'));
    }
    await this.#until('the requests', () => this.#succeeded === (this.#terminal ? 2 : 1));
  }

  #request(name: string, fill: (writer: SshWriter) => SshWriter = (writer) => writer): void {
    this.#transport.send(message(MSG.CHANNEL_REQUEST, TARGET_CHANNEL, (w) => fill(w.string(name).boolean(true))));
  }

  #packet(packet: Buffer): void {
    const reader = new SshReader(packet, 1);
    switch (packet[0]) {
      case MSG.CHANNEL_OPEN_CONFIRMATION:
        this.#confirmed = true;
        return;
      case MSG.CHANNEL_SUCCESS:
        this.#succeeded += 1;
        return;
      case MSG.REQUEST_FAILURE:
      case MSG.REQUEST_SUCCESS:
        this.#answers += 1;
        return;
      case MSG.CHANNEL_DATA:
      case MSG.CHANNEL_EXTENDED_DATA: {
        reader.uint32();
        if (packet[0] === MSG.CHANNEL_EXTENDED_DATA) assert.equal(reader.uint32(), EXTENDED_DATA_STDERR);
        const data = reader.string();
        if (data[0] !== 0x78 || data.length < 1000) this.#text += data.toString('utf8');
        if (this.#reading) this.#adjust(data.length);
        return;
      }
      case MSG.CHANNEL_CLOSE:
        this.#transport.send(message(MSG.CHANNEL_CLOSE, TARGET_CHANNEL));
        return;
      case MSG.GLOBAL_REQUEST:
        reader.name();
        if (reader.boolean()) this.#transport.send(Buffer.from([MSG.REQUEST_FAILURE]));
    }
  }

  #adjust(bytes: number): void {
    this.#transport.send(message(MSG.CHANNEL_WINDOW_ADJUST, TARGET_CHANNEL, (w) => w.uint32(bytes)));
  }

  async #until(what: string, condition: () => boolean): Promise<void> {
    const giveUp = Date.now() + 10_000;
    while (!condition()) {
      assert.ok(Date.now() < giveUp, `${what} did not come: ${this.#text}`);
      await settle();
    }
    await quiet();
  }

  #keys(data: string): void {
    this.#transport.send(message(MSG.CHANNEL_DATA, TARGET_CHANNEL, (w) => w.string(data)));
  }

  async input(): Promise<void> {
    const before = this.#target.received.length;
    this.#keys('l');
    await this.#until('the key press', () => this.#target.received.length > before);
  }

  async #fromTarget(text: string): Promise<void> {
    const before = this.#text.length;
    this.#target.send(text);
    await this.#until('the output', () => this.#text.length > before);
  }

  async noise(): Promise<void> {
    const before = this.#answers;
    this.#transport.send(encodeGlobalRequest('keepalive@openssh.com', true));
    this.#target.transport.send(encodeGlobalRequest('keepalive@openssh.com', true));
    this.#transport.send(new SshWriter().byte(MSG.IGNORE).string('noise').finish());
    this.#adjust(100);
    this.#target.transport.send(message(MSG.CHANNEL_WINDOW_ADJUST, CHANNEL, (w) => w.uint32(100)));
    if (this.#terminal) {
      this.#request('window-change', (w) => w.uint32(100).uint32(30).uint32(0).uint32(0));
      // A terminal answers: cursor position, focus, device attributes, the mouse moved without a button.
      this.#keys('\u001b[24;1R\u001b[I\u001b[O\u001b[?64;1;2c\u001b[<35;10;20M');
    }
    await this.#until('the answer to a keepalive', () => this.#answers > before);
  }

  told(): string {
    return this.#text;
  }
  vanish(): void {
    this.#stream.destroy();
  }
  dropTarget(): void {
    this.#target.stream.destroy();
  }
  stopReading(): void {
    this.#reading = false;
    this.#transport.pause();
  }
  flood(): Promise<void> {
    return this.#target.flood();
  }
}

function subject(terminal: boolean): GatewaySubject {
  return {
    name: terminal ? 'SSH with a terminal' : 'SSH without a terminal',
    protocol: 'ssh',
    allow: { logins: [LOGIN], node_labels: { env: 'test' } },
    targets: [NODE],
    async start(world: World): Promise<RunningGateway> {
      const { clock, policy, sessions, log, audit } = world;
      const ca = await loadCertAuthority({
        store: memoryStore(clock),
        masterKey: testMasterKey,
        clock,
        clusterName: 'test',
      });
      const targets: Target[] = [];
      const gateway = createSshGateway({
        clock,
        log,
        refusedLogins: new RefusedLogins({ clock, log, audit }),
        sessions,
        policy,
        ca,
        clusterName: 'test',
        connect: () => {
          const [near, far] = duplexPair();
          targets.push(new Target(far, world));
          return near;
        },
      });
      const clients: SshTransport[] = [];
      return {
        async connect(user): Promise<ConnectResult> {
          const { privateKey } = generateKeyPairSync('ed25519');
          const blob = encodePublicKey(createPublicKey(privateKey));
          const { sshCert } = await ca.issueUserCertificates({
            user,
            principals: [LOGIN],
            sshPublicKey: `ssh-ed25519 ${blob.toString('base64')}`,
            ttlMs: 12 * 3_600_000,
            extensions: ['permit-pty'],
          });
          const certificate = Buffer.from(sshCert!.split(' ')[1]!, 'base64');
          const [stream, far] = duplexPair();
          gateway.acceptNode(far, { clientAddr: '192.0.2.7:50000', host: 'web', port: 22 });
          const transport = new SshTransport({
            stream,
            clock,
            role: 'client',
            verifyHostKey: () => ({ ok: true }),
            hostKeyAlgorithms: ['ssh-ed25519'],
          });
          clients.push(transport);
          try {
            await authenticateAtServer({
              transport,
              login: LOGIN,
              credential: () => ({ privateKey, certificate }),
              clock,
              timeoutMs: 30_000,
            });
          } catch (error) {
            await transport.whenClosed;
            return { ok: false, told: errorMessage(error) };
          }
          const client = new SshClient(transport, stream, targets.at(-1)!, terminal);
          await client.open();
          return { ok: true, client };
        },
        async close() {
          for (const transport of clients) transport.abort();
          for (const target of targets) target.transport.abort();
          await quiet();
          await gateway.close();
        },
      };
    },
  };
}

describeGateway(subject(false));
describeGateway(subject(true));
