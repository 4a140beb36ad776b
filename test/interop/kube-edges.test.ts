// The edges of the Kubernetes gateway, with a scripted API server: what is refused, what is stripped, what is cut.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import net from 'node:net';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { after, before, beforeEach, describe, test } from 'node:test';
import { loadEndpoint } from '../../src/gateways/kube/kubeconfig.ts';
import { KubeUpstream } from '../../src/gateways/kube/upstream.ts';
import type { KubeCluster } from '../../src/resources/index.ts';
import { FakeClock } from '../fixtures/fake-clock.ts';
import { until } from '../fixtures/kube/clients.ts';
import { requestUpgrade } from '../fixtures/kube/peers.ts';
import { type KubeWorld, kubeResources, startKubeWorld } from '../fixtures/kube/world.ts';
import { decode } from '../fixtures/test-policy.ts';

const EXEC = '/api/v1/namespaces/default/pods/web/exec?command=sh&container=main&stdin=true&stdout=true&stderr=true';

describe('the edges of the Kubernetes gateway', { timeout: 100_000 }, () => {
  let world: KubeWorld;
  let client: { host: string; port: number; key: string; cert: string; ca: string; servername: string };
  let onUpgrade: (request: IncomingMessage, socket: Duplex) => void;
  let onRequest: (request: IncomingMessage, response: ServerResponse) => void;
  const upgrades: IncomingMessage[] = [];
  const requests: IncomingMessage[] = [];

  before(async () => {
    world = await startKubeWorld({
      async api({ certPem, keyPem }) {
        const server = https.createServer({ cert: certPem, key: keyPem });
        const sockets = new Set<Duplex>();
        server.on('secureConnection', (socket) => {
          sockets.add(socket);
          socket.on('error', () => undefined);
        });
        server.on('upgrade', (request, socket) => {
          upgrades.push(request);
          onUpgrade(request, socket);
        });
        server.on('request', (request, response) => {
          requests.push(request);
          onRequest(request, response);
        });
        server.listen(0, '127.0.0.1');
        await once(server, 'listening');
        return {
          port: (server.address() as AddressInfo).port,
          close: async () => {
            for (const socket of sockets) socket.destroy();
            server.close();
          },
        };
      },
    });
    const { keyPem, certPem } = await world.credentials('alice', { cluster: 'prod' });
    client = {
      host: '127.0.0.1',
      port: world.port,
      key: keyPem,
      cert: certPem,
      ca: world.ca.tlsHostCa,
      servername: 'localhost',
    };
  });

  beforeEach(() => {
    upgrades.length = 0;
    requests.length = 0;
    world.audit.events.length = 0;
    onUpgrade = agree();
    onRequest = (_request, response) => response.end('{}');
  });

  after(() => world?.close());

  /** Agrees to an upgrade, with the subprotocol given or the first one asked for. */
  function agree(subprotocol?: string, extra: string[] = []): (request: IncomingMessage, socket: Duplex) => void {
    return (request, socket) => {
      const asked = request.headers['sec-websocket-protocol']?.split(',')[0];
      const chosen = subprotocol ?? asked;
      socket.write(
        [
          'HTTP/1.1 101 Switching Protocols',
          'Connection: Upgrade',
          `Upgrade: ${request.headers.upgrade}`,
          ...(chosen === undefined ? [] : [`Sec-WebSocket-Protocol: ${chosen}`]),
          ...extra,
          '',
          '',
        ].join('\r\n'),
      );
    };
  }

  async function upgrade(
    path: string,
    ...headers: string[]
  ): Promise<{ status: number; text: string; socket: Duplex }> {
    const method = headers.includes('Upgrade: SPDY/3.1') ? 'POST' : 'GET';
    const answer = await requestUpgrade(client, { method, path, headers: ['Connection: Upgrade', ...headers] });
    if (answer.status === 101) return { status: 101, text: answer.head, socket: answer.socket };
    const parts = [answer.rest];
    answer.socket.on('data', (chunk: Buffer) => parts.push(chunk));
    answer.socket.on('end', () => answer.socket.end());
    answer.socket.resume();
    if (!answer.socket.closed) await once(answer.socket, 'close');
    return { status: answer.status, text: answer.head + Buffer.concat(parts).toString(), socket: answer.socket };
  }

  const webSocket = (subprotocol: string, ...more: string[]) => [
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    `Sec-WebSocket-Protocol: ${subprotocol}`,
    ...more,
  ];

  async function request(options: https.RequestOptions & { body?: string }): Promise<{ status: number; body: string }> {
    const call = https.request({ ...client, agent: false, ...options });
    call.end(options.body);
    const [response] = (await once(call, 'response')) as [IncomingMessage];
    let body = '';
    for await (const part of response) body += String(part);
    return { status: response.statusCode!, body };
  }

  function allow(conditions: Record<string, unknown>): void {
    world.policy.put(
      ...kubeResources({ allow: conditions }).filter((one) => (one as { kind: string }).kind === 'role'),
    );
  }

  test('an upgrade goes on without extensions, foreign subprotocols and identity, and with the gateway’s own', async () => {
    const { status, socket } = await upgrade(
      EXEC,
      ...webSocket(
        'base64.channel.k8s.io, v5.channel.k8s.io, v4.channel.k8s.io',
        'Sec-WebSocket-Extensions: permessage-deflate',
        'Authorization: Bearer stolen',
        'Impersonate-Group: developers',
        'X-Remote-User: root',
      ),
    );
    assert.equal(status, 101);
    const { headers, url } = upgrades[0]!;
    assert.equal(url, EXEC);
    assert.equal(headers['sec-websocket-protocol'], 'v5.channel.k8s.io, v4.channel.k8s.io');
    assert.equal(headers['sec-websocket-extensions'], undefined);
    assert.equal(headers['x-remote-user'], undefined);
    assert.equal(headers.authorization, 'Bearer service-account-token-of-the-gateway');
    assert.equal(headers['impersonate-user'], 'alice');
    assert.equal(headers['impersonate-group'], 'developers');
    socket.destroy();
    await until('the end', () => world.sessions.list().length === 0);
  });

  test('upgrades that the gateway cannot read are refused before the API server hears of them', async () => {
    for (const [path, headers, message] of [
      [EXEC, webSocket('base64.channel.k8s.io'), /none of the offered WebSocket subprotocols/],
      [EXEC, ['Upgrade: websocket'], /none of the offered WebSocket subprotocols/],
      [EXEC, ['Upgrade: h2c'], /use WebSocket or SPDY/],
      ['/api/v1/namespaces/default/pods?watch=true', webSocket('v5.channel.k8s.io'), /not for watch/],
      ['/api/v1/nodes/n1/proxy/exec/default/web/main', webSocket('v5.channel.k8s.io'), /an upgrade is for/],
      ['/api/v1/namespaces/default/pods/web/portforward', webSocket('v4.channel.k8s.io'), /SPDY\/3\.1\+portforward/],
    ] as const) {
      const { status, text } = await upgrade(path, ...headers);
      assert.equal(status, 400, path);
      assert.match(text, message);
    }
    assert.equal(upgrades.length, 0);
    assert.equal((await request({ path: EXEC })).status, 400, 'exec without an upgrade');
    assert.equal(requests.length, 0);
  });

  test('an API server that chooses what was not offered is not believed', async () => {
    for (const answer of [
      agree('v1.channel.k8s.io'),
      agree(undefined, ['Sec-WebSocket-Extensions: permessage-deflate']),
    ]) {
      onUpgrade = answer;
      const { status, text } = await upgrade(EXEC, ...webSocket('v5.channel.k8s.io'));
      assert.equal(status, 503);
      assert.match(text, /chose what was not offered/);
    }
    assert.equal(world.audit.last('client.disconnect')!['cause'], 'error');
  });

  test('the API server’s refusal arrives whole, by length, by chunks and by the end of the connection', async () => {
    const body = '{"kind":"Status","message":"pods \\"web\\" is forbidden"}';
    for (const answer of [
      `HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
      `HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`,
      `HTTP/1.0 403 Forbidden\r\n\r\n${body}`,
    ]) {
      onUpgrade = (_request, socket) => {
        socket.write(answer.slice(0, 60));
        setImmediate(() =>
          answer.startsWith('HTTP/1.0') ? socket.end(answer.slice(60)) : socket.write(answer.slice(60)),
        );
      };
      const { status, text } = await upgrade(EXEC, ...webSocket('v5.channel.k8s.io'));
      assert.equal(status, 403);
      assert.ok(text.includes('is forbidden'));
      await until('the end', () => world.sessions.list().length === 0);
    }
    assert.equal(world.audit.last('exec')!.code, 'T3002E');
  });

  test('a denial over WebSocket and its repetition over SPDY are one; a later one is another', async () => {
    allow({ kubernetes_resources: [{ kind: 'pod', namespace: '*', name: '*', verbs: ['get'] }] });
    try {
      const rejects = () => world.audit.names.filter((name) => name === 'session.reject').length;
      const spdy = ['Upgrade: SPDY/3.1', 'X-Stream-Protocol-Version: v4.channel.k8s.io', 'Content-Length: 0'];
      for (const [headers, expected] of [
        [webSocket('v5.channel.k8s.io'), 1],
        [spdy, 1],
        [spdy, 2],
        [webSocket('v5.channel.k8s.io'), 3],
        [webSocket('v5.channel.k8s.io'), 4],
      ] as const) {
        const { status, text } = await upgrade(EXEC, ...headers);
        assert.equal(status, 403);
        assert.match(text, /no role allows exec pods/);
        assert.equal(rejects(), expected);
      }
    } finally {
      allow({});
    }
  });

  test('an API server whose certificate another CA signed gets no request', async () => {
    const config = readFileSync(join(world.folder, 'gateway-kubeconfig'), 'utf8');
    const wrong = join(world.folder, 'wrong-ca');
    writeFileSync(
      wrong,
      config.replace(
        /certificate-authority-data: .*/,
        `certificate-authority-data: ${Buffer.from(world.ca.databaseCa).toString('base64')}`,
      ),
    );
    const cluster = (path: string) => ({
      kind: 'kube_cluster',
      version: 'v3',
      metadata: { name: 'prod', labels: { env: 'prod' } },
      spec: { kubeconfig_file: path },
    });
    world.policy.put(cluster(wrong));
    try {
      const plain = await request({ path: '/api/v1/namespaces/default/pods' });
      assert.equal(plain.status, 502);
      assert.match(plain.body, /cannot be reached/);
      const exec = await upgrade(EXEC, ...webSocket('v5.channel.k8s.io'));
      assert.equal(exec.status, 503);
      world.policy.put(cluster('/does/not/exist'));
      assert.match((await request({ path: '/api' })).body, /cannot be read/);
    } finally {
      world.policy.put(cluster(join(world.folder, 'gateway-kubeconfig')));
    }
    assert.equal(upgrades.length + requests.length, 0);
  });

  test('an API server that accepts and says nothing is given up', async () => {
    const server = net.createServer((socket) => socket.on('error', () => undefined));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const path = join(world.folder, 'silent');
    const config = readFileSync(join(world.folder, 'gateway-kubeconfig'), 'utf8');
    writeFileSync(
      path,
      config.replace(/server: .*/, `server: https://localhost:${(server.address() as AddressInfo).port}`),
    );
    const cluster = decode<KubeCluster>({
      kind: 'kube_cluster',
      version: 'v3',
      metadata: { name: 'c' },
      spec: { kubeconfig_file: path },
    });
    const clock = new FakeClock();
    const upstream = new KubeUpstream(cluster, await loadEndpoint(cluster), clock);
    const attempt = assert.rejects(
      upstream.upgrade(Buffer.from('GET / HTTP/1.1\r\n\r\n'), new AbortController().signal),
      /does not answer/,
    );
    await clock.advance(10_000);
    await attempt;
    const gone = new AbortController();
    const other = assert.rejects(
      upstream.upgrade(Buffer.from('GET / HTTP/1.1\r\n\r\n'), gone.signal),
      /the client is gone/,
    );
    gone.abort();
    await other;
    upstream.close();
    server.close();
  });

  test('while the audit log cannot be written nothing is passed on', async () => {
    world.audit.healthy = false;
    world.audit.broken = true;
    try {
      assert.equal((await request({ path: '/api/v1/namespaces/default/pods', method: 'DELETE' })).status, 503);
      assert.equal((await upgrade(EXEC, ...webSocket('v5.channel.k8s.io'))).status, 503);
      assert.equal(requests.length + upgrades.length, 0);
      world.audit.healthy = true;
      const written = await request({ path: '/api/v1/namespaces/default/pods' });
      assert.equal(written.status, 503, 'the answer waits for its event');
    } finally {
      world.audit.broken = false;
      world.audit.healthy = true;
    }
  });

  test('a restricted user creates only what the roles name, in JSON', async () => {
    allow({ kubernetes_resources: [{ kind: 'pod', namespace: 'default', name: 'web-*', verbs: ['create'] }] });
    try {
      const create = (body: string) =>
        request({
          method: 'POST',
          path: '/api/v1/namespaces/default/pods',
          body,
          headers: { 'content-type': 'application/json' },
        });
      const bodies: string[] = [];
      onRequest = async (incoming, response) => {
        let body = '';
        for await (const part of incoming) body += String(part);
        bodies.push(body);
        response.writeHead(201).end('{}');
      };
      const good = '{ "metadata": {"name": "web-1"} }';
      assert.equal((await create(good)).status, 201);
      // Written anew, so that nothing in it can be read in two ways.
      assert.deepEqual(bodies, [JSON.stringify(JSON.parse(good))]);
      assert.equal((await create('{"metadata":{"generateName":"web-"}}')).status, 201);
      for (const bad of [
        '{"metadata":{"name":"db-1"}}',
        '{"metadata":{"generateName":"db-"}}',
        'k8s\0protobuf',
        `{"metadata":{"name":"web-1","x":"${'y'.repeat(4_000_000)}"}}`,
      ])
        assert.equal((await create(bad)).status, 403);
      assert.equal(bodies.length, 2);
    } finally {
      allow({});
    }
  });

  test('an answer that cannot be filtered is not shown', async () => {
    allow({ kubernetes_resources: [{ kind: 'pod', namespace: '*', name: 'web-*', verbs: ['*'] }] });
    try {
      for (const headers of [
        { 'content-type': 'application/vnd.kubernetes.protobuf' },
        { 'content-type': 'application/json', 'content-encoding': 'gzip' },
      ]) {
        onRequest = (_request, response) => response.writeHead(200, headers).end('secret');
        const { status, body } = await request({
          path: '/api/v1/pods',
          headers: { accept: 'application/vnd.kubernetes.protobuf, application/json', 'accept-encoding': 'gzip' },
        });
        assert.equal(status, 502);
        assert.doesNotMatch(body, /secret/);
      }
      assert.equal(requests.at(-1)!.headers.accept, 'application/json');
      assert.equal(requests.at(-1)!.headers['accept-encoding'], 'identity');
      onRequest = (_request, response) =>
        response.writeHead(200, { 'content-type': 'application/json' }).end('{"items":["secret"]}');
      await assert.rejects(request({ path: '/api/v1/pods' }), /aborted|hang up|ECONNRESET/);
    } finally {
      allow({});
    }
  });

  test('a long request is cut by a lock, a role taken away and an expired certificate', async () => {
    onRequest = (_request, response) => {
      response.writeHead(200);
      response.write('first');
    };
    const lock = { kind: 'lock', version: 'v2', metadata: { name: 'l1' }, spec: { target: { user: 'alice' } } };
    const preference = (spec: unknown) => ({
      kind: 'cluster_auth_preference',
      version: 'v2',
      metadata: { name: 'cluster-auth-preference' },
      spec,
    });
    const short = await world.credentials('alice', { ttlMs: 2_000 });
    for (const [what, credentials, cut, undo] of [
      ['a lock', {}, () => world.policy.put(lock), () => world.policy.remove('lock', 'l1')],
      ['a role', {}, () => allow({ kubernetes_labels: { env: 'test' } }), () => allow({})],
      [
        'expiry',
        { key: short.keyPem, cert: short.certPem },
        () => world.policy.put(preference({ disconnect_expired_cert: true })),
        () => world.policy.put(preference({})),
      ],
    ] as const) {
      const call = https.get({
        ...client,
        agent: false,
        path: '/api/v1/namespaces/default/services/web/proxy/stream',
        ...credentials,
      });
      const [response] = (await once(call, 'response')) as [IncomingMessage];
      await once(response, 'data');
      response.on('error', () => undefined);
      const closed = new Promise((resolve) => response.once('close', resolve));
      response.resume();
      cut();
      await closed;
      assert.equal(response.complete, false, what);
      undo();
    }
  });

  test('a connection through the API server’s proxy passes both ways', async () => {
    onUpgrade = (request, socket) => {
      socket.write(
        `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${request.headers.upgrade}\r\n\r\n`,
      );
      socket.on('data', (chunk) => socket.end(`got ${String(chunk)}`));
    };
    const { status, socket } = await upgrade('/api/v1/namespaces/default/services/web/proxy/ws', 'Upgrade: custom');
    assert.equal(status, 101);
    let received = '';
    socket.on('data', (chunk) => {
      received += String(chunk);
    });
    socket.on('end', () => socket.end());
    socket.write('hello');
    socket.resume();
    await once(socket, 'close');
    assert.equal(received, 'got hello');
    await until('the end', () => world.audit.last('session.end') !== undefined);
    assert.equal(world.audit.last('session.end')!['cause'], 'target_closed');
  });
});
