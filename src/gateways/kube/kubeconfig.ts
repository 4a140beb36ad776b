import { readFile } from 'node:fs/promises';
import { dirname, isAbsolute, join } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import { errorMessage, NightlatchError } from '../../core/errors.ts';
import { Secret } from '../../core/secret.ts';
import type { KubeCluster } from '../../resources/index.ts';

/** Where a pod finds its service account. */
const SERVICE_ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';

/** How an API server is reached and who the gateway is there. */
export interface KubeEndpoint {
  /** `https://host:port`, without a path. */
  readonly origin: string;
  /** Path before every API path (behind some proxies); '' for none, else `/x`. */
  readonly basePath: string;
  /** PEM of the CAs that the server's certificate is checked against; undefined for the system's. */
  readonly ca: string | undefined;
  /** Name in the server's certificate where it is not the host. */
  readonly serverName: string | undefined;
  readonly clientCert: { readonly certPem: string; readonly keyPem: Secret<string> } | undefined;
  readonly token: Secret<string> | undefined;
  /** A file with a token that is renewed there (service accounts). */
  readonly tokenFile: string | undefined;
}

const text = z.string().min(1);
const named = <T extends z.ZodType>(key: string, value: T) => z.array(z.object({ name: text, [key]: value }));

const kubeconfigSchema = z.object({
  'current-context': z.string().optional(),
  contexts: named('context', z.object({ cluster: text, user: text.optional() })).default([]),
  clusters: named(
    'cluster',
    z.object({
      server: text,
      'certificate-authority': text.optional(),
      'certificate-authority-data': text.optional(),
      'tls-server-name': text.optional(),
      'insecure-skip-tls-verify': z.boolean().optional(),
      'proxy-url': text.optional(),
    }),
  ).default([]),
  users: named(
    'user',
    z.looseObject({
      token: text.optional(),
      tokenFile: text.optional(),
      'client-certificate': text.optional(),
      'client-certificate-data': text.optional(),
      'client-key': text.optional(),
      'client-key-data': text.optional(),
      username: text.optional(),
      password: text.optional(),
    }),
  ).default([]),
});

/**
 * Reads how a registered cluster is reached.
 * @throws {NightlatchError} `bad_parameter` for what is wrong in the kubeconfig, `unavailable` where a file cannot be read.
 */
export async function loadEndpoint(cluster: KubeCluster): Promise<KubeEndpoint> {
  const { spec } = cluster;
  if (spec.in_cluster === true) return inClusterEndpoint();
  if (spec.kubeconfig_file !== undefined) {
    const content = await readText(spec.kubeconfig_file);
    return endpointOf(content, spec.context, spec.kubeconfig_file, dirname(spec.kubeconfig_file));
  }
  const content = Buffer.from(spec.kubeconfig ?? '', 'base64').toString('utf8');
  return endpointOf(content, spec.context, `kubeconfig of kube_cluster "${cluster.metadata.name}"`, undefined);
}

/** The service account of the pod that the daemon runs in (Kubernetes: "Accessing the API from a Pod"). */
async function inClusterEndpoint(): Promise<KubeEndpoint> {
  const host = process.env['KUBERNETES_SERVICE_HOST'];
  const port = process.env['KUBERNETES_SERVICE_PORT'] ?? '443';
  if (host === undefined)
    throw new NightlatchError(
      'bad_parameter',
      'in_cluster: the daemon runs in no pod (KUBERNETES_SERVICE_HOST is not set)',
    );
  return {
    origin: `https://${host.includes(':') ? `[${host}]` : host}:${port}`,
    basePath: '',
    ca: await readText(`${SERVICE_ACCOUNT}/ca.crt`),
    serverName: undefined,
    clientCert: undefined,
    token: undefined,
    tokenFile: `${SERVICE_ACCOUNT}/token`,
  };
}

/**
 * The names of all contexts of a kubeconfig file: each is a cluster where `kubernetes_service` names none.
 * @throws {NightlatchError} `bad_parameter` naming the file and what is wrong with it.
 */
export async function contextNames(path: string): Promise<string[]> {
  const { contexts } = parseKubeconfig(await readText(path), path);
  const names = contexts.flatMap(({ name }) => (typeof name === 'string' ? [name] : []));
  if (names.length === 0) throw new NightlatchError('bad_parameter', `${path}: it has no contexts`);
  return names;
}

function parseKubeconfig(content: string, source: string): z.infer<typeof kubeconfigSchema> {
  const wrong = (message: string): NightlatchError => new NightlatchError('bad_parameter', `${source}: ${message}`);
  let value: unknown;
  try {
    // Without the lines themselves: messages go to people who may not read the file.
    value = parse(content, { prettyErrors: false, logLevel: 'error' });
  } catch (error) {
    throw wrong(errorMessage(error));
  }
  const parsed = kubeconfigSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw wrong(`${issue!.path.join('.')}: ${issue!.message}`);
}

/** @param folder - what relative paths in it are relative to; undefined where it may name no files. */
async function endpointOf(
  content: string,
  contextName: string | undefined,
  source: string,
  folder: string | undefined,
): Promise<KubeEndpoint> {
  const wrong = (message: string): NightlatchError => new NightlatchError('bad_parameter', `${source}: ${message}`);
  const config = parseKubeconfig(content, source);
  const name = contextName ?? config['current-context'];
  if (name === undefined || name === '') throw wrong('it has no current-context and none is chosen');
  const context = config.contexts.find((one) => one['name'] === name)?.['context'] as
    | { cluster: string; user?: string }
    | undefined;
  if (context === undefined) throw wrong(`there is no context "${name}"`);
  const cluster = config.clusters.find((one) => one['name'] === context.cluster)?.['cluster'] as
    | ClusterEntry
    | undefined;
  if (cluster === undefined) throw wrong(`there is no cluster "${context.cluster}"`);
  const user = (config.users.find((one) => one['name'] === context.user)?.['user'] ?? {}) as UserEntry;
  if (context.user !== undefined && !config.users.some((one) => one['name'] === context.user))
    throw wrong(`there is no user "${context.user}"`);

  if (cluster['insecure-skip-tls-verify'] === true)
    throw wrong('insecure-skip-tls-verify is not supported: name the CA (certificate-authority)');
  if (cluster['proxy-url'] !== undefined) throw wrong('proxy-url is not supported');
  for (const key of ['exec', 'auth-provider', 'username', 'password', 'as', 'as-groups', 'as-uid', 'as-user-extra']) {
    if (user[key] !== undefined)
      throw wrong(`user "${context.user}": ${key} is not supported: use token, tokenFile or a client certificate`);
  }
  let server: URL;
  try {
    server = new URL(cluster.server);
  } catch {
    throw wrong(`server ${JSON.stringify(cluster.server)} is no URL`);
  }
  if (server.protocol !== 'https:') throw wrong('server must be an https URL');

  const data = async (entry: Record<string, unknown>, key: string): Promise<string | undefined> => {
    const inline = entry[`${key}-data`];
    if (typeof inline === 'string') return Buffer.from(inline, 'base64').toString('utf8');
    const file = entry[key];
    return typeof file === 'string' ? readText(resolveFile(file)) : undefined;
  };
  const resolveFile = (file: string): string => {
    if (folder === undefined) throw wrong(`it is kept in the resource and must not name files (${file})`);
    return isAbsolute(file) ? file : join(folder, file);
  };
  const ca = await data(cluster, 'certificate-authority');
  const certPem = await data(user, 'client-certificate');
  const keyPem = await data(user, 'client-key');
  if ((certPem === undefined) !== (keyPem === undefined))
    throw wrong(`user "${context.user}": client-certificate and client-key go together`);
  return {
    origin: server.origin,
    basePath: server.pathname.replace(/\/+$/, ''),
    ca,
    serverName: cluster['tls-server-name'],
    clientCert: certPem === undefined || keyPem === undefined ? undefined : { certPem, keyPem: new Secret(keyPem) },
    token: user.token === undefined ? undefined : new Secret(user.token),
    // As in client-go, the file wins over a token beside it.
    tokenFile: user.tokenFile === undefined ? undefined : resolveFile(user.tokenFile),
  };
}

interface ClusterEntry extends Record<string, unknown> {
  readonly server: string;
  readonly 'tls-server-name'?: string;
  readonly 'proxy-url'?: string;
}

interface UserEntry extends Record<string, unknown> {
  readonly token?: string;
  readonly tokenFile?: string;
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new NightlatchError('unavailable', `${path} cannot be read: ${errorMessage(error)}`, { cause: error });
  }
}
