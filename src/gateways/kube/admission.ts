import type { Clock } from '../../core/clock.ts';
import type { Identity } from '../../identity/types.ts';
import { findLock } from '../../policy/access.ts';
import { checkKubeAccess, type KubeGrant } from '../../policy/kube-access.ts';
import type { PolicySnapshot } from '../../policy/snapshot.ts';
import type { KubeCluster } from '../../resources/index.ts';
import type { Authorization } from '../../session/types.ts';
import { headerText, headerValues, type Impersonation, type RawHeaders } from './headers.ts';
import { describeRequest, type KubeRequestInfo, kubeObject } from './request-info.ts';
import type { KubeFailure } from './status.ts';

/** A path may name the cluster: `/clusters/NAME/api/v1/…`. */
const CLUSTER_PATH = /^\/clusters\/([^/?]+)(?=\/|$|\?)/;

/** Questions about one's own rights, answered by the cluster for the user impersonated: they show nothing else. */
const SELF_REVIEWS: ReadonlySet<string> = new Set([
  'authorization.k8s.io/selfsubjectaccessreviews',
  'authorization.k8s.io/selfsubjectrulesreviews',
  'authentication.k8s.io/selfsubjectreviews',
]);

/** Which cluster a request is for, and its URL there. */
export type Route =
  | { readonly ok: true; readonly cluster: KubeCluster; readonly url: string }
  | { readonly ok: false; readonly failure: KubeFailure };

/**
 * The cluster of a request: the one in the certificate (`tsh kube login`), else the one in the path, else the only one there is. A
 * certificate for one cluster opens no other.
 */
export function routeRequest(identity: Identity, url: string, snapshot: PolicySnapshot): Route {
  const fail = (reason: KubeFailure['reason'], message: string): Route => ({ ok: false, failure: { reason, message } });
  const inPath = CLUSTER_PATH.exec(url);
  let name: string | undefined;
  if (inPath !== null) {
    try {
      name = decodeURIComponent(inPath[1]!);
    } catch {
      return fail('BadRequest', 'the path names no cluster that could be read');
    }
    url = url.slice(inPath[0].length);
    if (!url.startsWith('/')) url = `/${url}`;
  }
  const { route } = identity;
  if (route !== undefined) {
    if (route.kind !== 'kube_cluster')
      return fail('Forbidden', `this certificate is for ${route.kind} "${route.name}"`);
    if (name !== undefined && name !== route.name)
      return fail('Forbidden', `this certificate is for Kubernetes cluster "${route.name}"`);
    name = route.name;
  }
  if (name === undefined) {
    const names = [...snapshot.kubeClusters.keys()];
    if (names.length !== 1) return fail('BadRequest', 'no Kubernetes cluster is chosen: use tsh kube login CLUSTER');
    name = names[0]!;
  }
  const cluster = snapshot.kubeClusters.get(name);
  if (cluster === undefined) return fail('NotFound', `Kubernetes cluster "${name}" is not registered`);
  return { ok: true, cluster, url };
}

/** Whether a user may make a request, and all that follows from it. */
export type Admission =
  | { readonly ok: true; readonly grant: KubeGrant; readonly impersonation: Impersonation }
  | { readonly ok: false; readonly reason: string };

/** Access to the cluster and, for resources, to the object; whom to impersonate. Locks are looked for by `lockText` and the session. */
export function admit(
  snapshot: PolicySnapshot,
  request: {
    readonly identity: Identity;
    readonly cluster: KubeCluster;
    readonly info: KubeRequestInfo;
    readonly headers: RawHeaders;
  },
): Admission {
  const { identity, info, headers } = request;
  const cluster = snapshot.kubeClusters.get(request.cluster.metadata.name);
  if (cluster === undefined) return { ok: false, reason: 'it is not registered any more' };
  const grant = checkKubeAccess(snapshot, { user: identity.user, cluster });
  if (!grant.allowed) return { ok: false, reason: grant.reason };
  const aboutObject = info.isResource && !isSelfReview(info);
  if (aboutObject && !grant.permits(kubeObject(info)))
    return { ok: false, reason: `no role allows ${describeRequest(info)} (kubernetes_resources)` };
  const may = aboutObject ? grant.identityFor(kubeObject(info)) : grant;
  const impersonation = chooseImpersonation(identity.user, may, headers);
  if (typeof impersonation === 'string') return { ok: false, reason: impersonation };
  return { ok: true, grant, impersonation };
}

function isSelfReview(info: KubeRequestInfo): boolean {
  return info.verb === 'create' && SELF_REVIEWS.has(`${info.apiGroup}/${info.resource}`);
}

/**
 * Whom the gateway says to act for. `Impersonate-User` and `Impersonate-Group` of the client (`kubectl --as`) never reach the API server; they may
 * choose among what the roles allow. To ignore any other would run a command with more rights than its user asked for, so that one is refused.
 */
export function chooseImpersonation(
  user: string,
  grant: Pick<KubeGrant, 'users' | 'groups'>,
  headers: RawHeaders,
): Impersonation | string {
  const askedUsers = headerValues(headers, 'impersonate-user').map(headerText);
  if (new Set(askedUsers).size > 1) return 'a request can act as one Kubernetes user only';
  const [asked] = askedUsers;
  const askedGroups = headerValues(headers, 'impersonate-group').map(headerText);
  if (asked !== undefined && !grant.users.includes(asked)) return `no role allows to act as Kubernetes user "${asked}"`;
  const foreign = askedGroups.find((group) => !grant.groups.includes(group));
  if (foreign !== undefined) return `no role allows to act as Kubernetes group "${foreign}"`;
  const only = grant.users.length === 1 ? grant.users[0] : undefined;
  const chosen = asked ?? only ?? grant.users.find((name) => name === user);
  if (chosen === undefined)
    return `the roles allow several Kubernetes users (${grant.users.join(', ')}): choose one with kubectl --as`;
  return { user: chosen, groups: askedGroups.length > 0 ? askedGroups : grant.groups };
}

/** The message of a lock that bars this request, or undefined. */
export function lockText(
  snapshot: PolicySnapshot,
  clock: Clock,
  request: { readonly user: string; readonly login: string; readonly cluster: KubeCluster },
): string | undefined {
  if (snapshot.locks.length === 0) return undefined;
  const lock = findLock(snapshot, {
    user: request.user,
    roles: snapshot.users.get(request.user)?.spec.roles ?? [],
    login: request.login,
    serverId: request.cluster.metadata.name,
    nowMs: clock.wallMs(),
  });
  if (lock === undefined) return undefined;
  return lock.spec.message === undefined || lock.spec.message === '' ? 'a lock is in force' : lock.spec.message;
}

/** What a session asks after every change of policy. */
export function authorizer(request: Parameters<typeof admit>[1]): (snapshot: PolicySnapshot) => Authorization {
  return (snapshot) => {
    const admission = admit(snapshot, request);
    return admission.ok ? { allowed: true } : { allowed: false, reason: admission.reason };
  };
}
