import type { ResourceMessage, WriteMode, WriteResourceResponse } from '../../../src/wire/api/messages.ts';
import { api } from './api.ts';

const ORIGIN_LABEL = 'teleport.dev/origin';

export type Origin = 'defaults' | 'config-file' | 'dynamic';

/** Where a resource's content comes from (SPEC 2.2). */
export function originOf(resource: ResourceMessage): Origin {
  return (resource.metadata.labels?.[ORIGIN_LABEL] ?? 'dynamic') as Origin;
}

/** All resources of a kind, or the one there is. */
export async function getResources(kind: string): Promise<readonly ResourceMessage[]> {
  return (await api<{ resources: ResourceMessage[] }>('GET', `/resources/${kind}`)).resources;
}

export async function getSingleton(kind: string): Promise<ResourceMessage> {
  return (await getResources(kind))[0]!;
}

export function writeResource(
  resource: ResourceMessage,
  mode: WriteMode,
  confirm = false,
): Promise<WriteResourceResponse> {
  return api('POST', '/resources', { resource, mode, confirm });
}

export function deleteResource(kind: string, name: string): Promise<unknown> {
  return api('DELETE', `/resources/${kind}/${encodeURIComponent(name)}`);
}

/** A copy of an object with some fields set, and those that are '' or undefined taken out. */
export function withFields(
  spec: Readonly<Record<string, unknown>>,
  changes: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries({ ...spec, ...changes }).filter(([, value]) => value !== undefined && value !== ''),
  );
}

/** A field as text, '' where it is not set. */
export function textOf(spec: unknown, field: string): string {
  const value = (spec as Record<string, unknown> | undefined)?.[field];
  return typeof value === 'string' ? value : '';
}
