// The session lifecycle through the Redis gateway: real sockets on both sides, the protocol's real bytes, the suite's clock.
import { createRedisGateway } from '../../src/gateways/redis/gateway.ts';
import { encodeCommand } from '../../src/wire/redis/resp.ts';
import { testAuthority } from '../fixtures/db-authority.ts';
import { fastPath } from '../fixtures/fast-path.ts';
import { CommandTestClient, databaseResource, startDatabaseGateway } from './db-subject.ts';
import { describeGateway } from './gateway.ts';
import { listenAsTarget, SmallClient, type TargetConnection } from './redis-peers.ts';

class RedisTestClient extends CommandTestClient<SmallClient, TargetConnection> {
  protected readonly commands = { work: encodeCommand('BLPOP', 'k', '0'), flood: encodeCommand('SUBSCRIBE', 'c') };

  async input(): Promise<void> {
    await this.client.command(encodeCommand('SET', 'k', 'v'));
  }

  async noise(): Promise<void> {
    await this.client.command(encodeCommand('PING'));
    await this.client.command(encodeCommand('ping', 'are you there?'));
    await this.client.command(Buffer.from('\r\nPING\r\n'));
  }

  protected async finishWork(): Promise<void> {
    const due = this.client.messages + 1;
    this.target.release();
    await this.client.received(due);
  }
}

describeGateway({
  name: 'Redis',
  protocol: 'redis',
  allow: { db_labels: { env: 'test' }, db_users: ['app'], db_names: ['*'] },
  targets: [databaseResource('redis', 6379)],
  async start(world) {
    return startDatabaseGateway({
      world,
      protocol: 'redis',
      gateway: createRedisGateway({ ...world, fastPath, ...(await testAuthority()) }),
      target: await listenAsTarget(),
      makeClient: (socket) => new SmallClient(socket),
      async login(client) {
        await client.command(encodeCommand('AUTH', 'app', 'any'));
        if (client.told.startsWith('+OK')) return true;
        await client.closed;
        return false;
      },
      makeTestClient: (client, target) => new RedisTestClient(client, target),
    });
  },
});
