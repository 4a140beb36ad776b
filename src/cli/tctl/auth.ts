import { existsSync } from 'node:fs';
import { NightlatchError } from '../../core/errors.ts';
import type { CertificatesResponse, PingResponse } from '../../wire/api/messages.ts';
import { parseAddress } from '../common/address.ts';
import type { ApiClient } from '../common/api-client.ts';
import { writeFileAtomic } from '../common/files.ts';
import { formatIdentityFile } from '../common/identity-file.ts';
import { generateKeyPair } from '../common/key-pair.ts';
import { machineKubeconfig } from '../common/kubeconfig.ts';
import { parseDurationOption, warnIfShorter } from '../common/lifetime.ts';
import { commaList } from '../common/program.ts';

export const SIGN_FORMATS = ['file', 'openssh', 'db', 'kubernetes', 'tls'] as const;

export interface SignOptions {
  readonly user?: string;
  readonly host?: string;
  readonly out: string;
  readonly format: (typeof SIGN_FORMATS)[number];
  readonly ttl: string;
  readonly overwrite: boolean;
  readonly kubeClusterName?: string;
  readonly proxy?: string;
}

/** `tctl auth sign`: identities for machines and for databases. */
export async function sign(api: ApiClient, options: SignOptions): Promise<void> {
  const ttlMs = parseDurationOption('--ttl', options.ttl);
  if (ttlMs <= 0) throw new NightlatchError('bad_parameter', '--ttl must be longer than zero');
  const files = await signed(api, options, ttlMs);
  const there = files.find(([path]) => existsSync(path));
  if (there !== undefined && !options.overwrite) {
    throw new NightlatchError('already_exists', `${there[0]} exists; pass --overwrite to replace it`);
  }
  for (const [path, content] of files) writeFileAtomic(path, content);
  const names = files.map(([path]) => path).join(', ');
  process.stdout.write(`\nThe credentials have been written to ${names}\n${advice(options)}`);
}

/** The files to write. Nothing is written before all of it is there. */
async function signed(
  api: ApiClient,
  options: SignOptions,
  ttlMs: number,
): Promise<readonly (readonly [path: string, content: string])[]> {
  const { out, format } = options;
  if (format === 'db') {
    if (options.host === undefined)
      throw new NightlatchError('bad_parameter', 'missing --host: the names of the database server');
    const body = { hosts: commaList(options.host), ttlMs };
    const answer = await api.post<{ keyPem: string; certPem: string; ca: string }>('/v1/auth/sign/database', body);
    return [
      [`${out}.key`, answer.keyPem],
      [`${out}.crt`, answer.certPem],
      [`${out}.cas`, answer.ca],
    ];
  }
  if (format === 'openssh' && options.host !== undefined) return signHost(api, options, commaList(options.host), ttlMs);
  if (options.user === undefined) throw new NightlatchError('bad_parameter', 'missing --user');
  const keys = generateKeyPair();
  const answer = await api.post<CertificatesResponse>('/v1/auth/sign/user', {
    user: options.user,
    ttlMs,
    ...(format === 'tls' || format === 'kubernetes' ? {} : { sshPublicKey: keys.sshPublicKey }),
    ...(format === 'openssh' ? {} : { tlsPublicKey: keys.tlsPublicKey }),
    ...(format === 'kubernetes' && options.kubeClusterName !== undefined
      ? { route: { kind: 'kube_cluster', name: options.kubeClusterName } }
      : {}),
  });
  warnIfShorter(ttlMs, answer.expiresAtMs);
  const tls = () => needed(answer.tls, 'TLS certificate');
  const ssh = () => needed(answer.ssh, `SSH certificate: the roles of ${options.user} allow no login`);
  switch (format) {
    case 'file':
      return [
        [
          out,
          formatIdentityFile({
            privateKey: keys.privatePem,
            sshCertificate: ssh(),
            tlsCertificate: tls(),
            clusterName: answer.clusterName,
            sshHostCa: answer.cas.sshHostCa,
            tlsHostCa: answer.cas.tlsHostCa,
          }),
        ],
      ];
    case 'openssh':
      return [
        [out, keys.privatePem],
        [`${out}-cert.pub`, `${ssh().trim()}\n`],
      ];
    case 'tls':
      return [
        [`${out}.key`, keys.privatePem],
        [`${out}.crt`, tls()],
        [`${out}.cas`, answer.cas.tlsHostCa],
      ];
    case 'kubernetes': {
      const ping = await api.get<PingResponse>('/v1/ping');
      const { host, port } = parseAddress(options.proxy ?? ping.publicAddr);
      // The public port knows Kubernetes by this name, which its certificate carries.
      const endpoint = { host, port, serverName: `kube.${answer.clusterName}`, ca: answer.cas.tlsHostCa };
      const identity = { user: answer.user, cert: tls(), key: keys.privatePem };
      return [[out, machineKubeconfig(options.kubeClusterName ?? answer.clusterName, endpoint, identity)]];
    }
  }
}

async function signHost(api: ApiClient, options: SignOptions, hosts: string[], ttlMs: number) {
  const keys = generateKeyPair();
  const body = { hosts, ttlMs, sshPublicKey: keys.sshPublicKey };
  const { certificate } = await api.post<{ certificate: string }>('/v1/auth/sign/host', body);
  return [
    [options.out, keys.privatePem],
    [`${options.out}-cert.pub`, `${certificate.trim()}\n`],
  ] as const;
}

function needed(value: string | undefined, what: string): string {
  if (value === undefined) throw new NightlatchError('bad_parameter', `the server sent no ${what}`);
  return value;
}

function advice(options: SignOptions): string {
  if (options.format === 'file') return '';
  if (options.format === 'db') {
    return (
      '\nFor PostgreSQL, in postgresql.conf:\n' +
      `  ssl = on\n  ssl_cert_file = '${options.out}.crt'\n  ssl_key_file = '${options.out}.key'\n  ssl_ca_file = '${options.out}.cas'\n` +
      'and in pg_hba.conf:\n  hostssl all all ::/0 cert\n  hostssl all all 0.0.0.0/0 cert\n'
    );
  }
  return '';
}

/** `tctl auth export`: what a target must trust. */
export async function exportAuthority(api: ApiClient, type: string): Promise<void> {
  process.stdout.write(await api.getText(`/v1/auth/export?type=${encodeURIComponent(type)}`));
}
