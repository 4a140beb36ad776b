import { Hono } from 'hono';
import { NightlatchError } from '../../core/errors.ts';
import { canSee, loginsOn } from '../../policy/access.ts';
import type { Database, KubeCluster, Node, WindowsDesktop } from '../../resources/index.ts';
import type { TargetMessage } from '../../wire/api/messages.ts';
import type { ServerContext } from '../context.ts';
import type { ApiEnv, Caller } from './caller.ts';
import { kindOf } from './resource-routes.ts';

/** A resource that sessions reach. */
export type TargetResource = Node | Database | KubeCluster | WindowsDesktop;

/** The target that `KIND/NAME` names. @throws {NightlatchError} `bad_parameter`, `not_found`. */
export function findTarget(ctx: ServerContext, reference: string): TargetResource {
  const [alias, name] = [reference.replace(/\/.*$/s, ''), reference.replace(/^[^/]*\/?/, '')];
  const kind = kindOf(alias);
  const all = targetsOf(ctx, kind);
  if (all === undefined || name === '') {
    throw new NightlatchError('bad_parameter', `${JSON.stringify(reference)} is no target; expected e.g. node/NAME`);
  }
  const found =
    all.find((target) => target.metadata.name === name) ??
    all.find((target) => target.kind === 'node' && target.spec.hostname === name);
  if (found === undefined) throw new NightlatchError('not_found', `${kind} ${JSON.stringify(name)} is not found`);
  return found;
}

function targetsOf(ctx: ServerContext, kind: string): TargetResource[] | undefined {
  const { nodes, databases, kubeClusters, desktops } = ctx.policy.current;
  switch (kind) {
    case 'node':
      return [...nodes.values()];
    case 'db':
      return [...databases.values()];
    case 'kube_cluster':
      return [...kubeClusters.values()];
    case 'windows_desktop':
      return [...desktops.values()];
    default:
      return undefined;
  }
}

/** `/v1/nodes`, `/v1/databases`, `/v1/kube-clusters`, `/v1/desktops`: what the caller may reach. */
export function targetRoutes(ctx: ServerContext): Hono<ApiEnv> {
  const routes = new Hono<ApiEnv>();
  const paths = { nodes: 'node', databases: 'db', 'kube-clusters': 'kube_cluster', desktops: 'windows_desktop' };
  for (const [path, kind] of Object.entries(paths)) {
    routes.get(`/${path}`, (c) => c.json({ items: reachable(ctx, c.var.caller, targetsOf(ctx, kind)!) }));
  }
  return routes;
}

/** The targets a caller may reach, by name; on the local socket all of them. */
function reachable(ctx: ServerContext, caller: Caller, all: readonly TargetResource[]): TargetMessage[] {
  const snapshot = ctx.policy.current;
  return all
    .filter((target) => caller.kind === 'local' || canSee(snapshot, caller.user, target))
    .map((target) => describe(target, caller.kind === 'local' ? [] : logins(ctx, caller.user, target)))
    .sort((a, b) => (a.displayName < b.displayName ? -1 : a.displayName > b.displayName ? 1 : 0));
}

function logins(ctx: ServerContext, user: string, target: TargetResource): string[] {
  return target.kind === 'kube_cluster' ? [] : loginsOn(ctx.policy.current, user, target);
}

function describe(target: TargetResource, allowed: readonly string[]): TargetMessage {
  const { name, labels = {}, description } = target.metadata;
  const common = {
    kind: target.kind,
    name,
    labels: Object.fromEntries(Object.entries(labels).filter(([key]) => !key.startsWith('teleport.dev/'))),
    logins: allowed,
    ...(description === undefined ? {} : { description }),
  };
  switch (target.kind) {
    case 'node':
      return { ...common, displayName: target.spec.hostname, addr: target.spec.addr ?? '' };
    case 'db':
      return { ...common, displayName: name, addr: target.spec.uri, protocol: target.spec.protocol };
    case 'kube_cluster':
      return { ...common, displayName: name, addr: '' };
    case 'windows_desktop':
      return { ...common, displayName: name, addr: target.spec.addr, protocol: target.spec.protocol };
  }
}
