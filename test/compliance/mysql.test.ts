// The session lifecycle through the MySQL gateway: real sockets on both sides, the protocol's real bytes, the suite's clock.
import { createMysqlGateway } from '../../src/gateways/mysql/gateway.ts';
import { COMMAND } from '../../src/wire/mysql/commands.ts';
import { encodePacket } from '../../src/wire/mysql/packets.ts';
import { testAuthority } from '../fixtures/db-authority.ts';
import { fastPath } from '../fixtures/fast-path.ts';
import { CommandTestClient, databaseResource, startDatabaseGateway } from './db-subject.ts';
import { describeGateway } from './gateway.ts';
import { listenAsTarget, query, SmallClient, type TargetConnection } from './mysql-peers.ts';

class MysqlTestClient extends CommandTestClient<SmallClient, TargetConnection> {
  protected readonly commands = { work: query('hold'), flood: query('flood') };

  async input(): Promise<void> {
    await this.client.command(query('select 1'));
  }

  async noise(): Promise<void> {
    await this.client.command(encodePacket(0, Buffer.from([COMMAND.ping])));
    await this.client.command(query('/* are you there? */ ;'));
    await this.sent(encodePacket(0, Buffer.from([COMMAND.stmtClose, 1, 0, 0, 0])));
  }

  protected async finishWork(): Promise<void> {
    this.target.release();
    await this.client.next();
  }
}

describeGateway({
  name: 'MySQL',
  protocol: 'mysql',
  allow: { db_labels: { env: 'test' }, db_users: ['app'], db_names: ['*'] },
  targets: [databaseResource('mysql', 3306)],
  async start(world) {
    return startDatabaseGateway({
      world,
      protocol: 'mysql',
      gateway: createMysqlGateway({ ...world, fastPath, ...(await testAuthority()) }),
      target: await listenAsTarget(),
      makeClient: (socket) => new SmallClient(socket),
      login: (client) => client.login('app'),
      makeTestClient: (client, target) => new MysqlTestClient(client, target),
    });
  },
});
