import { fileURLToPath } from 'node:url';
import type { SignIn } from './sign-in.ts';

/** Path of the launcher that runs tsh: what a ProxyCommand calls, whatever the search path is there. */
export function tshPath(): string {
  return fileURLToPath(new URL('../../../bin/tsh.js', import.meta.url));
}

/** Text for a shell, in single quotes. */
export function shellQuote(text: string): string {
  return /^[A-Za-z0-9_./:@%+=,-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** A value in ssh_config: quoted where it has blanks; `%` is doubled, since ssh_config expands it. */
function configValue(text: string): string {
  const escaped = text.replaceAll('%', '%%');
  return /[\s"']/.test(escaped) ? `"${escaped.replace(/["\\]/g, (char) => `\\${char}`)}"` : escaped;
}

/** The ProxyCommand that leads to a node through the public port. It runs in a shell (ssh_config(5)), which `exec` leaves at once. */
export function proxyCommand(signIn: SignIn): string {
  const { profile, identityFile, endpoint } = signIn;
  const words = [
    process.execPath,
    tshPath(),
    ...(identityFile === undefined ? [] : ['-i', identityFile]),
    ...(endpoint.insecure === true && profile.trust !== 'insecure' ? ['--insecure'] : []),
    'proxy',
    'ssh',
    `--proxy=${profile.host}:${profile.port}`,
    `--cluster=${profile.cluster}`,
  ];
  return `${words.map((word) => shellQuote(word).replaceAll('%', '%%')).join(' ')} %r@%h:%p`;
}

/** Options that make ssh use our keys and certificates, and trust the cluster's hosts, and nothing else. */
export function sshOptions(signIn: SignIn): [name: string, value: string][] {
  return [
    ['UserKnownHostsFile', configValue(signIn.knownHostsFile)],
    ['GlobalKnownHostsFile', '/dev/null'],
    ['StrictHostKeyChecking', 'yes'],
    ['IdentityFile', configValue(signIn.keyFile)],
    ['CertificateFile', configValue(signIn.sshCertificateFile)],
    // An agent's keys are not offered, but the agent can be forwarded.
    ['IdentitiesOnly', 'yes'],
    ['PasswordAuthentication', 'no'],
    ['KbdInteractiveAuthentication', 'no'],
    ['UpdateHostKeys', 'no'],
    ['SendEnv', 'LANG LC_*'],
    ['ProxyCommand', proxyCommand(signIn)],
  ];
}

/**
 * `tsh config`: what to append to `~/.ssh/config` so that plain ssh, scp, rsync, git, VS Code and Ansible reach `NODE.CLUSTER`, and,
 * where the gateway has a listener for it, `ssh -J GATEWAY:PORT` too.
 */
export function sshConfig(signIn: SignIn): string {
  const { cluster, host } = signIn.profile;
  return [
    '#',
    `# Nightlatch: SSH to the nodes of ${cluster} through ${host}. ssh LOGIN@NODE.${cluster}`,
    '#',
    ...gatewayConfig(signIn),
    `Host *.${cluster}`,
    ...sshOptions(signIn).map(configLine),
    '# End Nightlatch configuration',
    '',
  ].join('\n');
}

/**
 * The gateway itself, on the port for `ssh -J` only: the machine may have an SSH server of its own. It stands first, since its name may
 * look like that of a node.
 */
function gatewayConfig(signIn: SignIn): string[] {
  const { cluster, host, sshPort } = signIn.profile;
  if (sshPort === undefined) return [];
  const options = sshOptions(signIn).filter(([name]) => name !== 'ProxyCommand');
  return [
    `Match host ${host} exec "test %p = ${sshPort}"`,
    // Its certificate names the cluster, whatever address leads to it.
    `    HostKeyAlias ${cluster}`,
    '    ProxyCommand none',
    ...options.map(configLine),
  ];
}

function configLine([name, value]: readonly [name: string, value: string]): string {
  return `    ${name} ${value}`;
}
