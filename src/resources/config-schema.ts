import { z } from 'zod';
import { lockingMode, secondFactor, UNSUPPORTED_AUTHENTICATION } from './cluster-auth-preference.ts';
import { activityMode } from './cluster-networking-config.ts';
import * as unsupported from './config-unsupported.ts';
import { databaseSpecShape, UNSUPPORTED_DATABASE } from './database.ts';
import {
  describe,
  doc,
  duration,
  flag,
  type KeyNotes,
  line,
  listenAddr,
  listOf,
  mapping,
  nonEmptyLine,
  paragraph,
  positiveDuration,
  resourceName,
  staticLabels,
} from './fields.ts';
import { desktopSpecShape } from './windows-desktop.ts';

/** A service that is off unless its section is written; then it is on unless `enabled: no` stands in it. */
function service<Shape extends z.ZodRawShape>(shape: Shape, notes: KeyNotes) {
  const section = mapping(
    { enabled: doc(flag, 'Whether it runs.', { default: 'yes where the section is written' }).default(true), ...shape },
    notes,
  );
  return z.preprocess((value) => value ?? { enabled: false }, section).prefault({ enabled: false } as never);
}

/** A part of the daemon that always runs: the section may say so. */
const alwaysOn = doc(flag, 'Always yes: one daemon is all services.', { default: 'yes' })
  .refine((value) => value, { message: 'cannot be switched off: remove the key' })
  .default(true);

const publicAddr = nonEmptyLine.refine((text) => /^(?:\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+)(?::\d{1,5})?$/.test(text), {
  message: 'expected HOST or HOST:PORT, without https://',
});

const severity = z.preprocess(
  (value) =>
    typeof value === 'string'
      ? value
          .toLowerCase()
          .replace(/^warning$/, 'warn')
          .replace(/^err$/, 'error')
      : value,
  z.enum(['debug', 'info', 'warn', 'error']),
);

const teleport = mapping(
  {
    nodename: doc(resourceName, 'Name of this machine; the embedded node goes by it.', {
      default: "the machine's host name",
    }).optional(),
    data_dir: doc(nonEmptyLine, 'Where everything is kept.', { default: '/var/lib/nightlatch' }).default(
      '/var/lib/nightlatch',
    ),
    log: doc(
      mapping(
        {
          severity: doc(severity, '`debug`, `info`, `warn` or `error`.', { default: 'info' }).default('info'),
          output: doc(
            nonEmptyLine.refine((text) => text !== 'syslog', {
              message: 'syslog is not supported: write stderr, stdout or a file',
            }),
            '`stderr`, `stdout` or a file.',
            { default: 'stderr' },
          ).default('stderr'),
          format: doc(
            mapping(
              { output: doc(z.enum(['text', 'json']), '`text` or `json`.', { default: 'text' }).default('text') },
              { unsupported: { extra_fields: [] } },
            ),
            'How lines look.',
          ).prefault({}),
        },
        { misplaced: { level: 'teleport.log.severity', file: 'teleport.log.output' } },
      ),
      'The operator’s log.',
    ).prefault({}),
    storage: doc(
      mapping(
        {
          type: doc(
            z.unknown().transform((value, ctx): 'sqlite' => {
              if (value === 'sqlite') return value;
              ctx.addIssue({ code: 'custom', message: `the only store here is sqlite, not ${describe(value)}` });
              return z.NEVER;
            }),
            'The store: `sqlite`.',
            { type: 'text', default: 'sqlite' },
          ).default('sqlite'),
        },
        {
          unsupported: {
            addr: [],
            audit_events_uri: [],
            audit_sessions_uri: [],
            auth_conn_params: [],
            change_feed_conn_string: [],
            conn_string: [],
            journal: [],
            path: [],
            peers: [],
            poll_stream_period: [],
            prefix: [],
            region: [],
            sync: [],
            table_name: [],
            tls_ca_file: [],
            tls_cert_file: [],
            tls_key_file: [],
          },
        },
      ),
      'Where resources are kept.',
    ).prefault({}),
    diag_addr: doc(listenAddr, 'Address for `/metrics` and `/readyz`.', { default: 'off' }).optional(),
  },
  { unsupported: unsupported.UNSUPPORTED_TELEPORT },
);

const authentication = mapping(
  {
    type: doc(z.literal('local'), 'Where users are kept; `local` only.', { default: 'local' }).default('local'),
    second_factor: doc(secondFactor, 'Second factor at login: `off`, `otp`, `webauthn`, or `on` for one of the two.', {
      default: 'on',
    }).default('on'),
    webauthn: doc(
      mapping(
        {
          rp_id: doc(nonEmptyLine, 'Domain that security keys are bound to.', {
            default: 'host part of the public address',
          }),
        },
        { unsupported: { attestation_allowed_cas: [], attestation_denied_cas: [], disabled: [false] } },
      ),
      'Settings for security keys and passkeys.',
    ).optional(),
    default_session_ttl: doc(positiveDuration, 'How long a login lasts, unless a role says less.', {
      default: '12h0m0s',
    }).optional(),
    locking_mode: doc(lockingMode, 'What to do when locks cannot be known to be current.', {
      default: 'best_effort',
    }).optional(),
  },
  {
    unsupported: UNSUPPORTED_AUTHENTICATION,
    misplaced: {
      client_idle_timeout: 'auth_service.client_idle_timeout',
      disconnect_expired_cert: 'auth_service.disconnect_expired_cert',
    },
  },
);

const authService = mapping(
  {
    enabled: alwaysOn,
    cluster_name: doc(resourceName, 'Name of the cluster; it stands in certificates, so it is not changed later.', {
      default: 'nightlatch',
    }).default('nightlatch'),
    client_idle_timeout: doc(duration, 'End a session after this long without activity; `never` or `0`: no limit.', {
      default: 'never',
    }).optional(),
    client_idle_timeout_message: doc(
      paragraph,
      "The administrator's own words, shown when a session ends for idleness.",
    ).optional(),
    client_idle_warning: doc(duration, 'How long before the end the user is warned; `never` or `0`: no warning.', {
      default: '1m0s, at most a quarter of the timeout (one that is set: at most half)',
    }).optional(),
    client_idle_activity: doc(activityMode, 'What counts as activity: `input`, `auto` or `traffic`.', {
      default: 'auto',
    }).optional(),
    web_idle_timeout: doc(duration, 'Sign a browser out after this long without activity; `never` or `0`: no limit.', {
      default: 'never',
    }).optional(),
    disconnect_expired_cert: doc(flag, 'End sessions when the certificate they began with expires.', {
      default: 'no',
    }).optional(),
    authentication: doc(authentication, 'How people sign in.').optional(),
  },
  {
    unsupported: unsupported.UNSUPPORTED_AUTH,
    misplaced: {
      idle_timeout_message:
        'auth_service.client_idle_timeout_message (the shorter name is that of cluster_networking_config)',
      locking_mode: 'auth_service.authentication.locking_mode',
      second_factor: 'auth_service.authentication.second_factor',
      type: 'auth_service.authentication.type',
    },
  },
);

const listener = (what: string, port: number) =>
  doc(listenAddr, `Where ${what} is served, such as \`0.0.0.0:${port}\`.`, { default: 'off' }).optional();

const proxyService = mapping(
  {
    enabled: alwaysOn,
    web_listen_addr: doc(listenAddr, 'The one public port: web application, API, and everything `tsh` does.', {
      default: '0.0.0.0:3080',
    }).default('0.0.0.0:3080'),
    public_addr: doc(listOf(publicAddr), 'Names under which people reach it, the first one for links.', {
      type: 'list of host:port',
      default: 'nodename and the port of web_listen_addr',
    }).default([]),
    https_keypairs: doc(
      z.array(
        mapping({
          key_file: doc(nonEmptyLine, 'Private key, PEM.'),
          cert_file: doc(nonEmptyLine, 'Certificate chain, PEM.'),
        }),
      ),
      'Certificates for the public port: for each name that is asked for, the first that has it, else the first.',
      { default: 'one signed by the cluster itself' },
    ).default([]),
    ssh_listen_addr: listener('SSH for `ssh -J`', 3023),
    listen_addr: doc(listenAddr, 'As `ssh_listen_addr`, by its name in teleport.yaml.', { default: 'off' }).optional(),
    postgres_listen_addr: listener('PostgreSQL', 5432),
    mysql_listen_addr: listener('MySQL', 3036),
    redis_listen_addr: listener('Redis', 6379),
    kube_listen_addr: listener('Kubernetes', 3026),
  },
  {
    unsupported: unsupported.UNSUPPORTED_PROXY,
    misplaced: {
      key_file: 'proxy_service.https_keypairs[].key_file',
      cert_file: 'proxy_service.https_keypairs[].cert_file',
      https_key_file: 'proxy_service.https_keypairs[].key_file',
      https_cert_file: 'proxy_service.https_keypairs[].cert_file',
    },
  },
);

const sshService = service(
  { labels: doc(staticLabels, 'Labels of the node that the daemon itself is.').default({}) },
  { unsupported: unsupported.UNSUPPORTED_SSH },
);

const dbService = service(
  {
    databases: doc(
      z.array(
        mapping(
          {
            name: doc(resourceName, 'Name, unique among databases.'),
            description: doc(line, 'Free text.').optional(),
            ...databaseSpecShape,
            static_labels: doc(staticLabels, 'Labels, which roles select by.').default({}),
          },
          {
            unsupported: UNSUPPORTED_DATABASE,
            misplaced: {
              ca_cert_file: 'tls.ca_cert_file of the database',
              labels: 'static_labels of the database',
              password_file: 'auth.password_file of the database',
            },
          },
        ),
      ),
      'Databases, besides those that are `db` resources.',
    ).default([]),
  },
  { unsupported: unsupported.UNSUPPORTED_DB_SERVICE },
);

const kubernetesService = service(
  {
    kubeconfig_file: doc(nonEmptyLine, 'A kubeconfig.', { default: 'the service account of the pod' }).optional(),
    kube_cluster_name: doc(resourceName, 'Name of the cluster.', {
      default: 'the names of all contexts in the file',
    }).optional(),
    labels: doc(staticLabels, 'Labels, which roles select by.').default({}),
  },
  { unsupported: unsupported.UNSUPPORTED_KUBE_SERVICE },
);

const desktopService = service(
  {
    static_hosts: doc(
      z.array(
        mapping(
          {
            name: doc(resourceName, 'Name, unique among desktops.'),
            ...desktopSpecShape,
            labels: doc(staticLabels, 'Labels, which roles select by.').default({}),
          },
          { unsupported: { ad: [false, 'no'] } },
        ),
      ),
      'Desktops, besides those that are `windows_desktop` resources.',
    ).default([]),
  },
  { unsupported: unsupported.UNSUPPORTED_DESKTOP_SERVICE },
);

/** The daemon's configuration file, with teleport.yaml's keys. */
export const configSchema = mapping(
  {
    version: doc(z.enum(['v1', 'v2', 'v3']), 'Version of the file; they do not differ here.', {
      default: 'v3',
    }).default('v3'),
    teleport: doc(teleport, 'The daemon itself.').prefault({}),
    auth_service: doc(authService, 'Users, certificates and the cluster-wide idle policy.').prefault({}),
    proxy_service: doc(proxyService, 'Where clients connect.').prefault({}),
    ssh_service: doc(
      sshService,
      'The node inside the daemon: shells as the daemon’s own user; under root, as the login that the roles allow.',
    ),
    db_service: doc(dbService, 'Databases.'),
    kubernetes_service: doc(kubernetesService, 'Kubernetes clusters.'),
    windows_desktop_service: doc(desktopService, 'Desktops.'),
  },
  {
    unsupported: unsupported.UNSUPPORTED_TOP,
    misplaced: { nodename: 'teleport.nodename', data_dir: 'teleport.data_dir' },
  },
).superRefine((config, ctx) => {
  const refuse = (path: (string | number)[], message: string) => ctx.addIssue({ code: 'custom', path, message });
  const { proxy_service: proxy, kubernetes_service: kube } = config;
  if (proxy.listen_addr !== undefined && proxy.ssh_listen_addr !== undefined) {
    refuse(['proxy_service', 'listen_addr'], 'is the same as ssh_listen_addr: write one of them');
  }
  if (kube.enabled && kube.kubeconfig_file === undefined && kube.kube_cluster_name === undefined) {
    refuse(
      ['kubernetes_service'],
      'needs kubeconfig_file, or kube_cluster_name for the cluster that the daemon runs in',
    );
  }
  twice(
    config.db_service.databases.map((one) => one.name),
    (at) => refuse(['db_service', 'databases', at, 'name'], 'is the name of another database already: choose another'),
  );
  twice(
    config.windows_desktop_service.static_hosts.map((one) => one.name),
    (at) =>
      refuse(
        ['windows_desktop_service', 'static_hosts', at, 'name'],
        'is the name of another desktop already: choose another',
      ),
  );
  const listeners = [
    ['proxy_service', 'web_listen_addr', proxy.web_listen_addr],
    ['proxy_service', 'ssh_listen_addr', proxy.ssh_listen_addr],
    ['proxy_service', 'listen_addr', proxy.listen_addr],
    ['proxy_service', 'postgres_listen_addr', proxy.postgres_listen_addr],
    ['proxy_service', 'mysql_listen_addr', proxy.mysql_listen_addr],
    ['proxy_service', 'redis_listen_addr', proxy.redis_listen_addr],
    ['proxy_service', 'kube_listen_addr', proxy.kube_listen_addr],
    ['teleport', 'diag_addr', config.teleport.diag_addr],
  ] as const;
  const used = listeners.filter(([, , addr]) => addr !== undefined && !addr.endsWith(':0'));
  twice(
    used.map(([, , addr]) => addr!),
    (at) => refuse([used[at]![0], used[at]![1]], 'is the address of another listener already: choose another port'),
  );
});

function twice(names: readonly string[], report: (at: number) => void): void {
  for (const [at, name] of names.entries()) if (names.indexOf(name) < at) report(at);
}
