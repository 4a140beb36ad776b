// The suite against the Kubernetes gateway: real TLS on both sides and the protocols' real bytes, over WebSocket, SPDY and the tunnelled
// port-forward, with a terminal and without.
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { stringify } from 'yaml';
import { createKubeGateway } from '../../src/gateways/kube/gateway.ts';
import { type ClusterAuthorities, loadCertAuthority } from '../../src/identity/certificate-authority.ts';
import { createKubePort } from '../../src/server/public-port.ts';
import { systemClock } from '../../src/server/system-clock.ts';
import { FakeClock, settle } from '../fixtures/fake-clock.ts';
import { fastPath } from '../fixtures/fast-path.ts';
import { memoryStore, testMasterKey } from '../fixtures/identity.ts';
import {
  type Carrier,
  createWire,
  requestUpgrade,
  type ScriptedApiServer,
  startScriptedApiServer,
  type Wire,
} from '../fixtures/kube/peers.ts';
import {
  type ConnectResult,
  describeGateway,
  type GatewaySubject,
  type RunningGateway,
  type TestClient,
  type World,
} from './gateway.ts';

const FLOOD = Buffer.alloc(3_000, 'x');

/** Users' certificates begin at the suite's time; those of servers must be valid now. */
let authorities: Promise<{ users: ClusterAuthorities; servers: ClusterAuthorities }> | undefined;

function loadAuthorities(): Promise<{ users: ClusterAuthorities; servers: ClusterAuthorities }> {
  const load = (clock: FakeClock | typeof systemClock) =>
    loadCertAuthority({ store: memoryStore(clock), masterKey: testMasterKey, clock, clusterName: 'test' });
  authorities ??= Promise.all([load(new FakeClock()), load(systemClock)]).then(([users, servers]) => ({
    users,
    servers,
  }));
  return authorities;
}

interface Variant {
  readonly carrier: Carrier;
  readonly tty: boolean;
}

class KubeClient implements TestClient {
  readonly closed: Promise<void>;
  readonly targetClosed: Promise<void>;
  readonly canWarn: boolean;
  readonly #client: Duplex;
  readonly #target: Duplex;
  readonly #fromClient: Wire;
  readonly #fromTarget: Wire;
  readonly #input: string;
  readonly #output: string;
  #told = '';
  #sentUp = 0;
  #gotUp = 0;
  #gotDown = 0;
  #sentDown = 0;

  constructor(variant: Variant, client: Duplex, target: Duplex, rest: Buffer, streams: readonly string[]) {
    this.#client = client;
    this.#target = target;
    this.canWarn = variant.tty;
    this.#input = variant.carrier === 'tunnel' ? 'data' : 'stdin';
    this.#output = variant.carrier === 'tunnel' ? 'data' : 'stdout';
    this.closed = new Promise((resolve) => client.once('close', () => resolve()));
    this.targetClosed = new Promise((resolve) => target.once('close', () => resolve()));
    this.#fromClient = createWire(variant.carrier, 'client', streams, {
      data: (stream, bytes) => {
        if (bytes.length === 0 || bytes[0] === FLOOD[0]) return;
        this.#told += bytes.toString();
        // kubectl leaves when it has read why a forwarded port was closed.
        if (stream === 'error' && variant.carrier === 'tunnel') client.end();
      },
      closed: () => client.end(),
    });
    this.#fromTarget = createWire(variant.carrier, 'server', streams, {
      data: () => undefined,
      closed: () => undefined,
    });
    client.on('data', (chunk: Buffer) => {
      this.#gotDown += chunk.length;
      this.#fromClient.push(chunk);
    });
    target.on('data', (chunk: Buffer) => {
      this.#gotUp += chunk.length;
    });
    client.on('end', () => client.end());
    target.on('end', () => target.end());
    client.on('error', () => undefined);
    target.on('error', () => undefined);
    if (rest.length > 0) this.#fromClient.push(rest);
    client.resume();
    if (variant.tty) this.output = () => this.#down(this.#fromTarget.data(this.#output, Buffer.from('output')));
    else this.work = () => this.#down(this.#fromTarget.data(this.#output, Buffer.from('output')));
  }
  output?: () => Promise<void>;
  work?: () => Promise<void>;

  async open(): Promise<void> {
    await this.#up(this.#fromClient.open());
  }

  input(): Promise<void> {
    return this.#up(this.#fromClient.data(this.#input, Buffer.from('k')));
  }

  async noise(): Promise<void> {
    // What a terminal answers by itself is no input either.
    const replies = this.canWarn ? [this.#fromClient.data('stdin', Buffer.from('\x1b[24;80R\x1b[I\x1b[<35;1;1M'))] : [];
    await this.#up(Buffer.concat([this.#fromClient.noise(), ...replies]));
    await this.#down(this.#fromTarget.noise());
  }

  told(): string {
    return this.#told;
  }

  vanish(): void {
    this.#client.destroy();
  }

  dropTarget(): void {
    this.#target.destroy();
  }

  stopReading(): void {
    this.#client.pause();
  }

  async flood(): Promise<void> {
    const frame = this.#fromTarget.data(this.#output, FLOOD);
    // Odd pieces, so that no chunk ends where a frame does.
    const bytes = Buffer.concat(Array.from({ length: 20 }, () => frame));
    let at = 0;
    const more = (): void => {
      while (!this.#target.destroyed && this.#target.writable) {
        const piece = bytes.subarray(at, at + 1_777);
        at = (at + piece.length) % bytes.length;
        if (this.#target.write(piece)) continue;
        this.#target.once('drain', () => setImmediate(more));
        return;
      }
    };
    more();
    await settle();
  }

  async #up(bytes: Buffer): Promise<void> {
    this.#sentUp += bytes.length;
    this.#client.write(bytes);
    while (this.#gotUp < this.#sentUp && !this.#client.destroyed) await settle();
  }

  async #down(bytes: Buffer): Promise<void> {
    const before = this.#gotDown;
    this.#sentDown = bytes.length;
    this.#target.write(bytes);
    while (this.#gotDown < before + this.#sentDown && !this.#client.destroyed) await settle();
  }
}

function upgradeHeaders(carrier: Carrier): string[] {
  if (carrier === 'spdy')
    return [
      'Connection: Upgrade',
      'Upgrade: SPDY/3.1',
      'X-Stream-Protocol-Version: v4.channel.k8s.io',
      'Content-Length: 0',
    ];
  const subprotocol = carrier === 'tunnel' ? 'SPDY/3.1+portforward.k8s.io' : 'v5.channel.k8s.io';
  return [
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    `Sec-WebSocket-Protocol: ${subprotocol}`,
  ];
}

async function start(variant: Variant, world: World): Promise<RunningGateway> {
  const { users, servers } = await loadAuthorities();
  const credential = await servers.mintTlsServer(['localhost', '127.0.0.1']);
  const api: ScriptedApiServer = await startScriptedApiServer(credential);
  world.policy.put({
    ...CLUSTER,
    spec: {
      kubeconfig: Buffer.from(
        stringify({
          'current-context': 'c',
          contexts: [{ name: 'c', context: { cluster: 'c', user: 'u' } }],
          clusters: [
            {
              name: 'c',
              cluster: {
                server: `https://localhost:${api.port}`,
                'certificate-authority-data': Buffer.from(servers.tlsHostCa).toString('base64'),
              },
            },
          ],
          users: [{ name: 'u', user: { token: 'secret' } }],
        }),
      ).toString('base64'),
    },
  });
  const gateway = createKubeGateway({ ...world, fastPath, ca: users, refused: async () => {} });
  const { clock, log } = world;
  const { server } = createKubePort(gateway, {
    clock,
    log,
    credential,
    credentialFor: () => credential,
    clientCa: users.tlsUserCa,
  });
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const forwarding = variant.carrier === 'tunnel';
  const streams = forwarding
    ? ['error', 'data']
    : ['error', 'stdin', 'stdout', ...(variant.tty ? ['resize'] : ['stderr'])];
  const path = forwarding
    ? '/api/v1/namespaces/default/pods/web/portforward'
    : `/api/v1/namespaces/default/pods/web/exec?command=sh&container=main&stdin=true&stdout=true&${variant.tty ? 'tty=true' : 'stderr=true'}`;

  return {
    async connect(user): Promise<ConnectResult> {
      const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      const { tlsCertPem } = await users.issueUserCertificates({
        user,
        principals: [],
        tlsPublicKeySpkiDer: pair.publicKey.export({ type: 'spki', format: 'der' }),
        ttlMs: 12 * 3_600_000,
        extensions: [],
      });
      const answer = await requestUpgrade(
        {
          host: '127.0.0.1',
          port,
          key: pair.privateKey.export({ type: 'pkcs8', format: 'pem' }),
          cert: tlsCertPem!,
          rejectUnauthorized: false,
        },
        { method: variant.carrier === 'spdy' ? 'POST' : 'GET', path, headers: upgradeHeaders(variant.carrier) },
      );
      if (answer.status !== 101) {
        const parts = [answer.rest];
        answer.socket.on('data', (chunk: Buffer) => parts.push(chunk));
        answer.socket.resume();
        await once(answer.socket, 'close');
        return { ok: false, told: Buffer.concat(parts).toString() };
      }
      const client = new KubeClient(variant, answer.socket, await api.next(), answer.rest, streams);
      await client.open();
      return { ok: true, client };
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      gateway.close();
      await api.close();
    },
  };
}

const CLUSTER = {
  kind: 'kube_cluster',
  version: 'v3',
  metadata: { name: 'prod', labels: { env: 'test' } },
  spec: { kubeconfig: 'bm90aGluZw==' },
};

function subject(variant: Variant): GatewaySubject {
  return {
    name: `kube over ${variant.carrier}${variant.carrier === 'tunnel' ? '' : variant.tty ? ', with a terminal' : ', without a terminal'}`,
    protocol: 'kube',
    allow: {
      kubernetes_labels: { '*': '*' },
      kubernetes_groups: ['developers'],
      kubernetes_resources: [{ kind: '*', namespace: '*', name: '*', verbs: ['*'] }],
    },
    targets: [CLUSTER],
    start: (world) => start(variant, world),
  };
}

for (const carrier of ['websocket', 'spdy'] as const)
  for (const tty of [true, false]) describeGateway(subject({ carrier, tty }));
describeGateway(subject({ carrier: 'tunnel', tty: false }));
