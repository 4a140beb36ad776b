import type { Resource } from '../../resources/index.ts';
import type { ResourceMessage } from '../../wire/api/messages.ts';
import { formatLabels, formatTable } from '../common/output.ts';

export type ResourceFormat = 'yaml' | 'json' | 'text';

/** Resources as `tctl get` prints them. YAML is what `tctl create` reads back. */
export async function formatResources(resources: readonly ResourceMessage[], format: ResourceFormat): Promise<string> {
  switch (format) {
    case 'yaml': {
      const { formatYamlStream } = await import('../../resources/resource-yaml.ts');
      return formatYamlStream(resources as unknown as readonly Resource[]);
    }
    case 'json': {
      const { plainResource } = await import('../../resources/plain-resource.ts');
      const plain = resources.map((resource) => plainResource(resource as unknown as Resource));
      return `${JSON.stringify(plain, null, 4)}\n`;
    }
    case 'text':
      return formatText(resources);
  }
}

type Column = readonly [title: string, cell: (resource: ResourceMessage) => string];

const spec = (resource: ResourceMessage, key: string): string => {
  const value = resource.spec[key];
  return value === undefined ? '' : typeof value === 'string' ? value : JSON.stringify(value);
};
const labels: Column = ['Labels', (resource) => formatLabels(visibleLabels(resource))];
const name: Column = ['Name', (resource) => resource.metadata.name];

/** Labels of our own bookkeeping are left out of tables. */
function visibleLabels(resource: ResourceMessage): Record<string, string> {
  return Object.fromEntries(
    Object.entries(resource.metadata.labels ?? {}).filter(([key]) => !key.startsWith('teleport.dev/')),
  );
}

function options(resource: ResourceMessage): Readonly<Record<string, unknown>> {
  return (resource.spec['options'] ?? {}) as Readonly<Record<string, unknown>>;
}

function origin(resource: ResourceMessage): string {
  return resource.metadata.labels?.['teleport.dev/origin'] ?? 'dynamic';
}

const COLUMNS: Readonly<Record<string, readonly Column[]>> = {
  cluster_auth_preference: [
    ['Type', (r) => spec(r, 'type')],
    ['Second Factor', (r) => spec(r, 'second_factor')],
    ['Idle Timeout', (r) => String(options(r)['client_idle_timeout'] ?? 'never')],
    ['Origin', origin],
  ],
  cluster_networking_config: [
    ['Client Idle Timeout', (r) => spec(r, 'client_idle_timeout') || 'never'],
    ['Idle Timeout Message', (r) => spec(r, 'idle_timeout_message')],
    ['Idle Warning', (r) => spec(r, 'client_idle_warning')],
    ['Idle Activity', (r) => spec(r, 'client_idle_activity') || 'auto'],
    ['Web Idle Timeout', (r) => spec(r, 'web_idle_timeout')],
    ['Origin', origin],
  ],
  role: [
    ['Role', (r) => r.metadata.name],
    ['Version', (r) => r.version],
    ['Idle Timeout', (r) => String(options(r)['client_idle_timeout'] ?? '')],
    ['Allowed to login as', (r) => list((r.spec['allow'] as Record<string, unknown> | undefined)?.['logins'])],
    ['Node Labels', (r) => labelSelectors((r.spec['allow'] as Record<string, unknown> | undefined)?.['node_labels'])],
  ],
  user: [
    ['User', (r) => r.metadata.name],
    ['Roles', (r) => list(r.spec['roles'])],
    ['Logins', (r) => list((r.spec['traits'] as Record<string, unknown> | undefined)?.['logins'])],
  ],
  node: [
    ['Host', (r) => spec(r, 'hostname')],
    ['UUID', (r) => r.metadata.name],
    ['Address', (r) => spec(r, 'addr')],
    labels,
  ],
  db: [name, ['Protocol', (r) => spec(r, 'protocol')], ['URI', (r) => spec(r, 'uri')], labels],
  kube_cluster: [name, labels],
  windows_desktop: [name, ['Protocol', (r) => spec(r, 'protocol')], ['Address', (r) => spec(r, 'addr')], labels],
  lock: [
    ['ID', (r) => r.metadata.name],
    ['Target', (r) => formatLabels(r.spec['target'] as Record<string, string>)],
    ['Message', (r) => spec(r, 'message')],
    ['Expires', (r) => spec(r, 'expires') || 'never'],
  ],
};

async function formatText(resources: readonly ResourceMessage[]): Promise<string> {
  const kind = resources[0]?.kind;
  if (kind === undefined) return '';
  const columns = COLUMNS[kind] ?? [name, labels];
  return formatTable(
    columns.map(([title]) => title),
    resources.map((resource) => columns.map(([, cell]) => cell(resource))),
  );
}

function list(value: unknown): string {
  return Array.isArray(value) ? value.join(',') : typeof value === 'string' ? value : '';
}

function labelSelectors(value: unknown): string {
  if (typeof value !== 'object' || value === null) return '';
  return Object.entries(value)
    .map(([key, wanted]) => `${key}:${list(wanted)}`)
    .join(',');
}
