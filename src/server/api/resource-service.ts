import { EVENTS, type EventType } from '../../audit/catalog.ts';
import { NightlatchError } from '../../core/errors.ts';
import { normalizeUserName } from '../../identity/user-name.ts';
import { decodeResource } from '../../resources/decode.ts';
import {
  defaultAuthPreference,
  defaultNetworkingConfig,
  type Kind,
  originOf,
  type Resource,
  SINGLETONS,
  type User,
  withOrigin,
} from '../../resources/index.ts';
import { resourceExpiryMs } from '../../store/live-policy.ts';
import type { StoredResource, WriteCondition } from '../../store/store.ts';
import type { WriteMode, WriteResourceResponse } from '../../wire/api/messages.ts';
import type { ServerContext } from '../context.ts';
import { kubeClusterProblem } from '../kube-clusters.ts';
import { audited } from './audited.ts';
import { type Caller, callerName } from './caller.ts';
import { demand } from './permissions.ts';
import { managedByStaticDeleteText, managedByStaticText, nameInText, overriddenText } from './resource-texts.ts';

/** How a resource is to be written. */
export interface WriteOptions {
  readonly mode: WriteMode;
  /** The caller insists although the configuration file sets it. */
  readonly confirm: boolean;
}

/** Events of a kind: made, changed, gone. A kind without an entry has no event of its own in Teleport's catalogue. */
const CHANGE_EVENTS: Readonly<Record<Kind, { created: EventType; updated: EventType; deleted: EventType }>> = {
  cluster_auth_preference: {
    created: EVENTS.authPreferenceUpdate,
    updated: EVENTS.authPreferenceUpdate,
    deleted: EVENTS.authPreferenceUpdate,
  },
  cluster_networking_config: {
    created: EVENTS.networkingConfigUpdate,
    updated: EVENTS.networkingConfigUpdate,
    deleted: EVENTS.networkingConfigUpdate,
  },
  role: { created: EVENTS.roleCreated, updated: EVENTS.roleUpdated, deleted: EVENTS.roleDeleted },
  user: { created: EVENTS.userCreate, updated: EVENTS.userUpdate, deleted: EVENTS.userDelete },
  node: { created: EVENTS.nodeCreate, updated: EVENTS.nodeUpdate, deleted: EVENTS.nodeDelete },
  db: { created: EVENTS.databaseCreate, updated: EVENTS.databaseUpdate, deleted: EVENTS.databaseDelete },
  kube_cluster: {
    created: EVENTS.kubeClusterCreate,
    updated: EVENTS.kubeClusterUpdate,
    deleted: EVENTS.kubeClusterDelete,
  },
  windows_desktop: { created: EVENTS.desktopCreate, updated: EVENTS.desktopUpdate, deleted: EVENTS.desktopDelete },
  lock: { created: EVENTS.lockCreated, updated: EVENTS.lockCreated, deleted: EVENTS.lockDeleted },
};

/** Reads and changes resources on behalf of a caller: rules, origins, conditions, audit events. */
export class ResourceService {
  readonly #ctx: ServerContext;
  /** Kinds that the configuration file sets and that somebody changed since the start all the same. */
  readonly #overridden = new Set<Kind>();

  constructor(ctx: ServerContext) {
    this.#ctx = ctx;
  }

  /**
   * All resources of a kind, or the one of that name, with their revisions.
   * @throws {NightlatchError} `access_denied`, `not_found`.
   */
  async get(caller: Caller, kind: Kind, name?: string): Promise<Resource[]> {
    const singleton = SINGLETONS[kind];
    if (singleton === undefined && name === undefined) demand(this.#ctx, caller, kind, 'list');
    demand(this.#ctx, caller, kind, 'read');
    const wanted = singleton ?? name;
    if (wanted !== undefined) return [withRevision(await this.#find(kind, wanted))];
    const stored = (await this.#ctx.store.list(kind)).filter((one) => !this.#ctx.policy.isStatic(kind, one.name));
    const fromFile = this.#live(kind).filter((one) => this.#ctx.policy.isStatic(kind, nameOf(one)));
    return [...stored.map((one) => withRevision(one as StoredResource<Resource>)), ...fromFile].sort((a, b) =>
      nameOf(a) < nameOf(b) ? -1 : 1,
    );
  }

  /**
   * Writes a resource as it stands in YAML or JSON.
   * @throws {NightlatchError} `bad_parameter` (also: managed by static configuration), `already_exists`, `not_found`, `conflict`.
   */
  async write(caller: Caller, value: unknown, options: WriteOptions): Promise<WriteResourceResponse> {
    const resource = this.#prepare(decodeResource(value), caller);
    const { kind } = resource;
    const name = nameOf(resource);
    this.#refuseStatic(kind, name);
    const stored = await this.#ctx.store.get(kind, name);
    const singleton = SINGLETONS[kind] !== undefined;
    const before = stored === undefined && singleton ? this.#live(kind)[0] : (stored?.value as Resource | undefined);
    // What there is only one of is always there; it counts as made by somebody once it is not the default any more.
    const existed = before !== undefined && !(singleton && originOf(before) === 'defaults');
    demand(this.#ctx, caller, kind, existed ? 'update' : 'create');
    this.#checkMode(resource, before, existed, options);
    await this.#checkContent(resource);
    const revision = resource.metadata.revision;
    const clean = withoutRevision(withOrigin(resource, 'dynamic'));
    const condition = conditionOf(options.mode, stored, existed, revision);
    const expiresAtMs = resourceExpiryMs(clean);
    const written = await audited(
      this.#ctx,
      caller,
      CHANGE_EVENTS[kind][existed ? 'updated' : 'created'],
      changeFields(clean, before),
      () =>
        this.#ctx.store.put(kind, name, clean, {
          condition,
          ...(expiresAtMs === undefined ? {} : { expiresAtMs }),
        }),
    );
    if (before !== undefined && originOf(before) === 'config-file') this.#overridden.add(kind);
    return { kind, name, existed, revision: written.revision, warnings: await this.#warnings(resource) };
  }

  /** Deletes a resource, or resets one of which there is always one. @throws {NightlatchError} as `write`. */
  async delete(caller: Caller, kind: Kind, name: string | undefined): Promise<{ kind: Kind; name: string }> {
    const singleton = SINGLETONS[kind];
    demand(this.#ctx, caller, kind, singleton === undefined ? 'delete' : 'update');
    const wanted = singleton ?? name;
    if (wanted === undefined) throw new NightlatchError('bad_parameter', `which ${kind}? name one: ${kind}/NAME`);
    const found = await this.#find(kind, wanted);
    const stored = found.revision === 0 ? undefined : found;
    if (originOf(found.value) === 'config-file' || this.#ctx.policy.isStatic(kind, found.name)) {
      throw new NightlatchError('bad_parameter', managedByStaticDeleteText(this.#configFile));
    }
    if (kind === 'role') this.#checkRoleUnused(found.name);
    if (stored === undefined) return { kind, name: wanted };
    const reset = singleton === undefined ? undefined : this.#defaultsOf(kind);
    const fields = reset === undefined ? { name: stored.name } : changeFields(reset, stored.value);
    await audited(this.#ctx, caller, CHANGE_EVENTS[kind].deleted, fields, () =>
      this.#ctx.store.delete(kind, stored.name),
    );
    if (kind === 'user') await this.#ctx.identity.forget(stored.name);
    return { kind, name: stored.name };
  }

  /** What the caller should know of a resource that was written all the same. */
  async #warnings(resource: Resource): Promise<string[]> {
    const { kind } = resource;
    const what = nameInText(kind, nameOf(resource), SINGLETONS[kind] !== undefined);
    if (this.#overridden.has(kind)) return [overriddenText(what, this.#configFile)];
    const problem = resource.kind === 'kube_cluster' ? await kubeClusterProblem(resource) : undefined;
    return problem === undefined ? [] : [`The ${what} cannot be used as it stands: ${problem}`];
  }

  get #configFile(): string {
    return this.#ctx.configFileName ?? 'nightlatch.yaml';
  }

  /** A resource by its name, a node also by its hostname where that is unique; what there is one of is always there (revision 0 by default). */
  async #find(kind: Kind, name: string): Promise<StoredResource<Resource>> {
    const stored = await this.#ctx.store.get(kind, name);
    if (stored !== undefined && !this.#ctx.policy.isStatic(kind, name)) return stored as StoredResource<Resource>;
    const live = this.#live(kind);
    const matches = live.filter((one) => nameOf(one) === name);
    if (matches.length === 0) matches.push(...live.filter((one) => one.kind === 'node' && one.spec.hostname === name));
    if (matches.length > 1) {
      throw new NightlatchError(
        'bad_parameter',
        `several nodes are called ${name}: name one of ${matches.map(nameOf).join(', ')}`,
      );
    }
    if (matches[0] === undefined) throw notFound(kind, name);
    const its = nameOf(matches[0]);
    const revision = this.#ctx.policy.isStatic(kind, its)
      ? undefined
      : (await this.#ctx.store.get(kind, its))?.revision;
    return { kind, name: its, value: matches[0], revision: revision ?? 0 };
  }

  /** The resources of a kind that are in force. */
  #live(kind: Kind): readonly Resource[] {
    const { current } = this.#ctx.policy;
    switch (kind) {
      case 'cluster_auth_preference':
        return [current.authPreference];
      case 'cluster_networking_config':
        return [current.networkingConfig];
      case 'role':
        return [...current.roles.values()];
      case 'user':
        return [...current.users.values()];
      case 'node':
        return [...current.nodes.values()];
      case 'db':
        return [...current.databases.values()];
      case 'kube_cluster':
        return [...current.kubeClusters.values()];
      case 'windows_desktop':
        return [...current.desktops.values()];
      case 'lock':
        return current.locks;
    }
  }

  #defaultsOf(kind: Kind): Resource {
    return kind === 'cluster_auth_preference' ? defaultAuthPreference() : defaultNetworkingConfig();
  }

  /** What the configuration file registers wins over the store: writing it would change nothing. */
  #refuseStatic(kind: Kind, name: string): void {
    if (!this.#ctx.policy.isStatic(kind, name)) return;
    const what = nameInText(kind, name, false);
    throw new NightlatchError(
      'bad_parameter',
      `The ${what} resource is managed by static configuration. Change it in ${this.#configFile} and restart the servers.`,
    );
  }

  /** Fills in what the server knows and the caller may not choose. */
  #prepare(resource: Resource, caller: Caller): Resource {
    if (resource.kind !== 'lock') return resource;
    const createdAt = new Date(this.#ctx.clock.wallMs()).toISOString();
    return { ...resource, spec: { ...resource.spec, created_at: createdAt, created_by: callerName(caller) } };
  }

  #checkMode(resource: Resource, before: Resource | undefined, existed: boolean, options: WriteOptions): void {
    const { kind } = resource;
    const singleton = SINGLETONS[kind] !== undefined;
    const what = nameInText(kind, nameOf(resource), singleton);
    if (options.mode === 'create' && existed) {
      throw new NightlatchError('already_exists', `${singleton ? 'non-default ' : ''}${what} already exists`);
    }
    if (options.mode === 'update' && !existed && !singleton) throw notFound(kind, nameOf(resource));
    if (before !== undefined && originOf(before) === 'config-file' && !options.confirm) {
      const flags = options.mode === 'update' ? 'the --confirm flag' : 'both --force and --confirm flags';
      throw new NightlatchError('bad_parameter', managedByStaticText(what, this.#configFile, flags));
    }
  }

  /** What a schema cannot know: that a name can sign in, that roles are there (one misspelt would grant nothing, and tighten nothing). */
  async #checkContent(resource: Resource): Promise<void> {
    if (resource.kind !== 'user') return;
    const { name } = resource.metadata;
    if (normalizeUserName(name) !== name) {
      throw new NightlatchError('bad_parameter', `${JSON.stringify(name)} cannot be the name of a user`);
    }
    for (const role of resource.spec.roles) {
      if ((await this.#ctx.store.get('role', role)) === undefined) throw notFound('role', role);
    }
  }

  #checkRoleUnused(role: string): void {
    const holder = [...this.#ctx.policy.current.users.values()].find((user: User) => user.spec.roles.includes(role));
    if (holder === undefined) return;
    throw new NightlatchError(
      'bad_parameter',
      `failed to delete role ${JSON.stringify(role)}: it is still in use by user ${JSON.stringify(holder.metadata.name)}`,
    );
  }
}

function conditionOf(
  mode: WriteMode,
  stored: StoredResource | undefined,
  existed: boolean,
  revision: string | undefined,
): WriteCondition {
  if (mode === 'upsert') return 'any';
  if (mode === 'create') return existed || stored === undefined ? 'absent' : { revision: stored.revision };
  if (revision !== undefined && /^\d+$/.test(revision) && stored !== undefined) return { revision: Number(revision) };
  return stored === undefined ? 'absent' : 'present';
}

/** What an event says of a change: the settings that matter for idleness and access, and what they were. */
function changeFields(resource: Resource, before: Resource | undefined): Readonly<Record<string, unknown>> {
  const name = nameOf(resource);
  switch (resource.kind) {
    case 'cluster_auth_preference':
    case 'cluster_networking_config':
      return { name, settings: resource.spec, ...(before === undefined ? {} : { previous_settings: before.spec }) };
    case 'role':
      return {
        name,
        settings: resource.spec.options,
        ...(before?.kind === 'role' ? { previous_settings: before.spec.options } : {}),
      };
    case 'user':
      return { name, roles: resource.spec.roles };
    case 'lock':
      return {
        name,
        target: resource.spec.target,
        ...(resource.spec.message === undefined ? {} : { message: resource.spec.message }),
        ...(resource.spec.expires === undefined ? {} : { expires: resource.spec.expires }),
      };
    default:
      return { name };
  }
}

function nameOf(resource: Resource): string {
  return resource.metadata.name ?? SINGLETONS[resource.kind] ?? '';
}

function withRevision({ value, revision }: StoredResource<Resource>): Resource {
  if (revision === 0) return value;
  return { ...value, metadata: { ...value.metadata, revision: String(revision) } } as Resource;
}

function withoutRevision(resource: Resource): Resource {
  const { revision: _revision, ...metadata } = resource.metadata;
  return { ...resource, metadata } as Resource;
}

function notFound(kind: Kind, name: string): NightlatchError {
  return new NightlatchError('not_found', `${nameInText(kind, name, false)} is not found`);
}
