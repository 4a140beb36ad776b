import assert from 'node:assert/strict';
import { test } from 'node:test';
import { conninfo } from './database-clients.ts';

test('a connection string has quotes where a value is more than a word', () => {
  assert.equal(
    conninfo({ host: '127.0.0.1', port: '5432', user: undefined, dbname: 'app' }),
    'host=127.0.0.1 port=5432 dbname=app',
  );
  assert.equal(conninfo({ host: '/run/x', hostaddr: '' }), "host=/run/x hostaddr=''");
  assert.equal(conninfo({ user: "o'neil \\", dbname: 'a b=c' }), "user='o\\'neil \\\\' dbname='a b=c'");
});
