import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { describe, test } from 'node:test';
import { settle } from '../../../test/fixtures/fake-clock.ts';
import { encodeChannelData, OPEN_FAILURE } from '../../wire/ssh/messages.ts';
import { ChannelHost, type ChannelHostHandlers, type LocalChannel } from './local-channel.ts';

const nothing: ChannelHostHandlers = {
  open: () => ({ refuse: OPEN_FAILURE.ADMINISTRATIVELY_PROHIBITED, text: 'no' }),
  global: () => false,
};

/** Two hosts that are each other's peer; packets arrive in a later turn. */
function pair(handlers: ChannelHostHandlers): { near: ChannelHost; far: ChannelHost; packets: () => number } {
  let packets = 0;
  const near: ChannelHost = new ChannelHost((packet) => {
    packets++;
    setImmediate(() => far.packet(packet));
  }, nothing);
  const far: ChannelHost = new ChannelHost((packet) => {
    packets++;
    setImmediate(() => near.packet(packet));
  }, handlers);
  return { near, far, packets: () => packets };
}

describe('channels that end here', () => {
  test('carry more than a window both ways, each to its own end', async () => {
    const { near } = pair({ ...nothing, open: () => ({ accept: (channel) => void channel.pipe(channel) }) });
    const channel = (await near.open('session', Buffer.alloc(0)))!;
    const data = randomBytes(7_000_000);
    const got: Buffer[] = [];
    channel.on('data', (chunk: Buffer) => got.push(chunk));
    channel.end(data);
    await once(channel, 'end');
    assert.ok(Buffer.concat(got).equals(data));
  });

  test('a reader that stops, stops the sender', async () => {
    let server: LocalChannel | undefined;
    const { near } = pair({
      ...nothing,
      open: () => ({
        accept(channel) {
          server = channel;
        },
      }),
    });
    const channel = (await near.open('session', Buffer.alloc(0)))!;
    channel.pause();
    let written = 0;
    const block = Buffer.alloc(64 * 1024);
    const write = () => {
      while (server!.write(block)) written += block.length;
    };
    server!.on('drain', write);
    write();
    for (let turn = 0; turn < 500; turn++) await settle();
    assert.ok(written <= 4 * 1024 * 1024, `${written} bytes went out`);
    const before = written;
    channel.resume();
    for (let turn = 0; turn < 500; turn++) await settle();
    assert.ok(written > before);
    channel.destroy();
  });

  test('more data than the window allows is refused', async () => {
    const host = new ChannelHost(() => {}, {
      ...nothing,
      open: () => ({ accept: (channel) => void channel.pause() }),
    });
    host.packet(
      Buffer.concat([Buffer.from([90, 0, 0, 0, 7]), Buffer.from('session'), Buffer.alloc(4), Buffer.alloc(8, 1)]),
    );
    const data = encodeChannelData(0, Buffer.alloc(32_768));
    assert.throws(() => {
      for (let i = 0; i < 65; i++) host.packet(data);
    }, /more data came than the window allows/);
  });

  test('a refusal, and the end of the connection', async () => {
    const { near } = pair(nothing);
    assert.equal(await near.open('session', Buffer.alloc(0)), undefined);
    const waiting = pair({ ...nothing, open: () => ({ later: new Promise(() => {}) }) }).near;
    const channel = waiting.open('session', Buffer.alloc(0));
    waiting.close();
    assert.equal(await channel, undefined);
    assert.equal(waiting.size, 0);
  });
});
