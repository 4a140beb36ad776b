import { presetRoles } from '../policy/presets.ts';
import {
  type ClusterAuthPreference,
  type ClusterNetworkingConfig,
  type ConfigResources,
  decodeResource,
  defaultAuthPreference,
  defaultNetworkingConfig,
  originOf,
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
  { authPreference, networkingConfig }: Pick<ConfigResources, 'authPreference' | 'networkingConfig'>,
): Promise<void> {
  await applyOne(store, authPreference, defaultAuthPreference());
  await applyOne(store, networkingConfig, defaultNetworkingConfig());
}

async function applyOne<R extends ClusterAuthPreference | ClusterNetworkingConfig>(
  store: Store,
  fromFile: R | undefined,
  defaults: R,
): Promise<void> {
  const { kind, metadata } = defaults;
  const stored = await store.get(kind, metadata.name);
  if (fromFile !== undefined) {
    await store.put(kind, metadata.name, fromFile, { condition: 'any' });
  } else if (stored === undefined || originOf(decodeResource(stored.value)) === 'config-file') {
    await store.put(kind, metadata.name, defaults, { condition: 'any' });
  }
}
