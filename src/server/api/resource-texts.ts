import type { Kind } from '../../resources/index.ts';

/** Kinds as messages call them; the words are Teleport's. */
export const KIND_NAMES: Readonly<Record<Kind, string>> = {
  cluster_auth_preference: 'cluster auth preference',
  cluster_networking_config: 'cluster networking configuration',
  role: 'role',
  user: 'user',
  node: 'node',
  db: 'database',
  kube_cluster: 'kubernetes cluster',
  windows_desktop: 'windows desktop',
  lock: 'lock',
};

/** A resource in a message: `role "x"`, `cluster auth preference`. */
export function nameInText(kind: Kind, name: string, singleton: boolean): string {
  return singleton ? KIND_NAMES[kind] : `${KIND_NAMES[kind]} ${JSON.stringify(name)}`;
}

/** Why a resource that the configuration file sets is not changed; Teleport's text. `file`: base name of the configuration file. */
export function managedByStaticText(what: string, file: string, flags: string): string {
  return (
    `The ${what} resource is managed by static configuration. We recommend removing configuration from ${file}, ` +
    'restarting the servers and trying this command again.\n\n' +
    `If you would still like to proceed, re-run the command with ${flags}.`
  );
}

/** The same for deleting it; Teleport's text. */
export function managedByStaticDeleteText(file: string): string {
  return (
    'This resource is managed by static configuration. In order to reset it to defaults, remove relevant configuration ' +
    `from ${file} and restart the servers.`
  );
}

/** What becomes of a change to a resource that the configuration file sets. */
export function overriddenText(what: string, file: string): string {
  return `The ${what} is set in ${file}: the next start puts back what it says.`;
}
