import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { configResources, parseConfigFile } from './config-file.ts';
import { decodeResource } from './decode.ts';
import { ConfigError } from './problems.ts';
import { readResources } from './resource-file.ts';
import { sampleConfig } from './sample-config.ts';

const parse = (text: string) => parseConfigFile(text, 'conf.yaml');

describe('the configuration file', () => {
  test('empty, or with everything commented out, it is complete', () => {
    const { config, warnings } = parse('');
    assert.deepEqual(warnings, []);
    assert.equal(config.teleport.data_dir, '/var/lib/nightlatch');
    assert.equal(config.auth_service.client_idle_timeout, undefined);
    assert.equal(config.proxy_service.web_listen_addr, '0.0.0.0:3080');
    assert.equal(config.ssh_service.enabled, false);
    for (const text of ['# nothing\n', '---\n', '{}', 'auth_service:\nssh_service:\nteleport:\n  log:\n']) {
      assert.deepEqual(parse(text).config, config, JSON.stringify(text));
    }
  });

  test('auth_service: {client_idle_timeout: 15m} alone is complete, and leaves cap open', () => {
    const { config } = parse('auth_service: {client_idle_timeout: 15m}');
    assert.equal(config.auth_service.client_idle_timeout, '15m0s');
    const resources = configResources(config);
    assert.equal(resources.authPreference, undefined);
    assert.deepEqual(resources.networkingConfig?.spec, { client_idle_timeout: '15m0s' });
    assert.equal(resources.networkingConfig?.metadata.labels?.['teleport.dev/origin'], 'config-file');
  });

  test('authentication and disconnect_expired_cert belong to the auth preference', () => {
    const one = configResources(parse('auth_service: {disconnect_expired_cert: yes}').config);
    assert.equal(one.networkingConfig, undefined);
    assert.equal(one.authPreference?.spec.disconnect_expired_cert, true);
    const two = configResources(
      parse('auth_service: {authentication: {second_factor: off, locking_mode: strict}}').config,
    );
    assert.equal(two.authPreference?.spec.second_factor, 'off');
    assert.equal(two.authPreference?.spec.locking_mode, 'strict');
    assert.equal(two.authPreference?.spec.disconnect_expired_cert, undefined);
  });

  test('targets of the file are resources of origin config-file that can be read as such', () => {
    const resources = configResources(
      parse(`
db_service:
  databases:
  - {name: orders, protocol: postgres, uri: 'db:5432', static_labels: {env: prod}, description: the orders}
kubernetes_service: {enabled: yes, kubeconfig_file: /k, kube_cluster_name: prod, labels: {env: prod}}
windows_desktop_service:
  static_hosts:
  - {name: office, addr: 'w:3389', labels: {env: office}, ad: false}
  - {name: lab, addr: 'v:5900', protocol: vnc}
auth_service: {client_idle_timeout: 5m, disconnect_expired_cert: yes}
`).config,
    );
    const all = [
      ...resources.databases,
      ...resources.kubeClusters,
      ...resources.desktops,
      resources.authPreference,
      resources.networkingConfig,
    ];
    assert.equal(all.length, 6);
    for (const resource of all) {
      assert.deepEqual(decodeResource(resource), resource);
      assert.equal(resource?.metadata.labels?.['teleport.dev/origin'], 'config-file');
    }
    assert.equal(resources.databases[0]?.metadata.labels?.['env'], 'prod');
    assert.equal(resources.databases[0]?.spec.tls.mode, 'verify-full');
  });

  test('a section that is written is on, unless it says no', () => {
    assert.equal(parse('ssh_service: {labels: {a: b}}').config.ssh_service.enabled, true);
    assert.equal(parse('ssh_service: {}').config.ssh_service.enabled, true);
    assert.equal(parse('ssh_service: {enabled: no, labels: {a: b}}').config.ssh_service.enabled, false);
    const off = parse(
      "db_service: {enabled: no, databases: [{name: a, protocol: redis, uri: 'redis://h:6379'}]}",
    ).config;
    assert.equal(off.db_service.databases[0]?.uri, 'h:6379');
    assert.deepEqual(configResources(off).databases, []);
  });

  test('listen_addr is the SSH listener by its name in teleport.yaml', () => {
    const { proxy_service } = parse('proxy_service: {listen_addr: "0.0.0.0:3023"}').config;
    assert.equal(proxy_service.ssh_listen_addr, '0.0.0.0:3023');
    assert.equal('listen_addr' in proxy_service, false);
  });

  test('what asks for nothing beyond what happens anyway is accepted', () => {
    assert.deepEqual(
      parse(
        'version: v3\nauth_service: {proxy_listener_mode: multiplex}\nssh_service: {pam: {enabled: no}}\napp_service: {enabled: no}\n',
      ).warnings,
      [],
    );
  });

  test('--ignore-unsupported turns the unsupported keys into warnings, and nothing else', () => {
    const text = 'auth_service:\n  tokens: [a]\n  client_idle_timeout: 15m\napp_service:\n  enabled: yes\n';
    const { config, warnings } = parseConfigFile(text, 'conf.yaml', { ignoreUnsupported: true });
    assert.equal(config.auth_service.client_idle_timeout, '15m0s');
    assert.deepEqual(warnings, [
      'conf.yaml:2: auth_service.tokens: is a Teleport setting that Nightlatch does not support: ignored',
      'conf.yaml:4: app_service: is a Teleport setting that Nightlatch does not support: ignored',
    ]);
    assert.throws(
      () => parseConfigFile(`${text}colour: red\n`, 'conf.yaml', { ignoreUnsupported: true }),
      (error: unknown) => error instanceof ConfigError && error.problems.length === 1 && /colour/.test(error.message),
    );
  });

  test('the sample can be read, as it stands and with every comment that is a key opened', () => {
    const sample = sampleConfig();
    assert.equal(parse(sample).config.auth_service.client_idle_timeout, '15m0s');
    const opened = sample
      .split('\n')
      .filter((line) => !/^ *# (?:Nightlatch|A session|Listeners|An SSH node)/.test(line))
      .map((line) => line.replace(/^( *)# /, '$1').replace(/^( *)# /, '$1'))
      .join('\n');
    const { config } = parse(opened);
    assert.equal(config.db_service.databases.length, 1);
    assert.equal(config.windows_desktop_service.static_hosts.length, 1);
    assert.equal(config.auth_service.authentication?.second_factor, 'on');
    assert.equal(config.proxy_service.kube_listen_addr, '0.0.0.0:3026');
  });

  test('aliases are followed, and their errors placed', () => {
    const text = 'ssh_service: {labels: &l {env: dev}}\nkubernetes_service: {kube_cluster_name: a, labels: *l}\n';
    assert.deepEqual(parse(text).config.kubernetes_service.labels, { env: 'dev' });
  });
});

describe('hostile text', () => {
  const refusedSoon = (text: string) => {
    assert.throws(() => parse(text), ConfigError);
    assert.throws(() => readResources(text, 'r.yaml'), ConfigError);
  };

  test('alias bombs, cycles, depth, size', () => {
    const names = [...'abcdefghijklmnop'];
    refusedSoon(
      names
        .map((name, at) => (at === 0 ? 'a: &a [x, x]' : `${name}: &${name} [${Array(9).fill(`*${names[at - 1]}`)}]`))
        .join('\n'),
    );
    refusedSoon('a: &a [*a]\n');
    refusedSoon(`${'{a: '.repeat(5000)}`);
    refusedSoon('- '.repeat(5000));
    refusedSoon('x'.repeat(1024 * 1024 + 1));
    refusedSoon(`a: &a 1\nb:\n${'- *a\n'.repeat(110_000)}`);
  });

  test('any text is either read or refused with a ConfigError', () => {
    const token = fc.constantFrom(
      ...[
        'auth_service',
        'client_idle_timeout',
        'kind',
        'role',
        'spec',
        ':',
        ': ',
        '\n',
        '\n  ',
        '- ',
        '{',
        '}',
        '[',
        ']',
        ',',
        '&a ',
        '*a',
        '!x ',
        '|',
        '>',
        '"',
        "'",
        '#',
        '?',
        '%',
        '@',
        '15m',
        '---\n',
        '\t',
        '\u0000',
        '~',
        '<<',
        '0x1',
        '1e400',
      ],
    );
    const text = fc.oneof(
      fc.array(token, { maxLength: 30 }).map((tokens) => tokens.join('')),
      fc.string({ unit: 'binary' }),
    );
    fc.assert(
      fc.property(text, (candidate) => {
        for (const read of [() => parse(candidate), () => readResources(candidate, 'r.yaml')]) {
          try {
            read();
          } catch (error) {
            assert.ok(error instanceof ConfigError, String((error as Error).stack));
            assert.ok(error.problems.length > 0);
          }
        }
      }),
      { numRuns: 3000 },
    );
  });

  test('any value is either a resource or refused with a ConfigError', () => {
    const kind = fc.constantFrom(
      'role',
      'cluster_auth_preference',
      'user',
      'node',
      'db',
      'lock',
      'windows_desktop',
      '__proto__',
    );
    const value = fc
      .tuple(kind, fc.object(), fc.object())
      .map(([name, metadata, spec]) => ({ kind: name, metadata, spec }));
    fc.assert(
      fc.property(fc.oneof(value, fc.anything()), (candidate) => {
        try {
          decodeResource(candidate);
        } catch (error) {
          assert.ok(error instanceof ConfigError, String((error as Error).stack));
        }
      }),
      { numRuns: 2000 },
    );
  });
});
