import { NightlatchError } from '../../core/errors.ts';
import type { TargetMessage } from '../../wire/api/messages.ts';
import type { ApiClient } from './api-client.ts';
import { formatLabels, formatTable, quoted } from './output.ts';

export type TargetPath = 'nodes' | 'databases' | 'kube-clusters' | 'desktops';

type Column = readonly [title: string, cell: (target: TargetMessage) => string];

const labels: Column = ['Labels', (target) => formatLabels(target.labels)];

const COLUMNS: Readonly<Record<TargetPath, readonly Column[]>> = {
  nodes: [['Node Name', (t) => t.displayName], ['Address', (t) => t.addr], labels],
  databases: [
    ['Name', (t) => t.displayName],
    ['Description', (t) => t.description ?? ''],
    ['Protocol', (t) => t.protocol ?? ''],
    ['Allowed Users', (t) => `[${t.logins.join(' ')}]`],
    labels,
  ],
  'kube-clusters': [['Kube Cluster Name', (t) => t.displayName], labels],
  desktops: [
    ['Name', (t) => t.displayName],
    ['Protocol', (t) => t.protocol ?? ''],
    ['Address', (t) => t.addr],
    ['Logins', (t) => t.logins.join(',')],
    labels,
  ],
};

/** What the caller may reach. */
export async function fetchTargets(api: ApiClient, path: TargetPath): Promise<TargetMessage[]> {
  return (await api.get<{ items: TargetMessage[] }>(`/v1/${path}`)).items;
}

/** `ls` of every kind: a table, or JSON. `query` keeps those whose labels or names contain it. */
export async function printTargets(
  api: ApiClient,
  path: TargetPath,
  options: { format: 'text' | 'json'; labels?: string },
): Promise<void> {
  const wanted = parseLabels(options.labels);
  const targets = (await fetchTargets(api, path)).filter((target) =>
    wanted.every(([key, value]) => target.labels[key] === value),
  );
  if (options.format === 'json') {
    process.stdout.write(`${JSON.stringify(targets, null, 2)}\n`);
    return;
  }
  const columns = COLUMNS[path];
  process.stdout.write(
    await formatTable(
      columns.map(([title]) => title),
      targets.map((target) => columns.map(([, cell]) => cell(target))),
    ),
  );
}

/** `env=prod,team=db`. @throws {NightlatchError} `bad_parameter` */
function parseLabels(text: string | undefined): [string, string][] {
  if (text === undefined || text === '') return [];
  return text.split(',').map((pair) => {
    const at = pair.indexOf('=');
    if (at <= 0) throw new NightlatchError('bad_parameter', `${quoted(pair)} is no label; expected KEY=VALUE`);
    return [pair.slice(0, at), pair.slice(at + 1)];
  });
}
