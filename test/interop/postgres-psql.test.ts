// What psql prints through the gateway is what it prints without it: one script for every kind of message that psql can bring about.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { run } from '../fixtures/db/programs.ts';
import { DEBIAN_BIN, database, type Fixture, PSQL, startFixture } from './postgres-fixture.ts';

const SCRIPTS: readonly (readonly [kind: string, sql: string])[] = [
  [
    'statements, several at once, empty ones, and types',
    String.raw`select 1 as one, null as nothing, '' as empty, 'zwölf €' as text;
select 1\; select 2\; select 3;
;
-- nothing but a comment
select array[1,2,null], row(1, 'x'), '\x00ff'::bytea, 'a=>1'::text, 1e300::float8, 'NaN'::numeric, interval '1 day 2 hours';
select repeat('x', 100000) as wide \g (format=unaligned) | wc -c
select g, repeat(chr(65 + g % 26), g) from generate_series(1, 60) g;
create table t (id int primary key, v text); insert into t select g, 'v' || g from generate_series(1, 1000) g;
update t set v = upper(v) where id % 2 = 0; delete from t where id > 990; truncate t; drop table t;`,
  ],
  [
    'errors with all their fields, and what a transaction makes of them',
    String.raw`\set VERBOSITY verbose
select 1/0;
select * from missing;
selec 1;
create table c (id int constraint positive check (id > 0), other int references c_missing);
create table c (id int constraint positive check (id > 0)); insert into c values (-1);
begin; select 1/0; select 2; rollback;
begin; savepoint s; select nothing; rollback to s; select 3; commit;
do $$ begin raise exception 'no' using hint = 'a hint', detail = 'a detail', errcode = 'P0099', column = 'c'; end $$;
drop table c;`,
  ],
  [
    'notices, parameters that the server reports, and encodings',
    String.raw`do $$ begin for i in 1..5 loop raise notice 'notice %', i; raise warning 'warning %', i; end loop; end $$;
set client_min_messages = debug1; create temp table n (id serial primary key); reset client_min_messages;
set datestyle = 'German'; select date '2026-02-03'; reset datestyle;
\encoding latin1
select convert_from('\xfc', 'latin1');
\encoding utf8
set application_name = 'somebody'; show application_name; set timezone = 'Asia/Tokyo'; select timestamptz '2026-01-01 00:00Z';
set standard_conforming_strings = off; select 'a\'b'; reset all;`,
  ],
  [
    'prepared statements, descriptions and cursors',
    String.raw`prepare p (int, text) as select $1 + 1, upper($2); execute p (41, 'x'); execute p (null, null); deallocate p; execute p (1, 'y');
select 1 as a, 'x'::varchar(7) as b, now() as c \gdesc
select 'select ' || g || ' as made' from generate_series(1, 3) g \gexec
select 5 as five, 'six' as six \gset
\echo :five :six
\set FETCH_COUNT 7
select g from generate_series(1, 40) g;
select 10 / (20 - g) from generate_series(1, 25) g;
\set FETCH_COUNT 0
begin; declare k cursor with hold for select * from generate_series(1, 9); fetch 3 from k; move 2 in k; fetch all from k; commit; close k;`,
  ],
  [
    'COPY both ways, and COPY that fails',
    String.raw`create temp table k (id int, v text);
copy k from stdin;
1	one
2	\N
3	tab\there
\.
copy k from stdin (format csv, header);
id,v
4,"four, ""quoted"""
\.
copy k from stdin;
x	not a number
\.
copy k (id) from stdin;
5	too many
\.
copy k to stdout; copy (select * from k order by id desc) to stdout (format csv, header, force_quote *);
\copy (select id from k) to program 'wc -l'
copy k to stdout (format binary) \g /dev/null
copy missing from stdin; copy (select 1/0) to stdout; select count(*) from k;`,
  ],
  [
    'large objects, which are function calls',
    String.raw`begin; select lo_create(4242); commit;
\lo_import /etc/hostname
\lo_unlink :LASTOID
\lo_list
\lo_unlink 4242
\lo_unlink 4243`,
  ],
  ['notifications', `listen news; notify news, 'read all about it'; select 1; unlisten *; notify news; select 2;`],
  [
    'another connection by the same psql, and a server process that is ended',
    String.raw`\connect - - - -
select 6 * 7;
\connect nowhere
select current_database();
select pg_terminate_backend(pg_backend_pid());
select 'not reached';`,
  ],
];

/** What differs between two connections in any case: the numbers of processes, ports and new objects. */
function withoutNumbers(text: string): string {
  return text
    .replace(/\bPID \d+/g, 'PID n')
    .replace(/\bport \d+/g, 'port n')
    .replace(/\b(lo_\w+) \d{5,}/g, '$1 n');
}

describe('psql through the gateway and without it', () => {
  let fixture: Fixture;
  const environments: Record<string, { direct: NodeJS.ProcessEnv; gateway: NodeJS.ProcessEnv }> = {};
  before(async () => {
    fixture = await startFixture();
    const credential = await fixture.ca.mintDatabaseClient({ dbUser: 'postgres', ttlMs: 3_600_000 });
    const files = {
      PGSSLCERT: fixture.file('direct.crt', credential.certPem),
      PGSSLKEY: fixture.file('direct.key', credential.keyPem),
      PGSSLROOTCERT: fixture.file('database-ca.pem', fixture.ca.databaseCa),
    };
    for (const [name, options] of [
      ['db15', { binDir: DEBIAN_BIN }],
      ['db18', {}],
    ] as const) {
      const server = await fixture.postgres(options);
      const tls = { mode: 'verify-full', ca_cert: fixture.ca.databaseCa, server_name: 'localhost' };
      fixture.policy.put(database(name, `127.0.0.1:${server.port}`, { tls }));
      const { env } = await fixture.client({ route: { kind: 'db', name } });
      environments[name] = { gateway: env, direct: { ...env, ...files, PGPORT: String(server.port) } };
    }
  });
  after(() => fixture.stop());

  for (const [kind, sql] of SCRIPTS) {
    test(kind, async () => {
      for (const { direct, gateway } of Object.values(environments)) {
        const outcome = async (env: NodeJS.ProcessEnv) => {
          const { code, stdout, stderr } = await run(PSQL, ['-X', '-a'], { env, input: `${sql}\n` });
          return { code, stdout: withoutNumbers(stdout), stderr: withoutNumbers(stderr) };
        };
        const expected = await outcome(direct);
        assert.deepEqual(await outcome(gateway), expected);
        assert.ok(expected.stdout.length > 40);
      }
    });
  }
});
