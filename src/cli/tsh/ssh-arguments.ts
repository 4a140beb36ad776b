import { NightlatchError } from '../../core/errors.ts';

/** Flags of ssh(1) that take a value, and those that take none. Both are passed on as they are. */
const SSH_FLAGS_WITH_VALUE = 'BbcDEeFIJLmOoPpQRSWw';
const SSH_FLAGS = '46AaCfGgKkMNnqsTtVvXxYy';

/** The command line of `tsh ssh`, taken apart. */
export interface SshCommandLine {
  /** Flags for ssh, in their order. */
  readonly flags: readonly string[];
  /** `-l`, `--login`, or what stands before the `@`. */
  readonly login?: string;
  readonly node: string;
  /** The remote command; words go to ssh one by one, as typed. */
  readonly command: readonly string[];
  /** Options of tsh among them. */
  readonly options: Readonly<Record<'proxy' | 'user' | 'identity' | 'cluster', string | undefined>> & {
    readonly insecure: boolean;
    readonly help: boolean;
  };
}

const LONG_WITH_VALUE = new Set(['proxy', 'user', 'login', 'identity', 'port', 'cluster']);
const LONG = new Set(['insecure', 'help', 'tty', 'forward-agent', 'no-remote-exec']);

/**
 * Takes `tsh ssh`'s arguments apart as ssh(1) does: flags (also bundled: `-tt`, `-NL 1:h:2`) up to the host, then the command.
 * @throws {NightlatchError} `bad_parameter`
 */
export function parseSshArguments(args: readonly string[]): SshCommandLine {
  const flags: string[] = [];
  const long = new Map<string, string>();
  let at = 0;
  for (; at < args.length; at++) {
    const arg = args[at]!;
    if (arg === '--') {
      at += 1;
      break;
    }
    if (arg.startsWith('--')) {
      const [name, inline] = splitLong(arg);
      if (LONG.has(name) && inline === undefined) long.set(name, '');
      else if (LONG_WITH_VALUE.has(name)) long.set(name, inline ?? valueAfter(args, ++at, arg));
      else throw new NightlatchError('bad_parameter', `unknown long flag '${arg}'`);
    } else if (arg.startsWith('-') && arg !== '-') {
      at = bundle(args, at, flags, long);
    } else break;
  }
  const target = args[at];
  if (long.has('help')) return { flags, node: '', command: [], options: optionsOf(long) };
  if (target === undefined) throw new NightlatchError('bad_parameter', "required argument '[user@]host' not provided");
  const { login, node } = splitTarget(target);
  const user = long.get('login') ?? login;
  if (long.has('tty')) flags.push('-t');
  if (long.has('forward-agent')) flags.push('-A');
  if (long.has('no-remote-exec')) flags.push('-N');
  if (long.has('port')) flags.push('-p', long.get('port')!);
  return {
    flags,
    node,
    command: args.slice(at + 1),
    options: optionsOf(long),
    ...(user === undefined ? {} : { login: checkLogin(user) }),
  };
}

function optionsOf(long: ReadonlyMap<string, string>): SshCommandLine['options'] {
  return {
    proxy: long.get('proxy'),
    user: long.get('user'),
    identity: long.get('identity'),
    cluster: long.get('cluster'),
    insecure: long.has('insecure'),
    help: long.has('help'),
  };
}

function splitLong(arg: string): [name: string, value: string | undefined] {
  const equals = arg.indexOf('=');
  return equals < 0 ? [arg.slice(2), undefined] : [arg.slice(2, equals), arg.slice(equals + 1)];
}

/** One argument of short flags; returns the index of the last argument used. */
function bundle(args: readonly string[], at: number, flags: string[], long: Map<string, string>): number {
  const arg = args[at]!;
  for (let i = 1; i < arg.length; i++) {
    const flag = arg[i]!;
    if (SSH_FLAGS.includes(flag)) {
      flags.push(`-${flag}`);
      continue;
    }
    const known = SSH_FLAGS_WITH_VALUE.includes(flag) || flag === 'l' || flag === 'i';
    if (flag === 'h') {
      long.set('help', '');
      return at;
    }
    if (!known) throw new NightlatchError('bad_parameter', `unknown short flag '-${flag}'`);
    const inline = arg.slice(i + 1);
    const value = inline === '' ? valueAfter(args, ++at, `-${flag}`) : inline;
    // As Teleport's: the login, and an identity file of tsh rather than a key of ssh.
    if (flag === 'l') long.set('login', value);
    else if (flag === 'i') long.set('identity', value);
    else flags.push(`-${flag}`, value);
    return at;
  }
  return at;
}

function valueAfter(args: readonly string[], at: number, flag: string): string {
  const value = args[at];
  if (value === undefined) throw new NightlatchError('bad_parameter', `expected argument for flag '${flag}'`);
  return value;
}

/** `[login@]node`; the last `@` divides, since a login may have one. */
export function splitTarget(target: string): { login?: string; node: string } {
  const divide = target.lastIndexOf('@');
  const node = checkNodeName(target.slice(divide + 1));
  return divide <= 0 ? { node } : { login: checkLogin(target.slice(0, divide)), node };
}

/**
 * A node's name as it may be given to ssh: nothing that ssh, a shell in a ProxyCommand or the tunnel's first line would take for
 * something else.
 * @throws {NightlatchError} `bad_parameter`
 */
export function checkNodeName(name: string): string {
  if (/^[A-Za-z0-9_](?:[A-Za-z0-9._-]*)$/.test(name) && name.length <= 255) return name;
  throw new NightlatchError('bad_parameter', `${JSON.stringify(name)} is no name of a node`);
}

/** A login on the target, likewise. @throws {NightlatchError} `bad_parameter` */
export function checkLogin(login: string): string {
  if (/^[A-Za-z0-9_.][A-Za-z0-9._@+=\\-]*$/.test(login) && login.length <= 128) return login;
  throw new NightlatchError('bad_parameter', `${JSON.stringify(login)} is no login`);
}

/** @throws {NightlatchError} `not_found` where `--cluster` names another cluster than that of the sign-in. */
export function checkCluster(wanted: string | undefined, cluster: string): void {
  if (wanted === undefined || wanted === cluster) return;
  throw new NightlatchError('not_found', `cluster ${JSON.stringify(wanted)} not found: this sign-in is for ${cluster}`);
}
