import type { WriteResourceResponse } from '../../wire/api/messages.ts';
import { quoted } from '../common/output.ts';

/** How Teleport calls each kind in its messages. */
const NAMES: Readonly<Record<string, string>> = {
  cluster_auth_preference: 'cluster auth preference',
  cluster_networking_config: 'cluster networking configuration',
  db: 'database',
  kube_cluster: 'kubernetes cluster',
  windows_desktop: 'windows desktop',
};

/** Kinds for which `create -f` says "updated" when there was one; the others say "created" whatever there was. */
const SAYS_UPDATED = new Set(['user', 'db', 'kube_cluster']);

const SINGLETON_KINDS = new Set(['cluster_auth_preference', 'cluster_networking_config']);

/** What `tctl create` and `tctl edit` print; Teleport's words, with its inconsistencies. */
export function writtenText(response: WriteResourceResponse, mode: 'create' | 'upsert' | 'update'): string {
  const { kind, name, existed } = response;
  if (kind === 'cluster_networking_config') return 'cluster networking configuration has been updated';
  if (kind === 'cluster_auth_preference')
    return `cluster auth preference has been ${mode === 'update' ? 'updated' : 'created'}`;
  const updated = mode === 'update' || (existed && SAYS_UPDATED.has(kind)) || kind === 'windows_desktop';
  return `${NAMES[kind] ?? kind} ${quoted(name)} has been ${updated ? 'updated' : 'created'}`;
}

/** What `tctl rm` prints. */
export function deletedText(kind: string, name: string): string {
  if (SINGLETON_KINDS.has(kind)) return `${NAMES[kind]} has been reset to defaults`;
  // Teleport prints nodes without quotes.
  if (kind === 'node') return `node ${quoted(name).slice(1, -1)} has been deleted`;
  return `${NAMES[kind] ?? kind} ${quoted(name)} has been deleted`;
}
