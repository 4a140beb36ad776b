import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import net from 'node:net';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import tls from 'node:tls';
import { createRedisGateway, type RedisGateway } from '../../src/gateways/redis/gateway.ts';
import { encodeCommand } from '../../src/wire/redis/resp.ts';
import { listenAsTarget, SmallClient } from '../compliance/redis-peers.ts';
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
import { database, type Fixture, REDIS_CLI, startFixture } from './redis-fixture.ts';

describe('Redis servers that misbehave', () => {
  let world: TroubleWorld;
  let gateway: RedisGateway;
  let door: OddServer;
  let servers: { close(): Promise<void> }[] = [];

  beforeEach(async () => {
    world = await troubleWorld('redis');
    gateway = createRedisGateway({ ...world, fastPath });
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
    world.policy.put(databaseAt('redis', server.port, mode));
    return server;
  }

  function connect(): SmallClient {
    return new SmallClient(net.connect(door.port, '127.0.0.1'));
  }

  const answering = (text: string) => (socket: net.Socket) => {
    socket.on('data', () => socket.write(text));
  };

  for (const [what, handle, told] of [
    ['closes at once', (socket: net.Socket) => socket.destroy(), /closed during the login|ECONNRESET/],
    ['speaks another protocol', answering('HTTP/1.1 400 Bad Request\r\n'), /does not speak RESP/],
    ['sends a line without end', answering(`+${'x'.repeat(5_000)}`), /without end|too much/],
    ['says more than it was asked', answering('+OK\r\n+OK\r\n+OK\r\n'), /more than was asked for/],
    [
      'refuses',
      answering('-WRONGPASS invalid username-password pair or user is disabled.\r\n'),
      /refused the login: WRONGPASS/,
    ],
    ['is loading', answering('-LOADING Redis is loading the dataset in memory\r\n'), /refused the login: LOADING/],
  ] as const) {
    test(`a server that ${what}: the client is told, and nothing is left`, async () => {
      const server = await behind(handle);
      const client = connect();
      client.send(encodeCommand('GET', 'k'));
      await client.closed;
      assert.match(client.told, told);
      assert.match(client.told, /^-[A-Z]+ /);
      await until('the session to end', () => world.sessions.list().length === 0);
      assert.equal(world.audit.last('db.session.start')?.['success'], false);
      await until('the connection to close', () => server.sockets.every((socket) => socket.closed));
    });
  }

  test('a server without TLS is not spoken to in plain text', async () => {
    const heard: Buffer[] = [];
    await behind((socket) => {
      socket.on('data', (chunk) => heard.push(chunk));
      socket.write('-ERR plain\r\n');
    }, 'verify-full');
    const client = connect();
    await client.closed;
    assert.match(client.told, /TLS to the database failed/);
    assert.doesNotMatch(Buffer.concat(heard).toString('latin1'), /AUTH/);
  });

  test('a server that stalls in the login: given up after half a minute; what the client sent meanwhile is bounded', async () => {
    const server = await behind(() => undefined);
    const client = connect();
    await until('the connection', () => server.sockets.length === 1);
    client.send(encodeCommand('SET', 'k', 'x'.repeat(40_000_000)));
    await until('the sender to be held up', () => client.stream.writableLength > 1_000_000);
    await world.clock.advance(30_000);
    await client.closed;
    assert.equal(world.audit.last('client.disconnect')!['cause'], 'target_closed');
  });

  for (const [what, bytes] of [
    ['garbage', 'what is this\r\n'],
    ['an answer nobody asked for', '+OK\r\n+OK\r\n'],
    ['a length that cannot be', '$99999999999\r\n'],
  ] as const) {
    test(`${what} in the middle ends the session`, async () => {
      const target = await listenAsTarget();
      servers.push(target);
      world.policy.put(databaseAt('redis', target.port));
      const client = connect();
      await client.command(encodeCommand('GET', 'k'));
      client.send(encodeCommand('BLPOP', 'k', '0'));
      await until('the command', () => target.connections[0]!.commands.at(-1)?.[0] === 'BLPOP');
      target.connections[0]!.socket.write(bytes);
      await client.closed;
      assert.match(client.told, /-ERR Session ended: error/);
      assert.equal(world.audit.last('client.disconnect')!['cause'], 'error');
    });
  }

  test('a client that breaks the protocol is told, and reaches nothing with it', async () => {
    const target = await listenAsTarget();
    servers.push(target);
    world.policy.put(databaseAt('redis', target.port));
    const client = connect();
    await client.command(encodeCommand('GET', 'k'));
    client.send(Buffer.from('*2\n$6\nSELECT\n$1\n1\n'));
    await client.closed;
    assert.match(client.told, /-ERR Session ended: error: /);
    assert.ok(!target.connections[0]!.commands.some(([name]) => name === 'SELECT'));
  });
});

describe('Redis clients before their login', () => {
  let fixture: Fixture;
  before(async () => {
    fixture = await startFixture({ limits: { maxPending: 200, timeoutMs: 3_000 } });
    fixture.policy.put(database('cache', '127.0.0.1:1'));
  });
  after(() => fixture.stop());

  async function ping(args: readonly string[]): Promise<string> {
    const { stdout, stderr } = await run(REDIS_CLI, [...args, 'PING']);
    return stdout + stderr;
  }

  test('without TLS, without a certificate, with an expired one, for no database', async () => {
    const good = await fixture.client();
    assert.match(
      await ping(['-h', '127.0.0.1', '-p', String(fixture.port)]),
      /NOAUTH TLS with a client certificate is required/,
    );
    const uncertified = good.args.slice(0, good.args.indexOf('--cert'));
    assert.match(await ping(uncertified), /NOAUTH a client certificate is required/);
    const expired = await fixture.client({ ttlMs: 1_000 });
    await until(
      'the certificate to expire',
      () => Date.parse(new X509Certificate(expired.certPem).validTo) < Date.now(),
    );
    assert.match(await ping(expired.args), /NOAUTH the client certificate has expired/);
    const refusals = fixture.audit.events.filter(({ event }) => event === 'auth');
    assert.deepEqual(
      refusals.map(({ protocol, success, user }) => ({ protocol, success, user })),
      [
        { protocol: 'redis', success: false, user: undefined },
        { protocol: 'redis', success: false, user: 'alice' },
      ],
    );
    const elsewhere = await fixture.client({ route: { kind: 'db', name: 'nowhere' } });
    assert.match(await ping(elsewhere.args), /there is no Redis database "nowhere"/);
    const other = await fixture.client({ route: { kind: 'db', name: 'cache', dbUser: 'app', dbName: 'orders' } });
    assert.match(await ping(other.args), /Redis has numbers/);
  });

  for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
    test(`an expired certificate does not come in by resumption: no session is resumed (${maxVersion})`, async () => {
      const { certPem, keyPem } = await fixture.client();
      let session: Buffer | undefined;
      for (let round = 0; round < 2; round++) {
        const secure = tls.connect({
          port: fixture.port,
          host: '127.0.0.1',
          ca: fixture.ca.tlsHostCa,
          servername: 'localhost',
          cert: certPem,
          key: keyPem,
          maxVersion,
          ...(session === undefined ? {} : { session }),
        });
        secure.on('error', () => undefined);
        secure.on('session', (one) => {
          session = one;
        });
        await new Promise((resolve) => secure.once('secureConnect', resolve));
        assert.equal(secure.isSessionReused(), false);
        session ??= secure.getSession();
        secure.destroy();
      }
    });
  }

  test('a client that has proven who it is and says nothing, as pools do, gets its session as the default user', async () => {
    const { certPem, keyPem } = await fixture.client();
    const client = tls.connect({
      port: fixture.port,
      host: '127.0.0.1',
      ca: fixture.ca.tlsHostCa,
      servername: 'localhost',
      cert: certPem,
      key: keyPem,
    });
    assert.match(await everything(client), /-ERR cannot reach the database/);
    assert.equal(fixture.audit.last('session.start')!['login'], 'default');
  });

  test('1,000 clients that never finish: a bounded number is kept, none for long, and others come in', async () => {
    const sockets = Array.from({ length: 1_000 }, () => net.connect(fixture.port, '127.0.0.1'));
    let closed = 0;
    for (const socket of sockets) {
      socket.on('error', () => undefined);
      socket.once('close', () => {
        closed += 1;
      });
      socket.resume();
    }
    await until('those beyond the limit to be closed', () => closed >= 800, 60_000);
    const client = await fixture.client();
    assert.match(await ping(client.args), /cannot reach the database/);
    await until('all of them to be closed', () => closed === 1_000, 60_000);
  });

  test('what is no Redis client at all is sent away, and is no session', async () => {
    for (const bytes of [
      Buffer.from('GET / HTTP/1.1\r\n\r\n'),
      Buffer.alloc(100_000, 0x16),
      Buffer.from([0x16, 3, 1]),
    ]) {
      const socket = net.connect(fixture.port, '127.0.0.1');
      const text = everything(socket);
      socket.write(bytes);
      await text;
      assert.equal(fixture.sessions.list().length, 0);
    }
  });
});
