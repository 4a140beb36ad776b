import { userInfo } from 'node:os';
import { NightlatchError } from '../../core/errors.ts';
import type { Profile } from './profile.ts';
import { runInPlace } from './run.ts';
import { type GlobalOptions, openSignIn, type SignIn } from './sign-in.ts';
import { checkCluster, checkNodeName, parseSshArguments, splitTarget } from './ssh-arguments.ts';
import { sshConfig, sshOptions } from './ssh-config.ts';

const OPENSSH_HINT = 'the package openssh-client brings it';

const SSH_USAGE = `Usage: tsh ssh [options] [login@]node [command...]

Runs a shell or a command on a node through the gateway. Every flag of ssh is passed on: -L, -R, -D, -N, -A, -t, -p, -o, -v ...

Options:
  -l, --login <name>       Login on the node.
  -p, --port <port>        Port of the node, where several share an address.
  -t, --tty                A terminal for the command too.
  -A, --forward-agent      Forward the connection to your agent, where a role allows it.
  -N, --no-remote-exec     No command: forwarded ports only.
  -i, --identity <file>    Identity file made with tctl auth sign.
  --proxy <host:port>      The cluster, where you are signed in to several.
  --user <name>            Your user name.
  --cluster <name>         Name of the cluster, refused where you are signed in to another one.
  --insecure               Do not check the certificate of the server.
`;

const SCP_USAGE = `Usage: tsh scp [flags of scp] source... destination

Copies files to or from one node through the gateway; a file there is [login@]node:path. Every flag of scp is passed on: -r, -p, -P, -l, -q ...
The options of tsh stand before the command: tsh --proxy=HOST:PORT scp ...
`;

/** `tsh ssh`: the system's OpenSSH, told how to get there. */
export async function ssh(globals: GlobalOptions, args: readonly string[]): Promise<void> {
  const line = parseSshArguments(args);
  if (line.options.help) {
    process.stdout.write(SSH_USAGE);
    return;
  }
  const signIn = await openSignIn(mergeOptions(globals, line.options));
  try {
    checkCluster(line.options.cluster, signIn.profile.cluster);
    requireSshCertificate(signIn);
    const node = shortNodeName(line.node, signIn.profile.cluster);
    const login = namedLogin(line.login ?? defaultLogin(signIn.profile), signIn.profile);
    await runInPlace(
      'ssh',
      [...optionArguments(signIn), ...aliasFor(node, signIn), ...line.flags, '-l', login, '--', node, ...line.command],
      {
        hint: OPENSSH_HINT,
        stay: signIn.identityFile !== undefined,
      },
    );
  } finally {
    signIn.dispose();
  }
}

/** `tsh scp`: the system's scp, likewise. At most one host stands on either side, as with scp itself. */
export async function scp(globals: GlobalOptions, args: readonly string[]): Promise<void> {
  if (args[0] === '--help' || args[0] === '-h') {
    process.stdout.write(SCP_USAGE);
    return;
  }
  const { flags, files } = parseScpArguments(args);
  const signIn = await openSignIn(globals);
  try {
    requireSshCertificate(signIn);
    const targets = files.map((file) => parseScpFile(file, signIn.profile));
    const nodes = [...new Set(targets.flatMap((target) => (target.node === undefined ? [] : [target.node])))];
    if (nodes.length === 0) throw new NightlatchError('bad_parameter', 'neither side names a node: [login@]node:path');
    if (nodes.length > 1) {
      throw new NightlatchError('bad_parameter', 'files are copied to or from one node at a time');
    }
    await runInPlace(
      'scp',
      [
        ...optionArguments(signIn),
        ...aliasFor(nodes[0]!, signIn),
        ...flags,
        '--',
        ...targets.map((target) => target.argument),
      ],
      { hint: OPENSSH_HINT, stay: signIn.identityFile !== undefined },
    );
  } finally {
    signIn.dispose();
  }
}

/** `tsh config`. */
export async function config(globals: GlobalOptions): Promise<void> {
  const signIn = await openSignIn(globals);
  try {
    if (signIn.identityFile !== undefined) {
      throw new NightlatchError(
        'bad_parameter',
        'tsh config needs a sign-in (tsh login): the files of -i live only as long as tsh',
      );
    }
    process.stdout.write(sshConfig(signIn));
  } finally {
    signIn.dispose();
  }
}

function mergeOptions(
  globals: GlobalOptions,
  own: { proxy: string | undefined; user: string | undefined; identity: string | undefined; insecure: boolean },
): GlobalOptions {
  const merged = {
    proxy: own.proxy ?? globals.proxy,
    user: own.user ?? globals.user,
    identity: own.identity ?? globals.identity,
  };
  return {
    ...(merged.proxy === undefined ? {} : { proxy: merged.proxy }),
    ...(merged.user === undefined ? {} : { user: merged.user }),
    ...(merged.identity === undefined ? {} : { identity: merged.identity }),
    ...(own.insecure || globals.insecure === true ? { insecure: true } : {}),
  };
}

function optionArguments(signIn: SignIn): string[] {
  // The user's own configuration is for other hosts; what is wanted from it can be passed with -o or -F.
  return ['-F', '/dev/null', ...sshOptions(signIn).flatMap(([name, value]) => ['-o', `${name}=${value}`])];
}

/** The gateway's host certificate carries `NODE.CLUSTER`, which known_hosts trusts by its pattern. */
function aliasFor(node: string, signIn: SignIn): string[] {
  return ['-o', `HostKeyAlias=${node}.${signIn.profile.cluster}`];
}

/** `NODE.CLUSTER` is the same node as `NODE`. */
export function shortNodeName(node: string, cluster: string): string {
  const suffix = `.${cluster}`;
  return node.endsWith(suffix) && node.length > suffix.length ? node.slice(0, -suffix.length) : node;
}

function requireSshCertificate(signIn: SignIn): void {
  if (signIn.profile.logins.length > 0) return;
  throw new NightlatchError('access_denied', 'your roles allow no login on any node');
}

/** The name on this computer if the roles allow it, else the only login they allow. */
export function defaultLogin(profile: Profile): string {
  const local = userInfo().username;
  if (profile.logins.length === 1 && !profile.logins.includes(local)) return profile.logins[0]!;
  return local;
}

/** The login, where the certificate names it: ssh would say no more than `Permission denied`. @throws {NightlatchError} `access_denied` */
export function namedLogin(login: string, { logins }: Profile): string {
  if (logins.includes(login)) return login;
  throw new NightlatchError(
    'access_denied',
    `your certificate does not name the login ${login} (it names ${logins.join(', ')}). If your roles have changed, sign in again: tsh login`,
  );
}

/** Flags of scp(1), those with a value apart. */
const SCP_FLAGS_WITH_VALUE = 'cDFiJloPSX';

function parseScpArguments(args: readonly string[]): { flags: string[]; files: string[] } {
  const flags: string[] = [];
  let at = 0;
  for (; at < args.length; at++) {
    const arg = args[at]!;
    if (arg === '--') {
      at += 1;
      break;
    }
    if (!arg.startsWith('-') || arg === '-') break;
    const index = [...arg.slice(1)].findIndex((flag) => SCP_FLAGS_WITH_VALUE.includes(flag));
    flags.push(arg);
    // A flag with a value that is not in the same argument takes the next one.
    if (index >= 0 && index === arg.length - 2) {
      const value = args[++at];
      if (value === undefined) throw new NightlatchError('bad_parameter', `expected argument for flag '${arg}'`);
      flags.push(value);
    }
  }
  const files = args.slice(at);
  if (files.length < 2) throw new NightlatchError('bad_parameter', 'scp needs at least a source and a destination');
  return { flags, files };
}

/** `[login@]node:path`, or a local path: one with a slash before any colon, or without a colon (scp(1)). */
function parseScpFile(file: string, profile: Profile): { argument: string; node?: string } {
  const colon = file.indexOf(':');
  if (colon < 0 || /^[./]/.test(file) || file.slice(0, colon).includes('/')) {
    // A local name that begins with a dash is no flag.
    return { argument: file.startsWith('-') ? `./${file}` : file };
  }
  const { login, node } = splitTarget(file.slice(0, colon));
  const name = checkNodeName(shortNodeName(node, profile.cluster));
  return {
    argument: `${namedLogin(login ?? defaultLogin(profile), profile)}@${name}:${file.slice(colon + 1)}`,
    node: name,
  };
}
