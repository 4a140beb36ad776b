import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { decodeResource } from './decode.ts';
import { defaultAuthPreference, defaultNetworkingConfig, originOf, withOrigin } from './defaults.ts';
import { KINDS, kindAliases, kindFromAlias, type Resource } from './kinds.ts';
import { ConfigError, keyText } from './problems.ts';
import { readResources } from './resource-file.ts';
import { formatYaml, formatYamlStream } from './resource-yaml.ts';

/** One resource of each kind with every key that it has. */
const WHOLE: Readonly<Record<Resource['kind'], string>> = {
  cluster_auth_preference: `
kind: cluster_auth_preference
version: v2
metadata: {name: cluster-auth-preference, labels: {teleport.dev/origin: dynamic}, revision: '7'}
spec:
  type: local
  second_factor: on
  webauthn: {rp_id: example.com}
  default_session_ttl: 8h
  disconnect_expired_cert: yes
  locking_mode: strict
  options: {client_idle_timeout: 30m, disconnect_expired_cert: no}
`,
  cluster_networking_config: `
kind: cluster_networking_config
version: v2
metadata: {name: cluster-networking-config}
spec:
  client_idle_timeout: 15m
  idle_timeout_message: "Sign in again.\\nThe security team"
  client_idle_warning: never
  client_idle_activity: input
  web_idle_timeout: 0
`,
  role: `
kind: role
version: v8
metadata: {name: everything, description: a role, expires: 2030-01-01T00:00:00Z}
spec:
  options:
    client_idle_timeout: 10m
    client_idle_warning: 30s
    client_idle_activity: traffic
    disconnect_expired_cert: true
    lock: best_effort
    max_session_ttl: 8h
    forward_agent: yes
    port_forwarding: no
    ssh_port_forwarding: {local: {enabled: yes}, remote: {enabled: no}}
    permit_x11_forwarding: no
    max_sessions: 10
    max_connections: 3
    kubernetes_exec_cleanup: hangup
    database_idle_in_transaction_timeout: 1m
    desktop_clipboard: no
    desktop_directory_sharing: no
  allow:
    logins: [root, '{{internal.logins}}']
    node_labels: {'*': '*'}
    db_labels: {env: [dev, test]}
    db_users: '*'
    db_names: [a]
    db_replication: yes
    kubernetes_labels: {env: '^(dev|test)$'}
    kubernetes_groups: [viewers]
    kubernetes_users: [x]
    kubernetes_resources: [{kind: pods, api_group: '', namespace: '*', name: '*', verbs: [get, list]}]
    windows_desktop_labels: {env: dev}
    windows_desktop_logins: [admin]
    rules: [{resources: [role], verbs: [list, read]}]
  deny:
    logins: [guest]
    node_labels: {env: prod}
`,
  user: `
kind: user
version: v2
metadata: {name: alice}
spec: {roles: [access, editor], traits: {logins: [root, alice], team: blue}}
`,
  node: `
kind: node
sub_kind: openssh
version: v2
metadata: {name: 3f8a, labels: {env: dev}}
spec: {addr: '[::1]:22', hostname: web, host_keys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE]}
`,
  db: `
kind: db
version: v3
metadata: {name: orders}
spec: {protocol: mysql, uri: db:3306, tls: {mode: verify-ca, ca_cert_file: /ca, server_name: x}, auth: {password_file: /p}, audit_queries: no}
`,
  kube_cluster: `
kind: kube_cluster
version: v3
metadata: {name: prod}
spec: {kubeconfig_file: /k, context: c}
`,
  windows_desktop: `
kind: windows_desktop
version: v3
metadata: {name: office}
spec: {addr: 'w:3389', protocol: rdp, domain: d, tls: {mode: insecure}, auth: {login: x, password_file: /p}}
`,
  lock: `
kind: lock
version: v2
metadata: {name: l1}
spec: {target: {user: alice, role: r, login: x, server_id: n, session: s, windows_desktop: w}, message: no, expires: 2030-01-01T00:00:00Z, created_by: bob}
`.replace('message: no', "message: 'no'"),
};

describe('resources', () => {
  for (const kind of KINDS) {
    test(`${kind}: what is printed can be read again, and prints the same`, () => {
      const [resource] = readResources(WHOLE[kind], 'r.yaml');
      assert.equal(resource!.kind, kind);
      const printed = formatYaml(resource!);
      const [again] = readResources(printed, 'printed.yaml');
      assert.deepEqual(again, resource);
      assert.equal(formatYaml(again!), printed);
      assert.deepEqual(decodeResource(JSON.parse(JSON.stringify(resource))), resource);
      assert.match(printed, new RegExp(`^kind: ${kind}\nmetadata:\n[^]*\nspec:\n[^]*version: v\\d\n$`));
    });
  }

  test('several documents at once', () => {
    const all = readResources(KINDS.map((kind) => WHOLE[kind]).join('\n---\n'), 'all.yaml');
    assert.deepEqual(
      all.map((one) => one.kind),
      KINDS,
    );
    assert.deepEqual(readResources(formatYamlStream(all), 'again.yaml'), all);
  });

  test('durations are stored as Go prints them', () => {
    const [role] = readResources(WHOLE.role, 'r.yaml');
    assert.equal(role?.kind === 'role' ? role.spec.options.client_idle_timeout : '', '10m0s');
  });

  test('the published way: get cap, edit, create', () => {
    const printed = formatYaml(defaultAuthPreference());
    assert.match(printed, /teleport\.dev\/origin: defaults/);
    const edited = printed.replace('spec:\n', 'spec:\n  options:\n    client_idle_timeout: 30m\n');
    const [cap] = readResources(edited, 'cap.yaml');
    assert.equal(cap?.kind === 'cluster_auth_preference' ? cap.spec.options?.client_idle_timeout : '', '30m0s');
    assert.deepEqual(readResources(formatYaml(defaultNetworkingConfig()), 'cnc.yaml'), [defaultNetworkingConfig()]);
  });

  test('the published role of v3 with a timeout alone', () => {
    const [role] = readResources(
      'kind: role\nversion: v3\nmetadata:\n  name: admin-role\nspec:\n  options:\n    client_idle_timeout: 10m\n',
      'role.yaml',
    );
    assert.deepEqual(role, {
      kind: 'role',
      version: 'v3',
      metadata: { name: 'admin-role' },
      spec: { options: { client_idle_timeout: '10m0s' }, allow: {}, deny: {} },
    });
  });

  test('what Teleport prints and what asks for nothing here is accepted', () => {
    const [role] = readResources(
      'kind: role\nversion: v7\nmetadata: {name: a, namespace: default}\nspec:\n  options: {cert_format: standard, ssh_file_copy: true, create_host_user: false}\n  allow: {namespaces: [default], app_labels: {}}\n',
      'role.yaml',
    );
    assert.deepEqual(role?.spec, { options: {}, allow: {}, deny: {} });
  });

  test('kinds go by many names', () => {
    for (const kind of KINDS) {
      for (const name of [kind, ...kindAliases(kind), kind.toUpperCase()]) assert.equal(kindFromAlias(name), kind);
    }
    assert.equal(kindFromAlias('cap'), 'cluster_auth_preference');
    assert.equal(kindFromAlias('cnc'), 'cluster_networking_config');
    assert.equal(kindFromAlias('app'), undefined);
  });

  test('origins', () => {
    assert.equal(originOf(defaultAuthPreference()), 'defaults');
    assert.equal(originOf(withOrigin(defaultAuthPreference(), 'config-file')), 'config-file');
    assert.equal(originOf(readResources(WHOLE.user, 'u.yaml')[0]!), 'dynamic');
  });
});

describe('broken resources', () => {
  const meta = 'version: v7\nmetadata:\n  name: x\n';
  const role = (body: string) => `kind: role\n${meta}spec:\n  ${body}\n`;
  const cap = (body: string) =>
    `kind: cluster_auth_preference\nmetadata:\n  name: cluster-auth-preference\nspec:\n  ${body}\n`;
  const cases: [text: string, line: number, key: string, says: RegExp][] = [
    [cap('client_idle_timeout: 15m'), 5, 'spec.client_idle_timeout', /belongs in spec.options.client_idle_timeout/],
    [
      'kind: cluster_auth_preference\nclient_idle_timeout: 15m\n',
      2,
      'client_idle_timeout',
      /belongs in spec.options.client_idle_timeout/,
    ],
    [cap('options: {client_idle_warning: 1m}'), 5, 'spec.options.client_idle_warning', /cluster_networking_config/],
    [
      cap('options: {client_idle_timeot: 1m}'),
      5,
      'spec.options.client_idle_timeot',
      /did you mean client_idle_timeout/,
    ],
    [cap('options: {client_idle_timeout: 15}'), 5, 'spec.options.client_idle_timeout', /missing unit in duration "15"/],
    [cap('web_idle_timeout: 15m'), 5, 'spec.web_idle_timeout', /cluster_networking_config/],
    [cap('type: github'), 5, 'spec.type', /must be local/],
    [cap('second_factor: u2f'), 5, 'spec.second_factor', /must be one of/],
    [cap('second_factors: [otp]'), 5, 'spec.second_factors', /does not support/],
    [
      'kind: cluster_auth_preference\nmetadata:\n  name: other\nspec: {}\n',
      3,
      'metadata.name',
      /must be cluster-auth-preference/,
    ],
    ['kind: cluster_auth_preference\nversion: v1\nspec: {}\n', 2, 'version', /must be v2/],
    [
      'kind: cluster_networking_config\nspec:\n  options: {client_idle_timeout: 5m}\n',
      3,
      'spec.options',
      /this resource has no options/,
    ],
    [
      'kind: cluster_networking_config\nspec:\n  keep_alive_interval: 5m\n',
      3,
      'spec.keep_alive_interval',
      /does not support/,
    ],
    [
      'kind: cluster_networking_config\nspec:\n  client_idle_timeout_message: x\n',
      3,
      'spec.client_idle_timeout_message',
      /idle_timeout_message/,
    ],
    [
      'kind: cluster_networking_config\nspec: {disconnect_expired_cert: yes}\n',
      2,
      'spec.disconnect_expired_cert',
      /cluster_auth_preference/,
    ],
    ['kind: role\nversion: v9\nmetadata: {name: x}\n', 2, 'version', /must be one of v3, v4, v5, v6, v7, v8, not "v9"/],
    ['kind: role\nversion: 7\nmetadata: {name: x}\n', 2, 'version', /must be one of/],
    ['kind: role\nversion: v2\nmetadata: {name: x}\n', 2, 'version', /must be one of/],
    ['kind: role\nversion: v7\nspec: {}\n', 1, 'metadata', /is missing/],
    ['kind: role\nversion: v7\nmetadata: {}\n', 3, 'metadata.name', /is missing/],
    ['kind: role\nversion: v7\nmetadata: {name: ""}\n', 3, 'metadata.name', /must not be empty/],
    ['kind: role\nversion: v7\nmetadata: {name: a/b}\n', 3, 'metadata.name', /slash/],
    ['kind: role\nversion: v7\nmetadata: {name: "a\\e[31m"}\n', 3, 'metadata.name', /control character/],
    [
      'kind: role\nversion: v7\nmetadata: {name: a}\nspec: {allow: {logins: [root, "a\\ud800"]}}\n',
      4,
      'spec.allow.logins[1]',
      /half a character/,
    ],
    [
      'kind: user\nversion: v2\nmetadata: {name: a}\nspec: {traits: {logins: ["\\udc00a"]}}\n',
      4,
      'spec.traits.logins[0]',
      /half a character/,
    ],
    ['kind: role\nversion: v7\nmetadata: {name: "a\\u202eb"}\n', 3, 'metadata.name', /control character/],
    ['kind: role\nversion: v7\nmetadata: {name: x, expires: soon}\n', 3, 'metadata.expires', /expected a time/],
    ['kind: role\nversion: v7\nmetadata: {name: x, lables: {}}\n', 3, 'metadata.lables', /did you mean labels/],
    ['kind: role\nversion: v7\nmetadata: {name: x, namespace: other}\n', 3, 'metadata.namespace', /does not support/],
    [role('client_idle_timeout: 5m'), 6, 'spec.client_idle_timeout', /belongs in spec.options/],
    [role('options: {client_idle_timeout: 5}'), 6, 'spec.options.client_idle_timeout', /missing unit/],
    [role('options: {idle_timeout_message: x}'), 6, 'spec.options.idle_timeout_message', /cluster_networking_config/],
    [role('options: {permit_x11_forwarding: yes}'), 6, 'spec.options.permit_x11_forwarding', /not supported/],
    [role('options: {desktop_directory_sharing: true}'), 6, 'spec.options.desktop_directory_sharing', /not supported/],
    [role('options: {max_sessions: 1.5}'), 6, 'spec.options.max_sessions', /whole number/],
    [role('options: {max_sessions: -1}'), 6, 'spec.options.max_sessions', /at least 0/],
    [role('options: {max_sessions: "5"}'), 6, 'spec.options.max_sessions', /expected a number/],
    [role('options: {record_session: {default: strict}}'), 6, 'spec.options.record_session', /does not support/],
    [role('options: {lock: lax}'), 6, 'spec.options.lock', /must be one of best_effort, strict/],
    [role('options: {kubernetes_exec_cleanup: kill}'), 6, 'spec.options.kubernetes_exec_cleanup', /none, hangup/],
    [
      role('options: {ssh_port_forwarding: {local: yes}}'),
      6,
      'spec.options.ssh_port_forwarding.local',
      /expected a mapping/,
    ],
    [role('logins: [root]'), 6, 'spec.logins', /belongs in spec.allow.logins/],
    [role('alow: {logins: [root]}'), 6, 'spec.alow', /did you mean allow/],
    [role("allow: {logins: ['*']}"), 6, 'spec.allow.logins[0]', /'\*' is not allowed here/],
    [role('allow: {logins: {a: b}}'), 6, 'spec.allow.logins', /expected a list/],
    [role('allow: {logins: [1]}'), 6, 'spec.allow.logins[0]', /put it in quotes/],
    [role("allow: {logins: ['{{user.x}}']}"), 6, 'spec.allow.logins[0]', /unknown kind user/],
    [role("allow: {logins: ['{{internal.x']}"), 6, 'spec.allow.logins[0]', /not closed/],
    [role("allow: {node_labels: {'*': dev}}"), 6, 'spec.allow.node_labels.*', /goes with the value '\*' only/],
    [role("allow: {node_labels: {env: '^(a+)+$'}}"), 6, 'spec.allow.node_labels.env[0]', /could take forever/],
    [role("allow: {node_labels: {env: '^($'}}"), 6, 'spec.allow.node_labels.env[0]', /cannot be|can be read/],
    [role('allow: {node_labels: [env]}'), 6, 'spec.allow.node_labels', /expected a mapping/],
    [role('allow: {node_labels_expression: x}'), 6, 'spec.allow.node_labels_expression', /does not support/],
    [role("allow: {app_labels: {'*': '*'}}"), 6, 'spec.allow.app_labels', /does not support/],
    [role('allow: {options: {client_idle_timeout: 5m}}'), 6, 'spec.allow.options', /belongs in spec.options/],
    [role('allow:\n    rules:\n    - resources: [role]'), 8, 'spec.allow.rules[0].verbs', /is missing/],
    [
      role('allow: {rules: [{resources: [role], verbs: [read], where: x}]}'),
      6,
      'spec.allow.rules[0].where',
      /does not support/,
    ],
    [
      role('allow: {kubernetes_resources: [{kind: widget, namespace: a, name: b, verbs: [get]}]}'),
      6,
      'spec.allow.kubernetes_resources[0].kind',
      /must be one of/,
    ],
    [
      role("allow: {kubernetes_resources: [{kind: pod, name: b, verbs: ['*']}]}"),
      6,
      'spec.allow.kubernetes_resources[0].namespace',
      /is missing/,
    ],
    [
      role('allow: {kubernetes_resources: [{kind: pod, namespace: a, name: b}]}'),
      6,
      'spec.allow.kubernetes_resources[0].verbs',
      /is missing/,
    ],
    [
      role('allow: {kubernetes_resources: [{kind: pod, namespace: a, name: b, verbs: [look]}]}'),
      6,
      'spec.allow.kubernetes_resources[0].verbs[0]',
      /must be one of/,
    ],
    [
      'kind: role\nversion: v8\nmetadata: {name: x}\nspec: {allow: {kubernetes_resources: [{kind: pod, namespace: a, name: b, verbs: [get]}]}}\n',
      4,
      'spec.allow.kubernetes_resources[0].kind',
      /calls it pods/,
    ],
    ['kind: user\nmetadata: {name: a}\nspec: {roles: {a: b}}\n', 3, 'spec.roles', /expected a list/],
    ['kind: user\nmetadata: {name: a}\nspec: {logins: [a]}\n', 3, 'spec.logins', /belongs in spec.traits.logins/],
    ['kind: user\nmetadata: {name: a}\nspec: {traits: {logins: {}}}\n', 3, 'spec.traits.logins', /expected a list/],
    ['kind: node\nspec: {hostname: a}\n', 2, 'spec.addr', /where does the SSH server listen/],
    ['kind: node\nspec: {addr: "a:22"}\n', 2, 'spec.hostname', /is missing/],
    ['kind: node\nspec: {hostname: a, addr: "a:0"}\n', 2, 'spec.addr', /expected HOST:PORT/],
    ['kind: node\nspec: {hostname: a, addr: "a:22", host_keys: [abc]}\n', 2, 'spec.host_keys', /expected public keys/],
    [
      'kind: node\nsub_kind: openssh-ec2-ice\nspec: {hostname: a, addr: "a:22"}\n',
      2,
      'sub_kind',
      /must be one of openssh, teleport/,
    ],
    ['kind: db\nmetadata: {name: a}\nspec: {protocol: mongodb, uri: "a:1"}\n', 3, 'spec.protocol', /must be one of/],
    [
      'kind: db\nmetadata: {name: a}\nspec: {protocol: mysql, uri: "a:1", aws: {region: x}}\n',
      3,
      'spec.aws',
      /does not support/,
    ],
    ['kind: kube_cluster\nmetadata: {name: a}\nspec: {}\n', 3, 'spec', /needs exactly one of/],
    ['kind: windows_desktop\nmetadata: {name: a}\nspec: {protocol: rdp}\n', 3, 'spec.addr', /is missing/],
    ['kind: lock\nmetadata: {name: a}\nspec: {target: {}}\n', 3, 'spec.target', /names nothing/],
    ['kind: lock\nmetadata: {name: a}\nspec: {user: x}\n', 3, 'spec.user', /belongs in spec.target.user/],
    ['kind: lock\nmetadata: {name: a}\nspec: {target: {user: x}, expires: 5m}\n', 3, 'spec.expires', /expected a time/],
    ['kind: cap\nspec: {}\n', 1, 'kind', /did you mean cluster_auth_preference/],
    ['kind: rol\n', 1, 'kind', /did you mean role/],
    ['kind: app\n', 1, 'kind', /unknown kind "app": one of/],
    ['version: v3\n', 1, '', /kind is missing/],
    ['kind: [role]\n', 1, 'kind', /expected text, not a list/],
    ['- kind: role\n', 1, '', /expected a resource/],
    ['', 1, '', /holds no resource/],
    ['---\n---\n', 1, '', /holds no resource/],
    [`${role('options: {}')}---\nkind: role\nversion: v1\nmetadata: {name: y}\n`, 9, 'version', /must be one of/],
    ['{"kind": "role",\n "version": "v7",\n "metadata": {"name": 5}}', 3, 'metadata.name', /put it in quotes/],
  ];
  for (const [text, line, key, says] of cases) {
    test(`${JSON.stringify(text.slice(0, 100))} → line ${line}, ${key}`, () => {
      assert.throws(
        () => readResources(text, 'r.yaml'),
        (error: unknown) => {
          assert.ok(error instanceof ConfigError, String(error));
          const problem = error.problems.find((one) => keyText(one.path) === key);
          assert.ok(problem, `no problem with ${key}: ${error.message}`);
          assert.match(problem.text, says);
          assert.equal(problem.line, line);
          return true;
        },
      );
    });
  }
});

test('messages carry nothing that a terminal acts on, and stay short', () => {
  const key = `\u001b[31m\u202e${'x'.repeat(100_000)}`;
  for (const text of [
    `${JSON.stringify(key)}: 1`,
    `kind: ${JSON.stringify(key)}`,
    `kind: !${'y'.repeat(5000)} x`,
    `kind: *${'z'.repeat(5000)}`,
  ]) {
    assert.throws(
      () => readResources(text, 'r.yaml'),
      (error: unknown) => {
        const { message } = error as Error;
        assert.ok(message.length < 600, `${message.length}`);
        assert.doesNotMatch(message, /[\p{Cc}\p{Cf}]/u);
        return true;
      },
    );
  }
});
