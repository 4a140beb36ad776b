import { z } from 'zod';
import { block, doc, flag, hostPort, mapping, nonEmptyLine } from './fields.ts';
import { metadata } from './metadata.ts';

/** How a target's certificate is checked; `disable`: no TLS. */
const databaseTls = mapping({
  mode: doc(
    z.enum(['verify-full', 'verify-ca', 'insecure', 'disable']),
    '`verify-full` (chain and name), `verify-ca` (chain), `insecure` (no check) or `disable` (no TLS).',
    { default: 'verify-full' },
  ).default('verify-full'),
  ca_cert: doc(block(65_536), 'PEM of the CA that the server is checked against.', {
    default: "the system's CAs",
  }).optional(),
  ca_cert_file: doc(nonEmptyLine, 'File with that PEM.').optional(),
  server_name: doc(nonEmptyLine, 'Name that the certificate must carry.', { default: 'the host of `uri`' }).optional(),
}).superRefine((tls, ctx) => {
  if (tls.ca_cert !== undefined && tls.ca_cert_file !== undefined) {
    ctx.addIssue({ code: 'custom', path: ['ca_cert_file'], message: 'stands beside ca_cert: write one of them' });
  }
});

/** How the gateway signs in to a database. */
const databaseAuth = mapping({
  password_file: doc(nonEmptyLine, 'File with the password the gateway signs in with.', {
    default: 'a certificate of the database CA',
  }),
});

/** What a database is made of, the same in the resource and in the configuration file. */
export const databaseSpecShape = {
  protocol: doc(z.enum(['postgres', 'mysql', 'redis']), 'Wire protocol; `mysql` for MariaDB too.'),
  uri: doc(hostPortOrUrl(), 'Where it listens: `HOST:PORT`; for Redis also `redis://HOST:PORT`.', {
    type: 'host:port',
  }),
  tls: doc(databaseTls, 'How the connection to it is protected.').default({ mode: 'verify-full' }),
  auth: doc(databaseAuth, 'How the gateway signs in, when not by certificate.').optional(),
  audit_queries: doc(flag, 'Whether statements are written to the audit log.', { default: 'yes' }).default(true),
};

export const UNSUPPORTED_DATABASE = {
  ad: [],
  admin_user: [],
  aws: [],
  azure: [],
  dynamic_labels: [],
  gcp: [],
  mongo_atlas: [],
  mysql: [],
  oracle: [],
} as const;

export const databaseSchema = mapping({
  kind: z.literal('db'),
  version: z.literal('v3').default('v3'),
  metadata,
  spec: mapping(databaseSpecShape, {
    unsupported: { ...UNSUPPORTED_DATABASE, ca_cert: [''] },
    misplaced: {
      static_labels: 'metadata.labels',
      ca_cert: 'spec.tls.ca_cert',
      password_file: 'spec.auth.password_file',
    },
  }),
});

/** A database, version v3. */
export type Database = z.infer<typeof databaseSchema>;

function hostPortOrUrl() {
  return z.preprocess(
    (value) =>
      typeof value === 'string'
        ? value.replace(/^(?:rediss?|postgres|postgresql|mysql):\/\//, '').replace(/\/$/, '')
        : value,
    hostPort,
  );
}
