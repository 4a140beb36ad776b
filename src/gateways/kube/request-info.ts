import type { KubeObject } from '../../policy/kube-access.ts';

/** What a request to the Kubernetes API is about, read from method and URL as the API server reads it. */
export interface KubeRequestInfo {
  /** False for discovery, versions, health and the like: `/api`, `/version`, `/openapi/v3`. */
  readonly isResource: boolean;
  /** `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`, `exec`, `portforward`; the method in lower case where it is no resource. */
  readonly verb: string;
  readonly apiGroup: string;
  readonly apiVersion: string;
  /** '' for what belongs to no namespace; also for a namespace itself. */
  readonly namespace: string;
  /** Plural: `pods`. */
  readonly resource: string;
  /** `exec`, `log`, `status` …, or ''. */
  readonly subresource: string;
  readonly name: string;
  /** Decoded path. */
  readonly path: string;
  readonly query: URLSearchParams;
}

const VERBS: Readonly<Record<string, string>> = {
  GET: 'get',
  HEAD: 'get',
  POST: 'create',
  PUT: 'update',
  PATCH: 'patch',
  DELETE: 'delete',
};

/** Subresources whose name the roles know as a verb of its own. */
const SUBRESOURCE_VERBS: Readonly<Record<string, string>> = {
  exec: 'exec',
  attach: 'exec',
  portforward: 'portforward',
};

/** What an application behind a pod, service or node is asked is its own affair: `/api/v1/namespaces/NS/pods/NAME/proxy/…`. */
const BEHIND_PROXY = /^(\/api\/v1\/(?:namespaces\/[^/%]+\/)?(?:pods|services|nodes)\/[^/%]+\/proxy\/).*/;

/**
 * Reads a request as `k8s.io/apiserver/pkg/endpoints/request.RequestInfoFactory` does; undefined for a URL that two readers could
 * understand in two ways (empty or dot segments, slashes in escapes, control characters, broken escapes): such a one is refused.
 * @param url - path and query as in the request line.
 */
export function readRequestInfo(method: string, url: string): KubeRequestInfo | undefined {
  const mark = url.indexOf('?');
  const rawPath = mark < 0 ? url : url.slice(0, mark);
  const query = new URLSearchParams(mark < 0 ? '' : url.slice(mark + 1));
  let path: string;
  try {
    path = decodeURIComponent(rawPath);
  } catch {
    return undefined;
  }
  if (!path.startsWith('/') || /[\x00-\x1f\x7f\\#]/.test(path) || rawPath.includes('#')) return undefined;
  // Not every server decodes before it splits.
  if (/%2f/i.test(rawPath.replace(BEHIND_PROXY, '$1'))) return undefined;
  const parts = path.slice(1).split('/');
  if (parts.at(-1) === '' && parts.length > 1) parts.pop();
  if (parts.some((part) => part === '.' || part === '..') || (parts.length > 1 && parts.includes(''))) return undefined;

  const other = {
    isResource: false,
    apiGroup: '',
    apiVersion: '',
    namespace: '',
    resource: '',
    subresource: '',
    name: '',
  };
  const nonResource = { ...other, verb: method.toLowerCase(), path, query };
  const prefix = parts.shift();
  if (prefix !== 'api' && prefix !== 'apis') return nonResource;
  const apiGroup = prefix === 'apis' ? parts.shift() : '';
  const apiVersion = parts.shift();
  if (apiGroup === undefined || apiVersion === undefined || parts.length === 0) return nonResource;

  let verb = VERBS[method] ?? method.toLowerCase();
  // Deprecated forms that servers still understand: /api/v1/watch/… and /api/v1/proxy/….
  if (parts[0] === 'watch' || parts[0] === 'proxy') {
    verb = parts.shift()!;
    if (parts.length === 0) return nonResource;
  }
  let namespace = '';
  if (parts[0] === 'namespaces' && parts.length > 2 && parts[2] !== 'status' && parts[2] !== 'finalize') {
    namespace = parts[1]!;
    parts.splice(0, 2);
  }
  const [resource = '', name = '', subresource = ''] = parts;
  if (name === '' && verb === 'get') verb = isSet(query, 'watch') ? 'watch' : 'list';
  else if (name === '' && verb === 'delete') verb = 'deletecollection';
  verb = SUBRESOURCE_VERBS[subresource] ?? verb;
  return { isResource: true, verb, apiGroup, apiVersion, namespace, resource, subresource, name, path, query };
}

/** A boolean query parameter as the API server reads it: anything but `false` and `0` is true, the empty value too. */
export function isSet(query: URLSearchParams, name: string): boolean {
  const value = query.get(name);
  return value !== null && !/^(?:false|0)$/i.test(value);
}

/** The object that a role's `kubernetes_resources` decide about. */
export function kubeObject(info: KubeRequestInfo): KubeObject {
  return {
    resource: info.resource,
    apiGroup: info.apiGroup,
    namespace: info.namespace,
    name: info.name,
    verb: info.verb,
  };
}

/** `get pods/web in namespace default`, for messages and logs. */
export function describeRequest(info: KubeRequestInfo): string {
  if (!info.isResource) return `${info.verb} ${info.path}`;
  const group = info.apiGroup === '' ? '' : `.${info.apiGroup}`;
  const name = info.name === '' ? '' : ` "${info.name}"`;
  const where = info.namespace === '' ? '' : ` in namespace "${info.namespace}"`;
  return `${info.verb} ${info.resource}${group}${name}${where}`;
}
