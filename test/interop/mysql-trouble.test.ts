import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import net from 'node:net';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import tls from 'node:tls';
import { createMysqlGateway, type MysqlGateway } from '../../src/gateways/mysql/gateway.ts';
import { CAPABILITY, OFFERED_CAPABILITIES } from '../../src/wire/mysql/capabilities.ts';
import { encodeHandshakeV10, encodeSslRequest } from '../../src/wire/mysql/handshake.ts';
import { encodeError, encodePacket } from '../../src/wire/mysql/packets.ts';
import { listenAsTarget, query, SmallClient } from '../compliance/mysql-peers.ts';
import { MARIADB } from '../fixtures/db/mariadb.ts';
import { run, until } from '../fixtures/db/programs.ts';
import { fastPath } from '../fixtures/fast-path.ts';
import {
  databaseAt,
  everything,
  type OddServer,
  oddServer,
  type TroubleWorld,
  troubleWorld,
  tunnelTo,
} from './db-trouble.ts';
import { database, type Fixture, startFixture } from './mysql-fixture.ts';

const GREETING = encodePacket(
  0,
  encodeHandshakeV10({
    serverVersion: '8.0.36',
    threadId: 7,
    salt: Buffer.from('12345678901234567890'),
    capabilities: OFFERED_CAPABILITIES,
    plugin: 'mysql_native_password',
  }),
);

describe('MySQL servers that misbehave', () => {
  let world: TroubleWorld;
  let gateway: MysqlGateway;
  let door: OddServer;
  let servers: { close(): Promise<void> }[] = [];

  beforeEach(async () => {
    world = await troubleWorld('mysql');
    gateway = createMysqlGateway({ ...world, fastPath });
    door = await tunnelTo(world, gateway);
    servers = [door];
  });
  afterEach(async () => {
    gateway.close();
    for (const server of servers) await server.close();
    world.sessions.close();
  });

  async function behind(handle: (socket: net.Socket) => void, mode = 'disable'): Promise<OddServer> {
    const server = await oddServer(handle);
    servers.push(server);
    world.policy.put(databaseAt('mysql', server.port, mode));
    return server;
  }

  async function refused(): Promise<string> {
    const client = new SmallClient(net.connect(door.port, '127.0.0.1'));
    assert.equal(await client.login('app'), false);
    await client.closed;
    await until('the session to end', () => world.sessions.list().length === 0);
    assert.equal(world.audit.last('db.session.start')?.['success'], false);
    return client.told;
  }

  for (const [what, handle, told] of [
    ['closes at once', (socket: net.Socket) => socket.destroy(), /closed during the login|ECONNRESET/],
    [
      'resets in the greeting',
      (socket: net.Socket) => socket.write(GREETING.subarray(0, 20), () => socket.resetAndDestroy()),
      /closed|ECONNRESET/,
    ],
    ['sends garbage', (socket: net.Socket) => socket.write(Buffer.alloc(200, 0x41)), /packet of 4276545 bytes/],
    [
      'speaks another protocol',
      (socket: net.Socket) => socket.write(encodePacket(0, Buffer.from([9, 1, 2]))),
      /protocol 9/,
    ],
    [
      'has no room',
      (socket: net.Socket) => socket.end(encodePacket(0, encodeError(1040, '08004', 'Too many connections'))),
      /Too many connections/,
    ],
    [
      'floods before the login',
      (socket: net.Socket) => {
        socket.on('data', () => undefined);
        socket.write(Buffer.concat([GREETING, Buffer.alloc(2_000_000, 1)]));
      },
      /belong to the login|too much|packet of/,
    ],
    [
      'never comes to an end',
      (socket: net.Socket) => {
        socket.write(GREETING);
        socket.on('data', () => {
          for (let i = 2; i < 40; i++)
            socket.write(encodePacket(i, Buffer.from('\xfemysql_native_password\x0012345678901234567890\0', 'latin1')));
        });
      },
      /end of its authentication/,
    ],
    [
      'wants what the gateway does not do',
      (socket: net.Socket) => {
        socket.write(GREETING);
        socket.on('data', () => socket.write(encodePacket(2, Buffer.from('\xfedialog\0Password: ', 'latin1'))));
      },
      /"dialog", which is not supported/,
    ],
  ] as const) {
    test(`a server that ${what}: the client is told, and nothing is left`, async () => {
      const server = await behind(handle as (socket: net.Socket) => void);
      assert.match(await refused(), told);
      await until('the connection to close', () => server.sockets.every((socket) => socket.destroyed || socket.closed));
    });
  }

  test('a server that offers no TLS is not spoken to in plain text', async () => {
    await behind((socket) => socket.write(GREETING), 'verify-full');
    assert.match(await refused(), /does not offer TLS/);
  });

  test('a server that cannot be reached', async () => {
    assert.match(await refused(), /cannot reach the database/);
  });

  test('a server that stalls in the login: given up after half a minute', async () => {
    const server = await behind((socket) => socket.write(GREETING.subarray(0, 30)));
    const client = new SmallClient(net.connect(door.port, '127.0.0.1'));
    const login = client.login('app');
    await until('the connection', () => server.sockets.length === 1);
    await world.clock.advance(30_000);
    assert.equal(await login, false);
    assert.match(client.told, /not ready for commands within 30 s/);
    await until('the session to end', () => world.sessions.list().length === 0);
  });

  test('a client that goes while the server stalls takes the server connection with it', async () => {
    const server = await behind(() => undefined);
    const client = new SmallClient(net.connect(door.port, '127.0.0.1'));
    void client.login('app');
    await until('the connection', () => server.sockets.length === 1);
    client.stream.destroy();
    await until('the session to end', () => world.sessions.list().length === 0);
    assert.equal(world.audit.last('client.disconnect')!['cause'], 'client_closed');
    await until('the server connection to close', () => server.sockets[0]!.closed || server.sockets[0]!.readableEnded);
  });

  test('garbage in the middle of a result ends the session', async () => {
    const target = await listenAsTarget();
    servers.push(target);
    world.policy.put(databaseAt('mysql', target.port));
    const client = new SmallClient(net.connect(door.port, '127.0.0.1'));
    assert.ok(await client.login('app'));
    client.send(query('hold'));
    await until('the statement', () => target.connections[0]!.held.length === 1);
    target.connections[0]!.socket.write(Buffer.from([1, 0, 0, 1, 0]));
    target.connections[0]!.socket.write(encodePacket(9, Buffer.from([0x00])));
    await client.closed;
    assert.equal(world.audit.last('client.disconnect')!['cause'], 'error');
  });
});

describe('MySQL clients before their login', () => {
  let fixture: Fixture;
  before(async () => {
    fixture = await startFixture({ limits: { maxPending: 200, timeoutMs: 3_000 } });
    fixture.policy.put(database('maria', '127.0.0.1:1'));
  });
  after(() => fixture.stop());

  async function mariadb(args: readonly string[]): Promise<string> {
    const { code, stderr } = await run(MARIADB, [...args, '-uapp', '-e', 'select 1']);
    assert.notEqual(code, 0);
    return stderr;
  }

  test('without TLS, without a certificate, with an expired one, for no database', async () => {
    const good = await fixture.client();
    const bare = good.args.filter((arg) => !arg.startsWith('--ssl'));
    assert.match(await mariadb([...bare, '--skip-ssl']), /3159.*TLS with a client certificate is required/);
    const uncertified = good.args.filter((arg) => !/^--ssl-(?:cert|key)/.test(arg));
    assert.match(await mariadb(uncertified), /1045.*a client certificate is required/);
    const expired = await fixture.client({ ttlMs: 1_000 });
    await until(
      'the certificate to expire',
      () => Date.parse(new X509Certificate(expired.certPem).validTo) < Date.now(),
    );
    assert.match(await mariadb(expired.args), /1045.*the client certificate has expired/);
    const elsewhere = await fixture.client({ route: { kind: 'db', name: 'nowhere' } });
    assert.match(await mariadb(elsewhere.args), /there is no MySQL or MariaDB database "nowhere"/);
    const other = await fixture.client({ route: { kind: 'db', name: 'maria', dbUser: 'root' } });
    assert.match(await mariadb(other.args), /the certificate is for database user "root", not "app"/);
  });

  test('an expired certificate does not come in by resumption: no session is ever resumed', async () => {
    const { certPem, keyPem } = await fixture.client();
    const sessions: Buffer[] = [];
    for (let round = 0; round < 2; round++) {
      const socket = net.connect(fixture.port, '127.0.0.1');
      await new Promise((resolve) => socket.once('data', resolve));
      socket.write(encodePacket(1, encodeSslRequest(CAPABILITY.protocol41, 1 << 24, 45)));
      const secure = tls.connect({
        socket,
        ca: fixture.ca.tlsHostCa,
        servername: 'localhost',
        cert: certPem,
        key: keyPem,
        ...(sessions[0] === undefined ? {} : { session: sessions[0] }),
      });
      secure.on('error', () => undefined);
      secure.on('session', (session) => sessions.push(session));
      await new Promise((resolve) => secure.once('secureConnect', resolve));
      assert.equal(secure.isSessionReused(), false);
      secure.destroy();
    }
  });

  test('1,000 clients that never finish: a bounded number is kept, none for long, and others come in', async () => {
    const sockets = Array.from({ length: 1_000 }, () => net.connect(fixture.port, '127.0.0.1'));
    let closed = 0;
    for (const socket of sockets) {
      socket.on('error', () => undefined);
      socket.on('data', () => undefined);
      socket.once('close', () => {
        closed += 1;
      });
    }
    await until('those beyond the limit to be closed', () => closed >= 800, 60_000);
    const client = await fixture.client();
    assert.match(await mariadb(client.args), /cannot reach the database/);
    await until('all of them to be closed', () => closed === 1_000, 60_000);
  });

  test('what is no MySQL client at all is sent away, and is no session', async () => {
    for (const bytes of [
      Buffer.from('GET / HTTP/1.1\r\n\r\n'),
      Buffer.alloc(100_000, 0xff),
      Buffer.from([0, 0, 0, 1]),
    ]) {
      const socket = net.connect(fixture.port, '127.0.0.1');
      const text = everything(socket);
      socket.write(bytes);
      await text;
      assert.equal(fixture.sessions.list().length, 0);
    }
  });
});
