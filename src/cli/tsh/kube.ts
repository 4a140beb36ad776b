import { realpathSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import type { Document } from 'yaml';
import { NightlatchError } from '../../core/errors.ts';
import { readIfThere, writeFileAtomic } from '../common/files.ts';
import { kubeCluster } from '../common/kubeconfig.ts';
import { printable, quoted } from '../common/output.ts';
import { fetchTargets } from '../common/targets.ts';
import { routedCertificate } from './routed-certificate.ts';
import { runInPlace } from './run.ts';
import { type GlobalOptions, openSignIn, type SignIn, withApi } from './sign-in.ts';
import { tshPath } from './ssh-config.ts';

/** `tsh kube login`: a context in the user's kubeconfig that asks tsh for its credentials. */
export async function kubeLogin(
  globals: GlobalOptions,
  cluster: string,
  options: { kubeNamespace?: string },
): Promise<void> {
  await withApi(globals, async (api, signIn) => {
    if (signIn.identityFile !== undefined) {
      throw new NightlatchError('bad_parameter', 'for an identity file use tctl auth sign --format=kubernetes');
    }
    if (!(await fetchTargets(api, 'kube-clusters')).some(({ name }) => name === cluster)) {
      throw new NightlatchError(
        'not_found',
        `kubernetes cluster ${quoted(cluster)} not found, check 'tsh kube ls' for a list of known clusters`,
      );
    }
    await routedCertificate(api, signIn, { kind: 'kube_cluster', name: cluster });
    const name = entryName(signIn, cluster);
    await editKubeconfig((config) => {
      upsert(config, 'clusters', { name, cluster: kubeCluster(endpointOf(signIn)) });
      upsert(config, 'users', { name, user: { exec: execPlugin(signIn, cluster) } });
      const namespace = options.kubeNamespace === undefined ? {} : { namespace: options.kubeNamespace };
      upsert(config, 'contexts', { name, context: { cluster: name, user: name, ...namespace } });
      config.set('current-context', name);
    });
    process.stdout.write(
      `Logged into Kubernetes cluster ${quoted(cluster)}. Try 'kubectl version' to test the connection.\n`,
    );
  });
}

/** `tsh kube logout`: takes our contexts out of the kubeconfig, and leaves the others. */
export async function kubeLogout(globals: GlobalOptions): Promise<void> {
  const signIn = await openSignIn(globals);
  const prefix = `${signIn.profile.cluster}-`;
  const removed = new Set<string>();
  await editKubeconfig((config) => {
    for (const name of remove(config, 'users', (entry) => isOurs(entry, prefix))) removed.add(name);
    for (const section of ['clusters', 'contexts'] as const) {
      remove(config, section, (entry) => removed.has(String(entry['name'])));
    }
    if (removed.has(String(config.get('current-context')))) config.delete('current-context');
  });
  process.stdout.write(
    `${removed.size === 0 ? 'Not logged into any cluster' : `Removed ${[...removed].map(printable).join(', ')}`}\n`,
  );
}

/** `tsh kube credentials`: what kubectl's credential plugins print (client.authentication.k8s.io). */
export async function kubeCredentials(globals: GlobalOptions, cluster: string): Promise<void> {
  await withApi(globals, async (api, signIn) => {
    const { certificate, expiresAtMs } = await routedCertificate(api, signIn, { kind: 'kube_cluster', name: cluster });
    const credential = {
      apiVersion: API_VERSION,
      kind: 'ExecCredential',
      status: {
        expirationTimestamp: new Date(expiresAtMs).toISOString().replace(/\.\d+Z$/, 'Z'),
        clientCertificateData: certificate,
        clientKeyData: signIn.endpoint.key,
      },
    };
    process.stdout.write(`${JSON.stringify(credential)}\n`);
  });
}

/** `tsh kubectl`: the system's kubectl. */
export async function kubectl(args: readonly string[]): Promise<void> {
  await runInPlace('kubectl', args, { hint: 'see kubernetes.io/docs/tasks/tools' });
}

/** What every kubectl since 1.11 understands. */
const API_VERSION = 'client.authentication.k8s.io/v1beta1';

function entryName(signIn: SignIn, cluster: string): string {
  return `${signIn.profile.cluster}-${cluster}`;
}

/**
 * The native listener where it is on, else the public port. Both present a certificate of the cluster for the server name `kube.CLUSTER`, whatever
 * certificate they have else; the public port knows Kubernetes by that name.
 */
function endpointOf(signIn: SignIn) {
  const { host, port, kubePort, cluster } = signIn.profile;
  const ca = readIfThere(signIn.casFile);
  return { host, port: kubePort ?? port, serverName: `kube.${cluster}`, ...(ca === undefined ? {} : { ca }) };
}

function execPlugin(signIn: SignIn, cluster: string): Record<string, unknown> {
  const { host, port } = signIn.profile;
  const homes = ['NIGHTLATCH_HOME', 'TELEPORT_HOME'].filter((name) => process.env[name]);
  return {
    apiVersion: API_VERSION,
    command: process.execPath,
    args: [tshPath(), 'kube', 'credentials', `--kube-cluster=${cluster}`, `--proxy=${host}:${port}`],
    ...(homes.length === 0 ? {} : { env: homes.map((name) => ({ name, value: process.env[name]! })) }),
  };
}

type Section = 'clusters' | 'users' | 'contexts';

/** Changes the kubeconfig in place: comments, order and everybody else's entries stay. */
async function editKubeconfig(change: (config: Document) => void): Promise<void> {
  const named = process.env.KUBECONFIG?.split(delimiter).find((part) => part !== '');
  const path = resolveLink(named ?? join(process.env.HOME || homedir(), '.kube', 'config'));
  const { parseDocument } = await import('yaml');
  const text = readIfThere(path) ?? '';
  const config = parseDocument(text.trim() === '' ? 'apiVersion: v1\nkind: Config\n' : text);
  const problem = config.errors[0];
  if (problem !== undefined) {
    throw new NightlatchError('bad_parameter', `${path} cannot be read, and is left as it is: ${problem.message}`);
  }
  // As kubectl writes it, unless the file indents its lists.
  const style = { lineWidth: 0, indentSeq: /^ +- /m.test(text) && !/^- /m.test(text) };
  const before = config.toString(style);
  change(config);
  const after = config.toString(style);
  if (after === before) return;
  writeFileAtomic(path, after, modeOf(path));
}

/** A file that is a link stays one: what it points at is written. */
function resolveLink(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}

function modeOf(path: string): number {
  try {
    return statSync(path).mode & 0o777;
  } catch {
    return 0o600;
  }
}

/** The entries of a section, as nodes of the document. */
function entriesOf(config: Document, section: string): { items: unknown[] } | undefined {
  const found = config.get(section, true) as { items?: unknown[]; flow?: boolean } | null | undefined;
  if (!Array.isArray(found?.items)) return undefined;
  // An empty list is written `[]`; with entries it is to look like the others.
  if (found.items.length === 0) found.flow = false;
  return { items: found.items };
}

function upsert(config: Document, section: Section, entry: Readonly<Record<string, unknown>> & { name: string }): void {
  const node = config.createNode(entry);
  const entries = entriesOf(config, section);
  if (entries === undefined) {
    config.set(section, config.createNode([entry]));
    return;
  }
  const at = entries.items.findIndex((item) => plain(item)?.['name'] === entry.name);
  if (at < 0) entries.items.push(node);
  else entries.items[at] = node;
}

function remove(
  config: Document,
  section: Section,
  matches: (entry: Readonly<Record<string, unknown>>) => boolean,
): string[] {
  const entries = entriesOf(config, section);
  if (entries === undefined) return [];
  const removed: string[] = [];
  for (let at = entries.items.length - 1; at >= 0; at--) {
    const entry = plain(entries.items[at]);
    if (entry === undefined || !matches(entry)) continue;
    removed.push(String(entry['name']));
    entries.items.splice(at, 1);
  }
  return removed;
}

/** A user of the kubeconfig whose credentials come from `tsh kube credentials` for this cluster. */
function isOurs(entry: Readonly<Record<string, unknown>>, prefix: string): boolean {
  const { exec } = (entry['user'] ?? {}) as { exec?: { args?: unknown } };
  const args = Array.isArray(exec?.args) ? exec.args : [];
  return String(entry['name']).startsWith(prefix) && args.includes('kube') && args.includes('credentials');
}

function plain(node: unknown): Readonly<Record<string, unknown>> | undefined {
  const value = (node as { toJSON?: () => unknown } | null)?.toJSON?.();
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
}
