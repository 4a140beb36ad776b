/** What roles of v7 and before call the kinds of Kubernetes, and what the API calls them. v8 uses the API's names. */
export const KUBE_V7_KINDS: Readonly<
  Record<string, { readonly resource: string; readonly apiGroups: readonly string[] }>
> = {
  pod: { resource: 'pods', apiGroups: [''] },
  secret: { resource: 'secrets', apiGroups: [''] },
  configmap: { resource: 'configmaps', apiGroups: [''] },
  namespace: { resource: 'namespaces', apiGroups: [''] },
  service: { resource: 'services', apiGroups: [''] },
  serviceaccount: { resource: 'serviceaccounts', apiGroups: [''] },
  kube_node: { resource: 'nodes', apiGroups: [''] },
  persistentvolume: { resource: 'persistentvolumes', apiGroups: [''] },
  persistentvolumeclaim: { resource: 'persistentvolumeclaims', apiGroups: [''] },
  deployment: { resource: 'deployments', apiGroups: ['apps', 'extensions'] },
  replicaset: { resource: 'replicasets', apiGroups: ['apps', 'extensions'] },
  statefulset: { resource: 'statefulsets', apiGroups: ['apps'] },
  daemonset: { resource: 'daemonsets', apiGroups: ['apps', 'extensions'] },
  clusterrole: { resource: 'clusterroles', apiGroups: ['rbac.authorization.k8s.io'] },
  kube_role: { resource: 'roles', apiGroups: ['rbac.authorization.k8s.io'] },
  clusterrolebinding: { resource: 'clusterrolebindings', apiGroups: ['rbac.authorization.k8s.io'] },
  rolebinding: { resource: 'rolebindings', apiGroups: ['rbac.authorization.k8s.io'] },
  cronjob: { resource: 'cronjobs', apiGroups: ['batch'] },
  job: { resource: 'jobs', apiGroups: ['batch'] },
  certificatesigningrequest: { resource: 'certificatesigningrequests', apiGroups: ['certificates.k8s.io'] },
  ingress: { resource: 'ingresses', apiGroups: ['networking.k8s.io', 'extensions'] },
};

/** What may be done with an object in a cluster. */
export const KUBE_VERBS = [
  '*',
  'get',
  'list',
  'watch',
  'create',
  'update',
  'patch',
  'delete',
  'deletecollection',
  'exec',
  'portforward',
] as const;
