import { createMysqlGateway, type MysqlGateway } from '../../src/gateways/mysql/gateway.ts';
import {
  type ClientRequest,
  databasesOf,
  type FixtureOptions,
  type GatewayFixture,
  startGatewayFixture,
} from '../fixtures/db/gateway-fixture.ts';
import { type MariaDb, startMariaDb } from '../fixtures/db/mariadb.ts';

export const database = databasesOf('mysql');

/** Files of a client: what `--ssl-cert`, `--ssl-key` and `--ssl-ca` name. */
export interface ClientFiles {
  readonly certPem: string;
  readonly keyPem: string;
  /** Arguments for Debian's `mariadb` and its kin; `--no-defaults` first. */
  readonly args: readonly string[];
}

export interface Fixture extends GatewayFixture<MysqlGateway> {
  client(request?: ClientRequest): Promise<ClientFiles>;
  /** A MariaDB that trusts the database CA; `args` are its own. */
  mariadb(args?: readonly string[]): Promise<MariaDb>;
}

export async function startFixture(options: FixtureOptions = {}): Promise<Fixture> {
  const base = await startGatewayFixture(createMysqlGateway, options);
  return {
    ...base,
    async client({ route = { kind: 'db', name: 'maria' } as const, ...request } = {}) {
      const { certPem, keyPem, cert, key } = await base.issue({ route, ...request });
      const args = [
        '--no-defaults',
        '--host=127.0.0.1',
        `--port=${base.port}`,
        `--ssl-ca=${base.hostCa}`,
        '--ssl-verify-server-cert',
        `--ssl-cert=${cert}`,
        `--ssl-key=${key}`,
      ];
      return { certPem, keyPem, args };
    },
    mariadb: (args) => base.serve((dir, files) => startMariaDb(dir, files, args)),
  };
}
