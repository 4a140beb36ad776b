import { useMemo, useState } from 'preact/hooks';
import type { TargetMessage } from '../../../src/wire/api/messages.ts';
import { api } from '../core/api.ts';
import { kindName } from '../core/format.ts';
import { policyRevision } from '../core/live.ts';
import { query, setQuery } from '../core/router.tsx';
import { session } from '../core/session.ts';
import { ConnectDialog } from '../ui/connect-dialog.tsx';
import { Filters, SelectField, TextField } from '../ui/fields.tsx';
import { useLoad } from '../ui/load.ts';
import { Empty, Labels, PageHead, Problem } from '../ui/parts.tsx';
import { TargetActions } from '../ui/target-actions.tsx';

const PATHS = ['nodes', 'desktops', 'databases', 'kube-clusters'] as const;
const KINDS = ['node', 'windows_desktop', 'db', 'kube_cluster'] as const;

async function loadTargets(): Promise<readonly TargetMessage[]> {
  const lists = await Promise.all(PATHS.map((path) => api<{ items: TargetMessage[] }>('GET', `/${path}`)));
  return lists.flatMap(({ items }) => items);
}

/** Everything that the user's roles reach. */
export function ResourcesPage() {
  const targets = useLoad(loadTargets, [policyRevision.value]);
  const [connecting, setConnecting] = useState<TargetMessage | undefined>(undefined);
  const search = query.value.get('q') ?? '';
  const kind = query.value.get('kind') ?? '';
  const filter = (values: { q?: string; kind?: string }) => setQuery({ q: search, kind, ...values });
  const all = targets.data ?? [];
  const shown = useMemo(
    () => all.filter((target) => (kind === '' || target.kind === kind) && matches(target, search)),
    [all, kind, search],
  );
  const kinds = KINDS.filter((one) => all.some((target) => target.kind === one));

  return (
    <div class="page">
      <PageHead
        title="Resources"
        about="What your roles let you reach. Connect here, or with the command for your own client."
      />
      <Filters>
        <TextField
          label="Search"
          grow
          type="search"
          placeholder="Name, address or label, such as env=prod"
          value={search}
          onInput={(q) => filter({ q })}
        />
        <SelectField<string>
          label="Kind"
          value={kind}
          choices={[['', 'All'], ...kinds.map((one) => [one, kindName(one)] as const)]}
          onChange={(one) => filter({ kind: one })}
        />
      </Filters>
      <Problem error={targets.error} />
      <p class="visually-hidden" role="status">
        {targets.data === undefined ? 'Loading' : `${shown.length} of ${all.length} resources shown`}
      </p>
      {targets.data !== undefined && shown.length === 0 && (
        <div class="panel">
          <Empty>{all.length === 0 ? 'Your roles reach no resource yet.' : 'Nothing matches.'}</Empty>
        </div>
      )}
      <ul class="resources">
        {shown.map((target) => (
          <li class="resource" key={`${target.kind}/${target.name}`}>
            <div class="resource-head">
              <div>
                <h2>{target.displayName}</h2>
                {(target.description ?? target.addr) !== '' && (
                  <p class="quiet small wrap-anywhere">{target.description ?? target.addr}</p>
                )}
              </div>
              <span class="tag">{target.protocol ?? kindName(target.kind)}</span>
            </div>
            <Labels labels={target.labels} onPick={(label) => filter({ q: label })} />
            <TargetActions target={target} onCommand={() => setConnecting(target)} />
          </li>
        ))}
      </ul>
      {connecting !== undefined && (
        <ConnectDialog target={connecting} session={session.value!} onClose={() => setConnecting(undefined)} />
      )}
    </div>
  );
}

/** Every word must be found: in name, address, kind, protocol or a label. */
function matches(target: TargetMessage, search: string): boolean {
  const labels = Object.entries(target.labels).map(([key, value]) => `${key}=${value}`);
  const text = [target.displayName, target.name, target.addr, target.protocol ?? '', kindName(target.kind), ...labels]
    .join('\n')
    .toLowerCase();
  return search
    .toLowerCase()
    .split(/\s+/)
    .every((word) => text.includes(word));
}
