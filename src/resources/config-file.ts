import type { z } from 'zod';
import type { ClusterAuthPreference } from './cluster-auth-preference.ts';
import type { ClusterNetworkingConfig } from './cluster-networking-config.ts';
import { configSchema } from './config-schema.ts';
import type { Database } from './database.ts';
import type { KubeCluster } from './kube-cluster.ts';
import { ORIGIN_LABEL } from './metadata.ts';
import { ConfigError, check, type Path, problemText } from './problems.ts';
import type { WindowsDesktop } from './windows-desktop.ts';
import { placed, readYaml, type YamlDocument } from './yaml-source.ts';

type Parsed = z.infer<typeof configSchema>;

/** The configuration file with its defaults; SSH's listener has one name here. */
export type Config = Omit<Parsed, 'proxy_service'> & {
  readonly proxy_service: Omit<Parsed['proxy_service'], 'listen_addr'>;
};

/** What a configuration file says. */
export interface ConfigFile {
  readonly config: Config;
  /** Keys that were left out of account because the caller asked for that, as `file:line: key: …`. */
  readonly warnings: readonly string[];
  /** The error for what turns out later to be wrong at a key, with its line. */
  errorAt(path: Path, text: string): ConfigError;
}

/**
 * Reads the daemon's configuration (`/etc/nightlatch.yaml`, YAML with teleport.yaml's keys). An empty file is complete.
 * @throws {ConfigError} whose message lists every problem as `file:line: key: what is wrong, what to do`.
 */
export function parseConfigFile(
  text: string,
  fileName: string,
  options: { readonly ignoreUnsupported?: boolean } = {},
): ConfigFile {
  const documents = readYaml(text, fileName);
  const second = documents[1];
  if (second !== undefined) {
    const problem = {
      line: second.lineOf([]),
      path: [],
      text: 'begins a second document: a configuration is one',
      unsupported: false,
    };
    throw new ConfigError(fileName, [problem]);
  }
  const document: YamlDocument = documents[0] ?? { value: {}, lineOf: () => 1 };
  const errorAt = (path: Path, text: string): ConfigError =>
    new ConfigError(fileName, placed([{ path, text, unsupported: false }], document));
  const first = check(configSchema, document.value);
  if (first.ok) return { config: oneSshName(first.data), warnings: [], errorAt };
  const ignored = options.ignoreUnsupported ? first.problems.filter((problem) => problem.unsupported) : [];
  const again =
    ignored.length === 0
      ? first
      : check(
          configSchema,
          without(
            document.value,
            ignored.map((problem) => problem.path),
          ),
        );
  if (!again.ok) throw new ConfigError(fileName, placed(again.problems, document));
  return {
    config: oneSshName(again.data),
    warnings: placed(ignored, document).map((problem) =>
      problemText(fileName, { ...problem, text: 'is a Teleport setting that Nightlatch does not support: ignored' }),
    ),
    errorAt,
  };
}

function oneSshName(parsed: Parsed): Config {
  const { listen_addr, ...proxy } = parsed.proxy_service;
  return { ...parsed, proxy_service: listen_addr === undefined ? proxy : { ...proxy, ssh_listen_addr: listen_addr } };
}

/** A copy without these keys. */
function without(value: unknown, paths: readonly Path[]): unknown {
  const copy = structuredClone(value);
  for (const path of paths) {
    let at = copy as Record<string | number, unknown> | undefined;
    for (const step of path.slice(0, -1)) at = at?.[step] as Record<string | number, unknown> | undefined;
    if (at !== undefined) delete at[path.at(-1)!];
  }
  return copy;
}

/** The settings and targets that a file brings, as resources of origin `config-file`. */
export interface ConfigResources {
  /** Only where the file has `authentication` or `disconnect_expired_cert`: otherwise `cap` stays open to `tctl`. */
  readonly authPreference?: ClusterAuthPreference;
  /** Only where the file has one of `client_idle_*` and `web_idle_timeout`. */
  readonly networkingConfig?: ClusterNetworkingConfig;
  readonly databases: readonly Database[];
  /** Where `kubernetes_service` names a cluster; without a name there is one for each context, which only the kubeconfig tells. */
  readonly kubeClusters: readonly KubeCluster[];
  readonly desktops: readonly WindowsDesktop[];
}

/** What the file says, in the form of resources (SPEC 2.2, origin). */
export function configResources(config: Config): ConfigResources {
  const auth = config.auth_service;
  const { authentication, disconnect_expired_cert } = auth;
  const network = dropUndefined({
    client_idle_timeout: auth.client_idle_timeout,
    idle_timeout_message: auth.client_idle_timeout_message,
    client_idle_warning: auth.client_idle_warning,
    client_idle_activity: auth.client_idle_activity,
    web_idle_timeout: auth.web_idle_timeout,
  });
  const origin = { [ORIGIN_LABEL]: 'config-file' };
  const { kubeconfig_file, kube_cluster_name } = config.kubernetes_service;
  return {
    ...(authentication === undefined && disconnect_expired_cert === undefined
      ? {}
      : {
          authPreference: {
            kind: 'cluster_auth_preference' as const,
            version: 'v2' as const,
            metadata: { name: 'cluster-auth-preference' as const, labels: origin },
            spec: {
              type: 'local' as const,
              second_factor: 'on' as const,
              locking_mode: 'best_effort' as const,
              ...dropUndefined({ ...authentication, disconnect_expired_cert }),
            },
          },
        }),
    ...(Object.keys(network).length === 0
      ? {}
      : {
          networkingConfig: {
            kind: 'cluster_networking_config' as const,
            version: 'v2' as const,
            metadata: { name: 'cluster-networking-config' as const, labels: origin },
            spec: network,
          },
        }),
    databases: config.db_service.enabled
      ? config.db_service.databases.map(({ name, description, static_labels, ...spec }) => ({
          kind: 'db' as const,
          version: 'v3' as const,
          metadata: { name, ...dropUndefined({ description }), labels: { ...static_labels, ...origin } },
          spec,
        }))
      : [],
    kubeClusters:
      config.kubernetes_service.enabled && kube_cluster_name !== undefined
        ? [
            {
              kind: 'kube_cluster' as const,
              version: 'v3' as const,
              metadata: { name: kube_cluster_name, labels: { ...config.kubernetes_service.labels, ...origin } },
              spec: kubeconfig_file === undefined ? { in_cluster: true } : { kubeconfig_file },
            },
          ]
        : [],
    desktops: config.windows_desktop_service.enabled
      ? config.windows_desktop_service.static_hosts.map(({ name, labels, ...spec }) => ({
          kind: 'windows_desktop' as const,
          version: 'v3' as const,
          metadata: { name, labels: { ...labels, ...origin } },
          spec,
        }))
      : [],
  };
}

function dropUndefined<T extends object>(value: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(value).filter(([, inner]) => inner !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}
