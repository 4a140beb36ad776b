import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseConfigFile } from './config-file.ts';
import { ConfigError, keyText } from './problems.ts';

/** A broken configuration file, the line and the key that the message must name, and a part of what it says. */
type Broken = readonly [text: string, line: number, key: string, says: RegExp];

const auth = (body: string) => `auth_service:\n  cluster_name: c\n  ${body}\n`;
const idle = (value: string) => auth(`client_idle_timeout: ${value}`);
const proxy = (body: string) => `version: v3\nproxy_service:\n  ${body}\n`;
const teleport = (body: string) => `teleport:\n  ${body}\n`;
const db = (body: string) =>
  `db_service:\n  databases:\n  - name: a\n    protocol: postgres\n    uri: h:5432\n    ${body}\n`;
const desktop = (body: string) =>
  `windows_desktop_service:\n  static_hosts:\n  - name: a\n    addr: h:3389\n    ${body}\n`;

const BROKEN: readonly Broken[] = [
  // Durations.
  [idle('15'), 3, 'auth_service.client_idle_timeout', /time: missing unit in duration "15"/],
  [idle('"15"'), 3, 'auth_service.client_idle_timeout', /time: missing unit in duration "15"/],
  [idle('1.5'), 3, 'auth_service.client_idle_timeout', /time: missing unit in duration "1.5"/],
  [idle('-5m'), 3, 'auth_service.client_idle_timeout', /negative duration "-5m"/],
  [idle('-15'), 3, 'auth_service.client_idle_timeout', /time: missing unit in duration "-15"/],
  [idle('15q'), 3, 'auth_service.client_idle_timeout', /time: unknown unit "q" in duration "15q"/],
  [idle('15 m'), 3, 'auth_service.client_idle_timeout', /unknown unit " m"/],
  [idle('15min'), 3, 'auth_service.client_idle_timeout', /unknown unit "min"/],
  [idle('15M'), 3, 'auth_service.client_idle_timeout', /unknown unit "M"/],
  [idle('1w'), 3, 'auth_service.client_idle_timeout', /unknown unit "w"/],
  [idle('soon'), 3, 'auth_service.client_idle_timeout', /time: invalid duration "soon"/],
  [idle('Never'), 3, 'auth_service.client_idle_timeout', /time: invalid duration "Never"/],
  [idle('""'), 3, 'auth_service.client_idle_timeout', /time: invalid duration ""/],
  [idle('.'), 3, 'auth_service.client_idle_timeout', /time: invalid duration "."/],
  [idle('1h.m'), 3, 'auth_service.client_idle_timeout', /time: invalid duration/],
  [idle('300y'), 3, 'auth_service.client_idle_timeout', /time: invalid duration "300y"/],
  [idle('9999999999999999999h'), 3, 'auth_service.client_idle_timeout', /time: invalid duration/],
  [idle('1h15'), 3, 'auth_service.client_idle_timeout', /missing unit/],
  [idle('1e3s'), 3, 'auth_service.client_idle_timeout', /unknown unit "e"/],
  [idle('0x10m'), 3, 'auth_service.client_idle_timeout', /unknown unit "x"/],
  [idle('[15m]'), 3, 'auth_service.client_idle_timeout', /expected a duration such as 15m, not a list/],
  [idle('{m: 15}'), 3, 'auth_service.client_idle_timeout', /not a mapping/],
  [idle('yes'), 3, 'auth_service.client_idle_timeout', /invalid duration "yes"/],
  [idle('true'), 3, 'auth_service.client_idle_timeout', /not true/],
  [idle(''), 3, 'auth_service.client_idle_timeout', /not nothing/],
  [idle('~'), 3, 'auth_service.client_idle_timeout', /not nothing/],
  [auth('client_idle_warning: 30'), 3, 'auth_service.client_idle_warning', /missing unit/],
  [auth('web_idle_timeout: 5x'), 3, 'auth_service.web_idle_timeout', /unknown unit "x"/],
  [
    auth('authentication:\n    default_session_ttl: 0'),
    4,
    'auth_service.authentication.default_session_ttl',
    /longer than zero/,
  ],
  [
    auth('authentication:\n    default_session_ttl: never'),
    4,
    'auth_service.authentication.default_session_ttl',
    /longer than zero/,
  ],
  // Misspelt and unknown keys.
  ['auth_servce:\n  client_idle_timeout: 15m\n', 1, 'auth_servce', /did you mean auth_service\?/],
  ['authService:\n  client_idle_timeout: 15m\n', 1, 'authService', /did you mean auth_service\?/],
  ['auth-service:\n  client_idle_timeout: 15m\n', 1, 'auth-service', /did you mean auth_service\?/],
  [auth('client_idle_timeot: 15m'), 3, 'auth_service.client_idle_timeot', /did you mean client_idle_timeout\?/],
  [auth('clientIdleTimeout: 15m'), 3, 'auth_service.clientIdleTimeout', /did you mean client_idle_timeout\?/],
  [auth('client_idle_timout_message: x'), 3, 'auth_service.client_idle_timout_message', /client_idle_timeout_message/],
  [auth('idle_timeout: 15m'), 3, 'auth_service.idle_timeout', /unknown key/],
  [auth('colour: red'), 3, 'auth_service.colour', /unknown key/],
  ['colour: red\n', 1, 'colour', /unknown key: the keys here are version, teleport/],
  [auth('1: red'), 3, 'auth_service.1', /unknown key/],
  [
    auth('authentication:\n    second_facter: otp'),
    4,
    'auth_service.authentication.second_facter',
    /did you mean second_factor/,
  ],
  [proxy('web_listen_address: 0.0.0.0:1'), 3, 'proxy_service.web_listen_address', /did you mean web_listen_addr/],
  [proxy('https_keypairs:\n  - key: a\n    cert_file: b'), 4, 'proxy_service.https_keypairs[0].key', /unknown key/],
  [proxy('https_keypairs:\n  - cert_file: b'), 4, 'proxy_service.https_keypairs[0].key_file', /is missing/],
  [teleport('log: {level: debug}'), 2, 'teleport.log.level', /belongs in teleport.log.severity/],
  [teleport('datadir: /x'), 2, 'teleport.datadir', /did you mean data_dir/],
  [db('tsl: {mode: insecure}'), 6, 'db_service.databases[0].tsl', /did you mean tls/],
  [db('tls:\n      moed: insecure'), 7, 'db_service.databases[0].tls.moed', /did you mean mode/],
  [desktop('adr: x:1'), 5, 'windows_desktop_service.static_hosts[0].adr', /did you mean addr/],
  ['__proto__:\n  a: 1\n', 1, '__proto__', /unknown key/],
  ['constructor: {}\n', 1, 'constructor', /unknown key/],
  ['a: &a {b: 1}\nauth_service:\n  <<: *a\n', 3, 'auth_service["<<"]', /unknown key/],
  // Keys in the wrong place.
  ['client_idle_timeout: 15m\n', 1, 'client_idle_timeout', /belongs in auth_service.client_idle_timeout/],
  [
    'version: v3\nteleport:\n  client_idle_timeout: 15m\n',
    3,
    'teleport.client_idle_timeout',
    /belongs in auth_service/,
  ],
  [proxy('client_idle_timeout: 15m'), 3, 'proxy_service.client_idle_timeout', /belongs in auth_service/],
  ['ssh_service:\n  client_idle_timeout: 15m\n', 2, 'ssh_service.client_idle_timeout', /belongs in auth_service/],
  [
    auth('authentication:\n    client_idle_timeout: 15m'),
    4,
    'auth_service.authentication.client_idle_timeout',
    /belongs in auth_service.client_idle_timeout/,
  ],
  [
    auth('idle_timeout_message: x'),
    3,
    'auth_service.idle_timeout_message',
    /belongs in auth_service.client_idle_timeout_message/,
  ],
  [auth('second_factor: otp'), 3, 'auth_service.second_factor', /belongs in auth_service.authentication.second_factor/],
  [auth('locking_mode: strict'), 3, 'auth_service.locking_mode', /belongs in auth_service.authentication.locking_mode/],
  [auth('web_listen_addr: 0.0.0.0:1'), 3, 'auth_service.web_listen_addr', /belongs in proxy_service.web_listen_addr/],
  ['data_dir: /x\n', 1, 'data_dir', /belongs in teleport.data_dir/],
  [
    proxy('https_key_file: x'),
    3,
    'proxy_service.https_key_file',
    /belongs in proxy_service.https_keypairs\[\].key_file/,
  ],
  [db('ca_cert_file: x'), 6, 'db_service.databases[0].ca_cert_file', /belongs in tls.ca_cert_file/],
  [db('labels: {a: b}'), 6, 'db_service.databases[0].labels', /belongs in static_labels/],
  // Keys of Teleport's.
  [auth('tokens: ["proxy:x"]'), 3, 'auth_service.tokens', /Teleport setting that Nightlatch does not support/],
  [auth('session_recording: node'), 3, 'auth_service.session_recording', /does not support/],
  [auth('keep_alive_interval: 5m'), 3, 'auth_service.keep_alive_interval', /does not support/],
  [
    auth('authentication:\n    connector_name: github'),
    4,
    'auth_service.authentication.connector_name',
    /does not support/,
  ],
  [
    auth('authentication:\n    second_factors: [otp]'),
    4,
    'auth_service.authentication.second_factors',
    /does not support/,
  ],
  ['app_service:\n  enabled: yes\n', 1, 'app_service', /does not support/],
  ['discovery_service: {}\n', 1, 'discovery_service', /does not support/],
  [teleport('auth_token: x'), 2, 'teleport.auth_token', /does not support/],
  [teleport('connection_limits: {max_users: 1}'), 2, 'teleport.connection_limits', /does not support/],
  [teleport('log: {format: {extra_fields: [caller]}}'), 2, 'teleport.log.format.extra_fields', /does not support/],
  [proxy('acme: {enabled: yes}'), 3, 'proxy_service.acme', /does not support/],
  [proxy('tunnel_listen_addr: 0.0.0.0:3024'), 3, 'proxy_service.tunnel_listen_addr', /does not support/],
  ['ssh_service:\n  pam: {enabled: yes}\n', 2, 'ssh_service.pam', /does not support/],
  ['ssh_service:\n  commands: [{name: a}]\n', 2, 'ssh_service.commands', /does not support/],
  ['db_service:\n  aws: []\n', 2, 'db_service.aws', /does not support/],
  [db('mysql: {server_version: 8}'), 6, 'db_service.databases[0].mysql', /does not support/],
  [
    'kubernetes_service:\n  kube_cluster_name: a\n  listen_addr: 0.0.0.0:1\n',
    3,
    'kubernetes_service.listen_addr',
    /does not support/,
  ],
  ['windows_desktop_service:\n  ldap: {addr: x}\n', 2, 'windows_desktop_service.ldap', /does not support/],
  [teleport('storage: {type: sqlite, sync: FULL}'), 2, 'teleport.storage.sync', /does not support/],
  [
    teleport('storage:\n    type: dynamodb'),
    3,
    'teleport.storage.type',
    /the only store here is sqlite, not "dynamodb"/,
  ],
  // Wrong types.
  ['auth_service: yes\n', 1, 'auth_service', /expected a mapping, not "yes"/],
  ['auth_service: []\n', 1, 'auth_service', /expected a mapping, not a list/],
  ['- auth_service\n', 1, '', /expected a mapping, not a list/],
  ['just text\n', 1, '', /expected a mapping, not "just text"/],
  ['42\n', 1, '', /expected a mapping, not 42/],
  ['version: 3\n', 1, 'version', /must be one of v1, v2, v3, not 3/],
  ['version: v9\n', 1, 'version', /must be one of v1, v2, v3/],
  [
    auth('cluster_name: 7').replace('  cluster_name: c\n', ''),
    2,
    'auth_service.cluster_name',
    /expected text, not 7 \(a number\): put it in quotes/,
  ],
  [
    auth('disconnect_expired_cert: maybe'),
    3,
    'auth_service.disconnect_expired_cert',
    /expected yes or no, not "maybe"/,
  ],
  [auth('disconnect_expired_cert: 1'), 3, 'auth_service.disconnect_expired_cert', /expected yes or no, not 1/],
  [auth('disconnect_expired_cert:'), 3, 'auth_service.disconnect_expired_cert', /expected yes or no, not nothing/],
  [
    auth('client_idle_activity: keys'),
    3,
    'auth_service.client_idle_activity',
    /must be one of input, auto, traffic, not "keys"/,
  ],
  [auth('client_idle_activity: inptu'), 3, 'auth_service.client_idle_activity', /did you mean input\?/],
  [
    auth('client_idle_timeout_message: [a]'),
    3,
    'auth_service.client_idle_timeout_message',
    /expected text, not a list/,
  ],
  [
    auth('client_idle_timeout_message: "\\e[31mred"'),
    3,
    'auth_service.client_idle_timeout_message',
    /control character/,
  ],
  [
    auth(`client_idle_timeout_message: ${'x'.repeat(5000)}`),
    3,
    'auth_service.client_idle_timeout_message',
    /longer than 4096/,
  ],
  [auth('authentication:\n    type: github'), 4, 'auth_service.authentication.type', /must be local, not "github"/],
  [
    auth('authentication:\n    second_factor: sms'),
    4,
    'auth_service.authentication.second_factor',
    /must be one of off, otp, webauthn, on/,
  ],
  [
    auth('authentication:\n    locking_mode: lax'),
    4,
    'auth_service.authentication.locking_mode',
    /must be one of best_effort, strict/,
  ],
  [auth('enabled: no'), 3, 'auth_service.enabled', /cannot be switched off/],
  [proxy('enabled: no'), 3, 'proxy_service.enabled', /cannot be switched off/],
  [proxy('web_listen_addr: 3080'), 3, 'proxy_service.web_listen_addr', /expected text, not 3080/],
  [proxy('web_listen_addr: example.com'), 3, 'proxy_service.web_listen_addr', /expected ADDRESS:PORT/],
  [proxy('web_listen_addr: 0.0.0.0:99999'), 3, 'proxy_service.web_listen_addr', /expected ADDRESS:PORT/],
  [proxy('web_listen_addr: ::1:3080'), 3, 'proxy_service.web_listen_addr', /IPv6 address in brackets/],
  [proxy('public_addr: https://a.example.com'), 3, 'proxy_service.public_addr[0]', /without https:/],
  [proxy('public_addr:\n  - a\n  - b c'), 5, 'proxy_service.public_addr[1]', /expected HOST or HOST:PORT/],
  [
    proxy('https_keypairs: {key_file: a, cert_file: b}'),
    3,
    'proxy_service.https_keypairs',
    /expected a list, not a mapping/,
  ],
  [
    proxy('https_keypairs:\n  - key_file: ""\n    cert_file: b'),
    4,
    'proxy_service.https_keypairs[0].key_file',
    /must not be empty/,
  ],
  [proxy('postgres_listen_addr: 0.0.0.0:3080'), 3, 'proxy_service.postgres_listen_addr', /address of another listener/],
  [proxy('listen_addr: 0.0.0.0:1\n  ssh_listen_addr: 0.0.0.0:2'), 3, 'proxy_service.listen_addr', /write one of them/],
  [teleport('log: {severity: loud}'), 2, 'teleport.log.severity', /must be one of debug, info, warn, error/],
  [teleport('log:\n    output: syslog'), 3, 'teleport.log.output', /syslog is not supported/],
  [teleport('nodename: a/b'), 2, 'teleport.nodename', /slash/],
  [teleport('diag_addr: 3000'), 2, 'teleport.diag_addr', /expected text/],
  ['ssh_service:\n  labels: [a]\n', 2, 'ssh_service.labels', /expected a mapping, not a list/],
  [
    'ssh_service:\n  labels:\n    env: 1\n',
    3,
    'ssh_service.labels.env',
    /expected text, not 1 \(a number\): put it in quotes/,
  ],
  ['ssh_service:\n  labels:\n    env: true\n', 3, 'ssh_service.labels.env', /put it in quotes/],
  ['ssh_service:\n  labels:\n    env:\n', 3, 'ssh_service.labels.env', /has no value/],
  ['ssh_service:\n  enabled: sometimes\n', 2, 'ssh_service.enabled', /expected yes or no/],
  ['db_service:\n  databases: {}\n', 2, 'db_service.databases', /expected a list/],
  [
    'db_service:\n  databases:\n  - name: a\n    uri: h:1\n',
    3,
    'db_service.databases[0].protocol',
    /is missing: must be one of postgres, mysql, redis/,
  ],
  [
    'db_service:\n  databases:\n  - name: a\n    protocol: postgers\n    uri: h:1\n',
    4,
    'db_service.databases[0].protocol',
    /did you mean postgres/,
  ],
  ['db_service:\n  databases:\n  - protocol: redis\n    uri: h:1\n', 3, 'db_service.databases[0].name', /is missing/],
  [
    'db_service:\n  databases:\n  - {name: a, protocol: redis, uri: h}\n',
    3,
    'db_service.databases[0].uri',
    /expected HOST:PORT/,
  ],
  [
    'db_service:\n  databases:\n  - {name: a, protocol: redis, uri: "h:1"}\n  - {name: a, protocol: mysql, uri: "h:2"}\n',
    4,
    'db_service.databases[1].name',
    /name of another database/,
  ],
  [db('tls: {mode: none}'), 6, 'db_service.databases[0].tls.mode', /must be one of verify-full/],
  [db('audit_queries: often'), 6, 'db_service.databases[0].audit_queries', /expected yes or no/],
  [db('auth: {password: x}'), 6, 'db_service.databases[0].auth.password', /did you mean password_file|unknown key/],
  [db('tls: {ca_cert: a, ca_cert_file: b}'), 6, 'db_service.databases[0].tls.ca_cert_file', /write one of them/],
  ['kubernetes_service:\n  enabled: yes\n', 1, 'kubernetes_service', /needs kubeconfig_file, or kube_cluster_name/],
  ['kubernetes_service:\n  kubeconfig_file: [a]\n', 2, 'kubernetes_service.kubeconfig_file', /expected text/],
  [desktop('protocol: ssh'), 5, 'windows_desktop_service.static_hosts[0].protocol', /must be one of rdp, vnc/],
  [desktop('tls: {mode: pinned}'), 5, 'windows_desktop_service.static_hosts[0].tls.fingerprint', /goes together with/],
  [
    desktop('tls: {mode: pinned, fingerprint: abc}'),
    5,
    'windows_desktop_service.static_hosts[0].tls.fingerprint',
    /SHA-256/,
  ],
  [desktop('ad: yes'), 5, 'windows_desktop_service.static_hosts[0].ad', /does not support/],
  // No YAML, or not one file.
  ['auth_service:\n\tclient_idle_timeout: 15m\n', 2, '', /Tabs are not allowed/],
  ['auth_service: {client_idle_timeout: 15m\n', 2, '', /is no YAML/],
  ['auth_service:\n  message: "never closed\n', 3, '', /is no YAML/],
  [
    'auth_service:\n  client_idle_timeout: 15m\n  client_idle_timeout: 30m\n',
    3,
    'auth_service.client_idle_timeout',
    /is here twice: it stands in line 2 already/,
  ],
  ['version: v3\nauth_service: {}\nversion: v3\n', 3, 'version', /is here twice: it stands in line 1 already/],
  ['ssh_service:\n  labels:\n    a: x\n    b: y\n    a: x\n', 5, 'ssh_service.labels.a', /is here twice/],
  ['version: v3\n---\nversion: v3\n', 3, '', /begins a second document/],
  ['auth_service: *nothing\n', 1, 'auth_service', /names no anchor/],
  ['auth_service: !secret x\n', 1, '', /Unresolved tag/],
  ['? [a, b]\n: c\n', 1, '', /a key that is no text/],
  [
    'auth_service: &a\n  authentication: *a\n',
    2,
    'auth_service.authentication.authentication.authentication',
    /nested too deeply/,
  ],
  [`${'['.repeat(20_000)}`, 1, '', /nested too deeply/],
  [`#${'x'.repeat(1024 * 1024)}`, 1, '', /larger than 1 MiB/],
];

describe('broken configuration files', () => {
  test('there are more than a hundred', () => assert.ok(BROKEN.length > 100, `${BROKEN.length}`));
  for (const [text, line, key, says] of BROKEN) {
    test(`${JSON.stringify(text.slice(0, 90))} → line ${line}, ${key}`, () => {
      const error = refusal(text);
      const problem = error.problems.find((one) => keyText(one.path) === key);
      assert.ok(problem, `no problem with ${key}: ${error.message.slice(0, 500)}`);
      assert.match(problem.text, says);
      assert.equal(problem.line, line);
      assert.ok(
        error.message.includes(`conf.yaml:${line}: ${key === '' ? '' : `${key}: `}`),
        error.message.slice(0, 500),
      );
    });
  }
});

test('every problem of a file is listed, in the order of its lines', () => {
  const error = refusal(
    'auth_service:\n  client_idle_timeout: 15\n  tokens: [a]\n  colour: red\nproxy_service:\n  web_listen_addr: x\n',
  );
  assert.equal(
    error.message,
    [
      'conf.yaml:2: auth_service.client_idle_timeout: time: missing unit in duration "15": write it with a unit, such as 15m or 1h30m',
      'conf.yaml:3: auth_service.tokens: is a Teleport setting that Nightlatch does not support: remove it',
      'conf.yaml:4: auth_service.colour: unknown key: the keys here are enabled, cluster_name, client_idle_timeout, client_idle_timeout_message, client_idle_warning, client_idle_activity, web_idle_timeout, disconnect_expired_cert, authentication',
      'conf.yaml:6: proxy_service.web_listen_addr: expected ADDRESS:PORT, with an IPv6 address in brackets',
    ].join('\n'),
  );
});

function refusal(text: string): ConfigError {
  try {
    parseConfigFile(text, 'conf.yaml');
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error));
    return error;
  }
  assert.fail('the file is accepted');
}
