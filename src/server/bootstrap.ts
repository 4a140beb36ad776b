import { isDeepStrictEqual } from 'node:util';
import { EVENTS } from '../audit/catalog.ts';
import type { AuditLog } from '../audit/events.ts';
import type { Logger } from '../core/logger.ts';
import { presetRoles } from '../policy/presets.ts';
import {
  type ClusterAuthPreference,
  type ClusterNetworkingConfig,
  type ConfigResources,
  decodeResource,
  defaultAuthPreference,
  defaultNetworkingConfig,
  originOf,
  plainResource,
} from '../resources/index.ts';
import type { Store } from '../store/store.ts';

/** Makes the preset roles where they are missing; one that an administrator changed stays as it is. */
export async function createPresetRoles(store: Store): Promise<void> {
  for (const role of presetRoles()) {
    if ((await store.get('role', role.metadata.name)) === undefined) {
      await store.put('role', role.metadata.name, role, { condition: 'any' });
    }
  }
}

/**
 * Carries the file's cluster-wide settings into the store (SPEC 2.2): a value in the file is restored at every start; without one, a stored
 * dynamic value stays, and one that an earlier file left behind gives way to the defaults.
 */
export async function applyFileSettings(
  store: Store,
  audit: AuditLog,
  log: Logger,
  { authPreference, networkingConfig }: Pick<ConfigResources, 'authPreference' | 'networkingConfig'>,
): Promise<void> {
  await applyOne(store, audit, log, EVENTS.authPreferenceUpdate, authPreference, defaultAuthPreference());
  await applyOne(store, audit, log, EVENTS.networkingConfigUpdate, networkingConfig, defaultNetworkingConfig());
}

async function applyOne<R extends ClusterAuthPreference | ClusterNetworkingConfig>(
  store: Store,
  audit: AuditLog,
  log: Logger,
  event: { readonly event: string; readonly code: string },
  fromFile: R | undefined,
  defaults: R,
): Promise<void> {
  const { kind, metadata } = defaults;
  const stored = await store.get(kind, metadata.name);
  const before = stored === undefined ? undefined : decodeResource(stored.value);
  const leftBehind = before !== undefined && originOf(before) === 'config-file';
  const wanted = fromFile ?? (before === undefined || leftBehind ? defaults : undefined);
  if (wanted === undefined || (before !== undefined && isDeepStrictEqual(plainResource(before), plainResource(wanted))))
    return;
  if (before !== undefined && originOf(before) === 'dynamic' && !isDeepStrictEqual(before.spec, wanted.spec)) {
    log.warn('a resource was changed that the configuration file sets: what the file says applies again', { kind });
  }
  // The idle report knows the settings in force from these events.
  await audit.emit({
    ...event,
    user: 'system',
    name: metadata.name,
    success: true,
    origin: originOf(wanted),
    settings: wanted.spec,
    ...(before === undefined ? {} : { previous_settings: before.spec }),
  });
  await store.put(kind, metadata.name, wanted, { condition: 'any' });
}
