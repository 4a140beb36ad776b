import type { AuditLog } from '../../audit/events.ts';
import type { Clock } from '../../core/clock.ts';
import type { Logger } from '../../core/logger.ts';
import type { Identity } from '../../identity/types.ts';
import type { LivePolicy } from '../../policy/snapshot.ts';
import type { KubeCluster } from '../../resources/index.ts';
import type { SessionManager, SessionTarget } from '../../session/types.ts';
import type { FastPathSearch } from '../common/fast-path-search.ts';
import type { Impersonation } from './headers.ts';
import type { InFlightRequests } from './in-flight.ts';
import type { KubeRequestInfo } from './request-info.ts';
import type { KubeUpstreams } from './upstream.ts';

/** What the parts of the gateway share. */
export interface KubeContext {
  readonly clock: Clock;
  readonly log: Logger;
  readonly audit: AuditLog;
  readonly policy: LivePolicy;
  readonly sessions: SessionManager;
  readonly upstreams: KubeUpstreams;
  readonly inFlight: InFlightRequests;
  readonly fastPath?: FastPathSearch;
}

/** A request that the gateway has understood: who, where, what. */
export interface KubeCall {
  readonly identity: Identity;
  readonly cluster: KubeCluster;
  readonly info: KubeRequestInfo;
  readonly method: string;
  /** Path and query for the API server. */
  readonly url: string;
  readonly headers: readonly string[];
  readonly clientAddr: string;
}

/** Fields that audit events of a request or session carry; the names are Teleport's. */
export function kubeAuditFields(call: KubeCall, impersonation: Impersonation | undefined): Record<string, unknown> {
  const { info, cluster } = call;
  const pod = info.resource === 'pods' && info.name !== '';
  const container = info.query.get('container');
  const command = info.query.getAll('command');
  return {
    proto: 'kube',
    kubernetes_cluster: cluster.metadata.name,
    kubernetes_users: impersonation === undefined ? [] : [impersonation.user],
    kubernetes_groups: impersonation?.groups ?? [],
    ...(pod ? { kubernetes_pod_name: info.name, kubernetes_pod_namespace: info.namespace } : {}),
    ...(container === null ? {} : { kubernetes_container_name: container }),
    ...(info.subresource === 'exec' ? { initial_command: command } : {}),
  };
}

/** The cluster as a session's target. */
export async function sessionTarget(context: KubeContext, call: KubeCall): Promise<SessionTarget> {
  const { metadata } = call.cluster;
  let addr = '';
  try {
    addr = (await context.upstreams.get(call.cluster)).host;
  } catch {
    // What is wrong with the kubeconfig is told when the session wants to reach the cluster.
  }
  return {
    kind: 'kube_cluster',
    name: metadata.name,
    displayName: metadata.name,
    addr,
    labels: metadata.labels ?? {},
  };
}
