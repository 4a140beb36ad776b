import assert from 'node:assert/strict';
import { type Duplex, duplexPair } from 'node:stream';
import { describe, test } from 'node:test';
import { FakeClock, settle } from '../../../test/fixtures/fake-clock.ts';
import { type Carrier, createWire, type Wire } from '../../../test/fixtures/kube/peers.ts';
import type { ActivityKind, IdleWarning, Session, SessionEnd } from '../../session/types.ts';
import { SpdyStreams } from './spdy-streams.ts';
import { type ExecCleanup, StreamSession } from './stream-session.ts';
import type { StreamProtocol } from './streams.ts';
import { TunnelledStreams } from './tunnelled-streams.ts';
import { WebSocketStreams } from './websocket-streams.ts';

const END: SessionEnd = { cause: 'idle', text: 'Session ended: no activity for 10m0s (role r).', tell: true };
const WARNING = { text: 'No activity: press a key.' } as IdleWarning;

interface Bench {
  readonly clock: FakeClock;
  readonly streams: StreamSession;
  /** The client's end and the API server's. */
  readonly client: Duplex;
  readonly target: Duplex;
  readonly clientWire: Wire;
  readonly targetWire: Wire;
  readonly activities: ActivityKind[];
  readonly ports: string[];
  readonly ends: string[];
  /** What the client has read, by stream. */
  read(stream: string): string;
  /** What the API server has read. */
  arrived(stream: string): string;
  readonly closed: () => boolean;
}

async function bench(carrier: Carrier, tty: boolean, cleanup: ExecCleanup = 'none'): Promise<Bench> {
  const clock = new FakeClock();
  const [client, clientSide] = duplexPair();
  const [target, targetSide] = duplexPair();
  const activities: ActivityKind[] = [];
  const ports: string[] = [];
  const ends: string[] = [];
  const streams = new StreamSession({ clock, client: clientSide, tty, execCleanup: () => cleanup });
  streams.opened(
    {
      activity: (kind: ActivityKind) => void activities.push(kind),
      end: async (cause: string, detail?: string) =>
        void ends.push(`${cause}${detail === undefined ? '' : `: ${detail}`}`),
    } as unknown as Session,
    (port) => void ports.push(port),
  );
  const names =
    carrier === 'tunnel' ? ['error', 'data'] : ['error', 'stdin', 'stdout', ...(tty ? ['resize'] : ['stderr'])];
  let protocol: StreamProtocol;
  if (carrier === 'websocket') protocol = new WebSocketStreams(5, { tty, listener: streams });
  else {
    const purpose = carrier === 'tunnel' ? 'portforward' : 'exec';
    const spdy = new SpdyStreams({
      tty,
      listener: streams,
      purpose,
      jsonStatus: carrier === 'spdy',
      expectedStreams: names.length,
    });
    protocol = carrier === 'tunnel' ? new TunnelledStreams(spdy) : spdy;
  }
  const got = (): { wire: Wire; text: Map<string, string>; closed: () => boolean } => {
    const text = new Map<string, string>();
    let closed = false;
    const wire = createWire(carrier, 'client', names, {
      data: (stream, bytes) => void text.set(stream, (text.get(stream) ?? '') + bytes.toString('latin1')),
      closed: () => {
        closed = true;
      },
    });
    return { wire, text, closed: () => closed };
  };
  const atClient = got();
  const atTarget = new Map<string, string>();
  const targetWire = createWire(carrier, 'server', names, {
    data: (stream, bytes) => void atTarget.set(stream, (atTarget.get(stream) ?? '') + bytes.toString('latin1')),
    closed: () => undefined,
  });
  client.on('data', (chunk: Buffer) => atClient.wire.push(chunk));
  target.on('data', (chunk: Buffer) => targetWire.push(chunk));
  client.on('error', () => undefined);
  target.on('error', () => undefined);
  const nothing = Buffer.alloc(0);
  streams.relay({ target: targetSide, protocol, head: nothing, fromTarget: nothing, fromClient: nothing });
  const opening = atClient.wire.open();
  if (opening.length > 0) client.write(opening);
  await settle();
  activities.length = 0;
  return {
    clock,
    streams,
    client,
    target,
    clientWire: atClient.wire,
    targetWire,
    activities,
    ports,
    ends,
    read: (stream) => atClient.text.get(stream) ?? '',
    arrived: (stream) => atTarget.get(stream) ?? '',
    closed: atClient.closed,
  };
}

async function quiet(): Promise<void> {
  for (let i = 0; i < 6; i += 1) await settle();
}

describe('what counts as activity', () => {
  for (const carrier of ['websocket', 'spdy'] as const) {
    test(`${carrier}, with a terminal`, async () => {
      const b = await bench(carrier, true);
      b.client.write(b.clientWire.data('stdin', Buffer.from('l')));
      b.client.write(b.clientWire.data('stdin', Buffer.from('\x1b[10;20R')));
      b.client.write(b.clientWire.data('resize', Buffer.from('{}')));
      b.client.write(b.clientWire.noise());
      b.target.write(b.targetWire.data('stdout', Buffer.from('ls')));
      b.target.write(b.targetWire.data('stdout', Buffer.alloc(0)));
      b.target.write(b.targetWire.noise());
      await quiet();
      assert.deepEqual(b.activities, ['input', 'output']);
    });

    test(`${carrier}, without a terminal`, async () => {
      const b = await bench(carrier, false);
      b.client.write(b.clientWire.data('stdin', Buffer.from('\x1b[10;20R')));
      b.client.write(b.clientWire.noise());
      b.target.write(b.targetWire.data('stdout', Buffer.from('out')));
      b.target.write(b.targetWire.data('stderr', Buffer.from('err')));
      b.target.write(b.targetWire.data('error', Buffer.from('{}')));
      b.target.write(b.targetWire.noise());
      await quiet();
      assert.deepEqual(b.activities, ['input', 'work', 'work']);
    });
  }

  test('a forwarded port: data either way, and opening a connection', async () => {
    const b = await bench('tunnel', false);
    assert.deepEqual(b.ports, ['80']);
    b.client.write(b.clientWire.data('data', Buffer.from('GET')));
    b.target.write(b.targetWire.data('data', Buffer.from('200')));
    b.client.write(b.clientWire.noise());
    b.target.write(b.targetWire.noise());
    await quiet();
    assert.deepEqual(b.activities, ['input', 'work']);
  });

  test('bytes that break the protocol end the session', async () => {
    for (const carrier of ['websocket', 'spdy', 'tunnel'] as const) {
      const b = await bench(carrier, false);
      b.client.write(Buffer.from('GET / HTTP/1.1\r\n\r\n'));
      await quiet();
      assert.match(b.ends[0] ?? '', /^error: /, carrier);
      const other = await bench(carrier, false);
      other.target.write(Buffer.from('\xff\xff\xff\xff\xff\xff\xff\xff\xff', 'latin1'));
      await quiet();
      assert.match(other.ends[0] ?? '', /^error: /, carrier);
    }
  });
});

describe('put in at the right place', () => {
  /** Output in frames of several lengths, with control frames between. */
  const output = (wire: Wire, stream: string): Buffer =>
    Buffer.concat([
      wire.data(stream, Buffer.from('first line\r\n')),
      wire.noise(),
      wire.data(stream, Buffer.from(`second ${'x'.repeat(200)}\r\n`)),
      wire.data(stream, Buffer.from('third\r\n')),
    ]);

  for (const [carrier, tty] of [
    ['websocket', true],
    ['websocket', false],
    ['spdy', true],
    ['spdy', false],
    ['tunnel', false],
  ] as const) {
    const stream = carrier === 'tunnel' ? 'data' : 'stdout';

    test(`${carrier}${tty ? ' with a terminal' : ''}: the end, wherever in the output it falls`, async () => {
      const length = output((await bench(carrier, tty)).targetWire, stream).length;
      for (let at = 0; at <= length; at += 1) {
        const b = await bench(carrier, tty);
        const bytes = output(b.targetWire, stream);
        b.target.write(bytes.subarray(0, at));
        await settle();
        const closing = b.streams.close(END);
        await settle();
        if (!b.target.destroyed) b.target.write(bytes.subarray(at));
        await quiet();
        await b.clock.advance(350);
        await quiet();
        assert.match(b.read('error'), /Session ended: no activity for 10m0s \(role r\)\./, `cut at ${at}`);
        assert.ok(b.closed(), `cut at ${at}: the close`);
        const text = b.read(stream).replace(/\x1b\(B\x0f\x1b\[0m\x1b\[\?25h(?:\r\n|\r)$/, '');
        assert.ok(`first line\r\nsecond ${'x'.repeat(200)}\r\nthird\r\n`.startsWith(text), `cut at ${at}: ${text}`);
        b.client.end();
        await b.clock.advance(2_000);
        await closing;
      }
    });
  }

  for (const carrier of ['websocket', 'spdy'] as const) {
    test(`${carrier}: the warning, wherever in the output it falls`, async () => {
      const length = output((await bench(carrier, true)).targetWire, 'stdout').length;
      for (let at = 0; at <= length; at += 1) {
        const b = await bench(carrier, true);
        const bytes = output(b.targetWire, 'stdout');
        b.target.write(bytes.subarray(0, at));
        await settle();
        b.streams.warn(WARNING);
        b.target.write(bytes.subarray(at));
        await quiet();
        const text = b.read('stdout');
        assert.equal(text.split('No activity: press a key.').length, 2, `at ${at}`);
        const without = text.replace(/(?:\r\n|\r)\x07No activity: press a key\.\r\n/, '');
        assert.equal(without, `first line\r\nsecond ${'x'.repeat(200)}\r\nthird\r\n`, `at ${at}`);
        b.streams.warningCancelled('The session goes on.');
        await quiet();
        assert.match(b.read('stdout'), /The session goes on\.\r\n$/);
        b.streams.abort();
      }
    });

    test(`${carrier}: not inside an escape sequence, unless the program stops there`, async () => {
      const b = await bench(carrier, true);
      b.target.write(b.targetWire.data('stdout', Buffer.from('\x1b]2;half a ti')));
      await settle();
      b.streams.warn(WARNING);
      await quiet();
      assert.doesNotMatch(b.read('stdout'), /No activity/);
      b.target.write(b.targetWire.data('stdout', Buffer.from('tle\x07text')));
      await quiet();
      assert.match(b.read('stdout'), /\x1b\]2;half a title\x07text\r\n\x07No activity/);

      const stuck = await bench(carrier, true);
      stuck.target.write(stuck.targetWire.data('stdout', Buffer.from('\x1b]2;half')));
      await settle();
      stuck.streams.warn(WARNING);
      await stuck.clock.advance(299);
      assert.doesNotMatch(stuck.read('stdout'), /No activity/);
      await stuck.clock.advance(1);
      await quiet();
      assert.match(stuck.read('stdout'), /half\x18\x1b\\(?:\r\n|\r)\x07No activity/);
    });

    test(`${carrier}: a warning that was never shown is not taken back`, async () => {
      const b = await bench(carrier, true);
      b.target.write(b.targetWire.data('stdout', Buffer.from('\x1b[')));
      await settle();
      b.streams.warn(WARNING);
      b.streams.warningCancelled('The session goes on.');
      b.target.write(b.targetWire.data('stdout', Buffer.from('m')));
      await b.clock.advance(1_000);
      await quiet();
      assert.equal(b.read('stdout'), '\x1b[m');
    });

    test(`${carrier}: without a terminal nothing is put into the output`, async () => {
      const b = await bench(carrier, false);
      b.streams.warn(WARNING);
      b.target.write(b.targetWire.data('stdout', Buffer.from('data')));
      await quiet();
      b.streams.warningCancelled('The session goes on.');
      await quiet();
      assert.equal(b.read('stdout'), 'data');
    });

    test(`${carrier}: a frame that its sender does not finish is filled up`, async () => {
      const b = await bench(carrier, false);
      b.target.write(b.targetWire.data('stdout', Buffer.alloc(1_000, 'y')).subarray(0, 500));
      await settle();
      const closing = b.streams.close(END);
      await quiet();
      assert.equal(b.read('error'), '');
      await b.clock.advance(300);
      await quiet();
      assert.match(b.read('error'), /no activity/);
      assert.equal(b.read('stdout').length, 1_000);
      assert.match(b.read('stdout'), /^y+\0+$/);
      b.client.end();
      await b.clock.advance(2_000);
      await closing;
    });

    test(`${carrier}: hangup sends Ctrl-C, Ctrl-D and the end of input; none sends nothing`, async () => {
      for (const cleanup of ['hangup', 'none'] as const) {
        const b = await bench(carrier, true, cleanup);
        const closing = b.streams.close(END);
        await quiet();
        assert.equal(b.arrived('stdin'), cleanup === 'hangup' ? '\x03\x04' : '');
        b.client.end();
        await b.clock.advance(2_000);
        await closing;
      }
    });
  }
});

describe('who ended it', () => {
  test('a target that goes away before it has said how it went: the client is told', async () => {
    const b = await bench('websocket', false);
    b.target.destroy();
    await quiet();
    assert.deepEqual(b.ends.slice(0, 1), ['target_closed']);
    const closing = b.streams.close({
      cause: 'target_closed',
      text: 'Session ended: the target closed the connection.',
      tell: true,
    });
    await quiet();
    assert.match(b.read('error'), /the target closed/);
    b.client.end();
    await b.clock.advance(2_000);
    await closing;
  });

  test('a target that has sent the exit status: nothing is added', async () => {
    for (const carrier of ['websocket', 'spdy'] as const) {
      const b = await bench(carrier, true);
      const status = '{"status":"Success"}';
      b.target.write(
        Buffer.concat([
          b.targetWire.data('stdout', Buffer.from('bye')),
          b.targetWire.data('error', Buffer.from(status)),
          b.targetWire.close(),
        ]),
      );
      b.target.end();
      await quiet();
      assert.deepEqual(b.ends.slice(0, 1), ['target_closed']);
      const closing = b.streams.close({ cause: 'target_closed', text: 'never shown', tell: true });
      await quiet();
      assert.equal(b.read('error'), status);
      assert.equal(b.read('stdout'), 'bye');
      b.client.end();
      await b.clock.advance(2_000);
      await closing;
    }
  });

  test('a target that breaks off between the exit status and the close: the close is added', async () => {
    const b = await bench('websocket', false);
    b.target.write(b.targetWire.data('error', Buffer.from('{"status":"Success"}')));
    await quiet();
    b.target.destroy();
    await quiet();
    assert.equal(b.closed(), false);
    const closing = b.streams.close({ cause: 'target_closed', text: 'never shown', tell: true });
    await quiet();
    assert.equal(b.read('error'), '{"status":"Success"}');
    assert.equal(b.closed(), true);
    b.client.end();
    await b.clock.advance(2_000);
    await closing;
  });

  test('a client that leaves: after the exit status the command ended it, before it the client', async () => {
    const left = await bench('websocket', false);
    left.client.end();
    await quiet();
    assert.deepEqual(left.ends.slice(0, 1), ['client_closed']);
    const done = await bench('websocket', false);
    done.target.write(done.targetWire.data('error', Buffer.from('{}')));
    await quiet();
    done.client.end();
    await quiet();
    assert.deepEqual(done.ends.slice(0, 1), ['target_closed']);
  });

  test('a client that does not read stops the target, and nothing piles up', async () => {
    const b = await bench('websocket', false);
    b.client.pause();
    let written = 0;
    const frame = b.targetWire.data('stdout', Buffer.alloc(16_384));
    for (let i = 0; i < 1_000 && b.target.write(frame); i += 1) {
      written += frame.length;
      await settle();
    }
    assert.ok(written < 1_000_000, `${written} bytes were taken`);
    b.client.resume();
    await quiet();
    assert.ok(b.read('stdout').length > 0);
  });
});
