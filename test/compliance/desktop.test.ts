// The suite against the desktop gateway, RDP and VNC: raw clients over a real WebSocket, desktops that speak the protocols' real bytes
// (RDP: as recorded from IronRDP and xrdp).
import type { Socket } from 'node:net';
import { after } from 'node:test';
import { Secret } from '../../src/core/secret.ts';
import { createDesktopGateway } from '../../src/gateways/desktop/gateway.ts';
import { systemClock } from '../../src/server/system-clock.ts';
import { encodeSendDataIndication } from '../../src/wire/rdp/mcs.ts';
import { encodeRdCleanPathRequest } from '../../src/wire/rdp/rdcleanpath.ts';
import { makeCertificate } from '../fixtures/desktop/certificate.ts';
import {
  type GatewayDoor,
  openDoor,
  type PlayedDesktop,
  playRdp,
  playVnc,
  type RawBrowser,
} from '../fixtures/desktop/peers.ts';
import { RDP_SETUP, rdpFrame } from '../fixtures/desktop/rdp-session.ts';
import { settle } from '../fixtures/fake-clock.ts';
import { type ConnectResult, describeGateway, type GatewaySubject, type TestClient, type World } from './gateway.ts';

const LOGIN = 'deskuser';
const DAY_MS = 24 * 3_600_000;

/** What differs between the protocols. */
interface Protocol {
  readonly name: 'rdp' | 'vnc';
  /** Brings both sides to where the desktop is usable. */
  connect(browser: RawBrowser, desktop: () => Promise<Socket>): Promise<Socket>;
  readonly input: Buffer;
  readonly clientNoise: readonly Buffer[];
  readonly serverNoise: readonly Buffer[];
  /** A piece of a file from the desktop, where the protocol has that. */
  readonly work?: Buffer;
  readonly flood: Buffer;
}

class DesktopClient implements TestClient {
  readonly canWarn = true;
  readonly closed: Promise<void>;
  readonly targetClosed: Promise<void>;
  readonly #browser: RawBrowser;
  readonly #desktop: Socket;
  readonly #protocol: Protocol;
  #arrived = 0;
  readonly work?: () => Promise<void>;

  constructor(protocol: Protocol, browser: RawBrowser, desktop: Socket) {
    this.#protocol = protocol;
    this.#browser = browser;
    this.#desktop = desktop;
    browser.keep = false;
    this.closed = browser.closed.then(() => undefined);
    this.targetClosed = new Promise((resolve) => desktop.once('close', () => resolve()));
    desktop.on('data', (data: Buffer) => {
      this.#arrived += data.length;
    });
    desktop.on('end', () => desktop.end());
    desktop.on('error', () => undefined);
    desktop.resume();
    if (protocol.work !== undefined) this.work = () => this.#down([protocol.work!]);
  }

  input(): Promise<void> {
    return this.#up([this.#protocol.input]);
  }

  async noise(): Promise<void> {
    this.#browser.ws.ping();
    await this.#up(this.#protocol.clientNoise);
    await this.#down(this.#protocol.serverNoise);
  }

  told(): string {
    return this.#browser.told();
  }

  vanish(): void {
    this.#browser.ws.terminate();
  }

  dropTarget(): void {
    this.#desktop.destroy();
  }

  stopReading(): void {
    this.#browser.ws.pause();
  }

  async flood(): Promise<void> {
    let stopped = false;
    const more = (): void => {
      while (!this.#desktop.destroyed && this.#desktop.write(this.#protocol.flood));
      stopped = true;
    };
    this.#desktop.on('drain', () => {
      stopped = false;
      setImmediate(more);
    });
    const before = this.#browser.received;
    more();
    const giveUp = Date.now() + 500;
    while (this.#browser.received === before && (!stopped || Date.now() < giveUp)) await settle();
  }

  async #up(pieces: readonly Buffer[]): Promise<void> {
    const until = this.#arrived + pieces.reduce((sum, piece) => sum + piece.length, 0);
    this.#browser.send(...pieces);
    while (this.#arrived < until && !this.#desktop.destroyed) await settle();
  }

  async #down(pieces: readonly Buffer[]): Promise<void> {
    const until = this.#browser.received + pieces.reduce((sum, piece) => sum + piece.length, 0);
    for (const piece of pieces) this.#desktop.write(piece);
    while (this.#browser.received < until && this.#browser.ws.readyState === this.#browser.ws.OPEN) await settle();
  }
}

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');
/** A chunk of the clipboard channel that holds a piece of a file (MS-RDPECLIP 2.2.5.4). */
const FILE_PIECE = encodeSendDataIndication(1004, hex('10000000 03000000 0900 0100 08000000 01000000 41424344'));

/** The server opens the dynamic channel by which a client asks for another size. */
const DISPLAY_CONTROL = { from: 'server', data: rdpFrame('server', /^0300004002f08068000503ed/) } as const;

const RDP: Protocol = {
  name: 'rdp',
  connect: async (browser, accept) => {
    browser.send(
      encodeRdCleanPathRequest({ destination: 'target:3389', proxyAuth: '-', x224: hex('0300000b06e00000000000') }),
    );
    const desktop = await accept();
    await until(() => browser.received > 0);
    let arrived = 0;
    desktop.on('data', (data: Buffer) => {
      arrived += data.length;
    });
    // In step: a client answers what it has read, and the gateway demands that order.
    for (const { from, data } of [...RDP_SETUP, DISPLAY_CONTROL]) {
      const [before, received] = [arrived, browser.received];
      if (from === 'client') {
        browser.send(data);
        await until(() => arrived > before || browser.ws.readyState !== browser.ws.OPEN);
      } else {
        desktop.write(data);
        await until(() => browser.received > received || browser.ws.readyState !== browser.ws.OPEN);
      }
    }
    return desktop;
  },
  input: hex('04 04 00 23'),
  clientNoise: [
    // Synchronize, a key and a button released by the browser itself, a frame acknowledged.
    hex('04 03 60'),
    hex('04 04 01 23'),
    hex('04 09 20 00 10 2c 01 c8 00'),
    rdpFrame('client', /0204003800/),
    // The clipboard announced and answered, a dynamic channel answered, the screen resized.
    rdpFrame('client', /^03000[0-9a-f]{3}02f08064000503ec.{4}.{16}0200/),
    rdpFrame('client', /^0300001e02f08064000503ec/),
    rdpFrame('client', /^0300005002f08064000503ed/),
  ],
  serverNoise: [hex('00800e0408000400000001000000'), rdpFrame('server', /^0300003a02f08068000503ec/)],
  work: FILE_PIECE,
  // A surface bits command without a picture, many times.
  flood: Buffer.concat(Array.from({ length: 200 }, () => hex('00800e0408000400000001000000'))),
};

const SERVER_INIT = hex('0320 0258 20 18 00 01 00ff 00ff 00ff 10 08 00 000000 00000003 6c6162');

const VNC: Protocol = {
  name: 'vnc',
  connect: async (browser, accept) => {
    const desktop = await accept();
    let sent = Buffer.alloc(0);
    desktop.on('data', (data: Buffer) => {
      sent = Buffer.concat([sent, data]);
    });
    desktop.write('RFB 003.008\n');
    await until(() => sent.length >= 12);
    desktop.write(hex('01 01'));
    await until(() => sent.length >= 13);
    desktop.write(hex('00000000'));
    await until(() => sent.length >= 14);
    desktop.write(SERVER_INIT);
    await until(() => browser.received >= 12);
    browser.send(Buffer.from('RFB 003.008\n'));
    await until(() => browser.received >= 14);
    browser.send(hex('01'), hex('01'));
    await until(() => browser.received >= 18 + SERVER_INIT.length);
    return desktop;
  },
  input: hex('04 01 0000 00000041'),
  clientNoise: [
    hex('02 00 0002 00000000 00000007'),
    hex('03 01 0000 0000 0320 0258'),
    hex('04 00 0000 00000041'),
    hex('ff 00 0000 00000041 0000001e'),
    hex('06 000000 00000003 616263'),
    hex('96 01 0000 0000 0320 0258'),
    hex('f8 000000 80000001 01 aa'),
    hex('fb 00 0280 01e0 01 00 00000001 00000000 028001e0 00000000'),
  ],
  serverNoise: [
    hex('00 00 0001 0000 0000 0001 0001 00000000 11223344'),
    hex('02'),
    hex('03 000000 00000003 616263'),
    hex('f8 000000 00000001 01 aa'),
  ],
  flood: Buffer.concat([hex('00 00 0001 0000 0000 0010 0010 00000000'), Buffer.alloc(1024)]),
};

async function until(condition: () => boolean): Promise<void> {
  const giveUp = Date.now() + 10_000;
  while (!condition()) {
    if (Date.now() > giveUp) throw new Error('nothing came');
    await settle();
  }
}

const certificate = makeCertificate();
const played: Record<'rdp' | 'vnc', PlayedDesktop> = { rdp: await playRdp(certificate), vnc: await playVnc() };
after(() => Promise.all([played.rdp.close(), played.vnc.close()]));

for (const protocol of [RDP, VNC]) {
  const desktop = played[protocol.name];
  const tls = protocol.name === 'rdp' ? { tls: { mode: 'pinned', fingerprint: certificate.fingerprint } } : {};
  const subject: GatewaySubject = {
    name: protocol.name === 'rdp' ? 'RDP' : 'VNC',
    protocol: protocol.name,
    allow: { windows_desktop_labels: { '*': '*' }, windows_desktop_logins: [LOGIN] },
    targets: [
      {
        kind: 'windows_desktop',
        version: 'v3',
        metadata: { name: 'target' },
        spec: { addr: `127.0.0.1:${desktop.port}`, protocol: protocol.name, ...tls },
      },
    ],
    start: async (world: World) => {
      // Pings and the limits before a session are real time, as the sockets are.
      const gateway = createDesktopGateway({
        ...world,
        clock: systemClock,
        credentials: async () => (protocol.name === 'rdp' ? new Secret('kept') : undefined),
      });
      const door: GatewayDoor = await openDoor(gateway);
      return {
        connect: async (user: string): Promise<ConnectResult> => {
          const certExpiresAtMs = world.clock.wallMs() + DAY_MS;
          const browser = door.open({ user, desktop: 'target', login: LOGIN, certExpiresAtMs });
          await browser.begin();
          const refused = browser.closed.then(() => 'refused' as const);
          const connecting = protocol.connect(browser, () => desktop.accept());
          connecting.catch(() => undefined);
          const outcome = await Promise.race([connecting, refused]);
          if (outcome === 'refused') {
            desktop.forget();
            return { ok: false, told: browser.told() };
          }
          await until(() => browser.control.some((message) => message.type === 'ready'));
          return { ok: true, client: new DesktopClient(protocol, browser, outcome) };
        },
        close: async () => {
          gateway.close();
          await door.close();
        },
      };
    },
  };
  describeGateway(subject);
}
