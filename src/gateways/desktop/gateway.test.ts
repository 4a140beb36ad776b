// What comes before a session, and what never becomes one: real WebSockets and TCP, a clock that the test moves.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { after, before, beforeEach, describe, test } from 'node:test';
import { makeCertificate } from '../../../test/fixtures/desktop/certificate.ts';
import {
  type GatewayDoor,
  openDoor,
  type PlayedDesktop,
  playRdp,
  playVnc,
  type RawBrowser,
} from '../../../test/fixtures/desktop/peers.ts';
import { FakeClock, settle } from '../../../test/fixtures/fake-clock.ts';
import { MemoryAuditLog } from '../../../test/fixtures/memory-audit-log.ts';
import { MemoryLogger } from '../../../test/fixtures/memory-logger.ts';
import { TestPolicy } from '../../../test/fixtures/test-policy.ts';
import { Secret } from '../../core/secret.ts';
import { Sessions } from '../../session/manager.ts';
import { encodeRdCleanPathRequest } from '../../wire/rdp/rdcleanpath.ts';
import { encodeX224ConnectionConfirm } from '../../wire/rdp/x224.ts';
import { createDesktopGateway, type DesktopGateway } from './gateway.ts';

const X224 = Buffer.from('0300000b06e00000000000', 'hex');
/** As often the gateway asks a browser whether it is there. */
const PING_SECONDS = 20;
const request = (destination: string) => encodeRdCleanPathRequest({ destination, proxyAuth: '-', x224: X224 });

describe('the desktop gateway before and around a session', { timeout: 60_000 }, () => {
  const certificate = makeCertificate();
  let vnc: PlayedDesktop;
  let rdp: PlayedDesktop;
  let clock: FakeClock;
  let audit: MemoryAuditLog;
  let log: MemoryLogger;
  let sessions: Sessions;
  let gateway: DesktopGateway;
  let door: GatewayDoor;
  let policy: TestPolicy;
  const kept = new Map<string, string>();

  before(async () => {
    [vnc, rdp] = await Promise.all([playVnc(), playRdp(certificate)]);
  });

  after(() => Promise.all([vnc.close(), rdp.close(), door.close()]));

  beforeEach(async () => {
    await door?.close();
    vnc.forget();
    rdp.forget();
    clock = new FakeClock();
    audit = new MemoryAuditLog(clock);
    log = new MemoryLogger();
    policy = new TestPolicy([
      desktop('vnc', { protocol: 'vnc', addr: `127.0.0.1:${vnc.port}` }),
      desktop('rdp', { addr: `127.0.0.1:${rdp.port}`, tls: { mode: 'pinned', fingerprint: certificate.fingerprint } }),
      role({ windows_desktop_labels: { '*': '*' }, windows_desktop_logins: ['desk'] }),
      { kind: 'user', version: 'v2', metadata: { name: 'alice' }, spec: { roles: ['desktops'] } },
    ]);
    sessions = new Sessions({ clock, log, audit, policy });
    gateway = createDesktopGateway({
      clock,
      log,
      policy,
      sessions,
      credentials: async (name, login) => {
        const password = kept.get(`${name} ${login}`);
        return password === undefined ? undefined : new Secret(password);
      },
    });
    door = await openDoor(gateway);
  });

  const open = (name: string, login = 'desk'): RawBrowser =>
    door.open({ user: 'alice', desktop: name, login, certExpiresAtMs: clock.wallMs() + 86_400_000 });

  test('a page that says nothing is closed after ten seconds, and no session was opened', async () => {
    const browser = open('vnc');
    await once(browser.ws, 'open');
    await settleFor(() => clock.timers >= 2);
    await clock.advance(9_999);
    assert.equal(browser.ws.readyState, browser.ws.OPEN);
    await clock.advance(1);
    const { code, reason } = await browser.closed;
    assert.equal(code, 4001);
    assert.match(reason, /within 10 s/);
    assert.deepEqual(audit.names, []);
  });

  test('refused: a first message that is none, one that is too long', async () => {
    for (const text of ['hello', '{"type":"close"}', JSON.stringify({ type: 'open', password: 'x'.repeat(9_000) })]) {
      const browser = open('vnc');
      await once(browser.ws, 'open');
      browser.ws.send(text);
      assert.match((await browser.closed).reason, /did not begin/);
    }
    assert.deepEqual(audit.names, []);
  });

  test('bytes before the desktop is there are bounded', async () => {
    const browser = open('vnc');
    await once(browser.ws, 'open');
    for (let i = 0; i < 70; i += 1) browser.ws.send(Buffer.alloc(1_000));
    await browser.closed;
    assert.deepEqual(audit.names, []);
  });

  test('the page cannot name another machine than the desktop that the session is for', async () => {
    const browser = open('rdp');
    await browser.begin({ password: 'p' });
    browser.send(request('169.254.169.254:80'));
    const { reason } = await browser.closed;
    assert.match(reason, /asked for "169\.254\.169\.254:80" in a session for "rdp"/);
    assert.equal(browser.control[0]?.type === 'end' && browser.control[0].problem, 'denied');
    assert.deepEqual(audit.names, []);
    assert.ok(browser.bytes.length > 0, 'RDCleanPath says it as well');
  });

  test('a desktop that is taken away, or moved, while its session is open', async () => {
    for (const change of [
      () => policy.remove('windows_desktop', 'vnc'),
      () => policy.put(desktop('vnc', { protocol: 'vnc', addr: '127.0.0.1:9' })),
    ]) {
      policy.put(desktop('vnc', { protocol: 'vnc', addr: `127.0.0.1:${vnc.port}` }));
      const browser = open('vnc');
      await browser.begin();
      await vnc.accept();
      change();
      await browser.closed;
      assert.equal(audit.last('client.disconnect')!['cause'], 'access_revoked');
    }
  });

  test('RDP without a password is refused before the desktop is touched', async () => {
    let touched = false;
    void rdp.accept().then(() => {
      touched = true;
    });
    const browser = open('rdp');
    await browser.begin();
    browser.send(request('rdp:3389'));
    assert.match((await browser.closed).reason, /password of desk is needed/);
    assert.equal(touched, false);
    assert.equal(audit.last('windows.desktop.session.start')!.code, 'TDP00W');
  });

  test('a desktop that accepts and says nothing is given up after 45 seconds', async () => {
    const browser = open('vnc');
    await browser.begin();
    const desk = await vnc.accept();
    const gone = once(desk, 'close');
    desk.resume();
    // In steps, so that the real browser has answered a ping before the next one.
    for (let second = 5; second <= 45; second += 5) {
      await clock.advance(5_000);
      await settleFor(() => door.pongs >= Math.floor(second / PING_SECONDS));
    }
    assert.match((await browser.closed).reason, /not usable within 45 s/);
    await gone;
    await settleFor(() => sessions.list().length === 0);
    assert.equal(audit.last('client.disconnect')!['cause'], 'error');
  });

  test('the client leaves while the desktop is being connected', async () => {
    const browser = open('vnc');
    await browser.begin();
    const desk = await vnc.accept();
    const gone = once(desk, 'close');
    desk.resume();
    browser.ws.terminate();
    await gone;
    await settleFor(() => sessions.list().length === 0);
    assert.equal(audit.last('client.disconnect')!['cause'], 'client_closed');
  });

  test('a desktop that breaks the connection while the browser is greeted', async (t) => {
    const connect = net.connect as (options: net.NetConnectOpts) => net.Socket;
    const toDesktop = Promise.withResolvers<net.Socket>();
    t.mock.method(net, 'connect', (options: net.TcpNetConnectOpts) => {
      const socket = connect(options);
      if (options.port === vnc.port) toDesktop.resolve(socket);
      return socket;
    });
    const browser = open('vnc');
    await browser.begin();
    const desk = await vnc.accept();
    desk.resume();
    desk.write('RFB 003.008\n\x01\x01\0\0\0\0');
    desk.write(Buffer.from('032002582018000100ff00ff00ff100800000000000000036c6162', 'hex'));
    await settleFor(() => browser.received >= 12);
    const upstream = await toDesktop.promise;
    // Not `once`, which would listen for errors too: that is the gateway's to do.
    const gone = new Promise((resolve) => upstream.on('close', resolve));
    desk.resetAndDestroy();
    await gone;
    browser.send(Buffer.from('RFB 003.008\n\x01\x01'));
    assert.match((await browser.closed).reason, /target closed/);
    await settleFor(() => sessions.list().length === 0);
    assert.equal(audit.last('client.disconnect')!['cause'], 'target_closed');
  });

  test('a browser that answers no ping is given up; one that does is kept', async () => {
    const browser = open('vnc');
    await browser.begin();
    const desk = await vnc.accept();
    desk.resume();
    desk.write('RFB 003.008\n\x01\x01\0\0\0\0');
    desk.write(Buffer.from('032002582018000100ff00ff00ff100800000000000000036c6162', 'hex'));
    browser.send(Buffer.from('RFB 003.008\n\x01\x01'));
    await settleFor(() => browser.control.some((message) => message.type === 'ready'));
    let pings = 0;
    browser.ws.on('ping', () => {
      pings += 1;
    });
    for (let i = 1; i <= 6; i += 1) {
      await clock.advance(20_000);
      await settleFor(() => pings === i && door.pongs === i);
    }
    assert.equal(sessions.list().length, 1);
    browser.ws.pause();
    await clock.advance(40_000);
    await settleFor(() => sessions.list().length === 0);
    assert.match(String(audit.last('client.disconnect')!['reason']), /did not answer/);
  });

  test('standard RDP security is refused, and so is a server that is none', async () => {
    kept.set('odd desk', 'p');
    for (const [answer, text] of [
      [encodeX224ConnectionConfirm(0, 0), /offers no TLS/],
      [Buffer.from('0300000b06d00000000000', 'hex'), /offers no TLS/],
      [Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'), /does not speak RDP/],
      [Buffer.from('030000130ed00000000000030008000200000000'.slice(0, 38), 'hex'), /does not offer TLS/],
    ] as const) {
      const server = net.createServer((socket) => {
        socket.on('error', () => undefined);
        socket.once('data', () => socket.write(answer));
      });
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      const { port } = server.address() as net.AddressInfo;
      policy.put(desktop('odd', { addr: `127.0.0.1:${port}`, tls: { mode: 'insecure' } }));
      const browser = open('odd');
      await browser.begin();
      browser.send(request('odd:3389'));
      assert.match((await browser.closed).reason, text);
      server.close();
    }
  });

  test('closing the gateway ends those that wait', async () => {
    const browser = open('vnc');
    await once(browser.ws, 'open');
    await settleFor(() => clock.timers >= 2);
    gateway.close();
    assert.match((await browser.closed).reason, /shutting down/);
  });
});

function desktop(name: string, spec: Record<string, unknown>): unknown {
  return { kind: 'windows_desktop', version: 'v3', metadata: { name }, spec };
}

function role(allow: unknown): unknown {
  return { kind: 'role', version: 'v7', metadata: { name: 'desktops' }, spec: { allow } };
}

/** Real sockets take their turns; the fake clock stands still meanwhile. */
async function settleFor(condition: () => boolean): Promise<void> {
  const giveUp = Date.now() + 10_000;
  while (!condition()) {
    if (Date.now() > giveUp) throw new Error('it did not happen');
    await settle();
  }
}
