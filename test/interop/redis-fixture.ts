import { createRedisGateway, type RedisGateway } from '../../src/gateways/redis/gateway.ts';
import {
  type ClientRequest,
  databasesOf,
  type FixtureOptions,
  type GatewayFixture,
  startGatewayFixture,
} from '../fixtures/db/gateway-fixture.ts';
import { type Redis, startRedis } from '../fixtures/db/redis.ts';

/** Debian's client, and its load generator. */
export const REDIS_CLI = '/usr/bin/redis-cli';
export const REDIS_BENCHMARK = '/usr/bin/redis-benchmark';

export const database = databasesOf('redis');

/** Files of a client, and the arguments of redis-cli and redis-benchmark that name them. */
export interface ClientFiles {
  readonly certPem: string;
  readonly keyPem: string;
  readonly args: readonly string[];
}

export interface Fixture extends GatewayFixture<RedisGateway> {
  client(request?: ClientRequest): Promise<ClientFiles>;
  /** A Redis that trusts the database CA; `lines` are added to its configuration. */
  redis(lines?: readonly string[]): Promise<Redis>;
}

export async function startFixture(options: FixtureOptions = {}): Promise<Fixture> {
  const base = await startGatewayFixture(createRedisGateway, options);
  return {
    ...base,
    async client({ route = { kind: 'db', name: 'cache' } as const, ...request } = {}) {
      const { certPem, keyPem, cert, key } = await base.issue({ route, ...request });
      const where = ['-h', '127.0.0.1', '-p', String(base.port)];
      return {
        certPem,
        keyPem,
        args: [...where, '--tls', '--cacert', base.hostCa, '--cert', cert, '--key', key],
      };
    },
    redis: (lines) => base.serve((dir, files) => startRedis(dir, files, lines)),
  };
}
