import { execFile } from 'node:child_process';
import { userInfo } from 'node:os';
import { promisify } from 'node:util';
import { NightlatchError } from '../../core/errors.ts';

/** An account of this machine, as a session runs under it. */
export interface Account {
  readonly login: string;
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
  readonly shell: string;
  /** The account is the daemon's own: nothing has to be switched. */
  readonly own: boolean;
}

/**
 * The account for a login. Only a daemon that is root can run anything as somebody else.
 * @throws {NightlatchError} `access_denied`, `not_found`
 */
export async function accountOf(login: string): Promise<Account> {
  const me = userInfo();
  if (login === me.username) {
    return { login, uid: me.uid, gid: me.gid, home: me.homedir, shell: me.shell ?? '/bin/sh', own: true };
  }
  if (me.uid !== 0) {
    throw new NightlatchError(
      'access_denied',
      `this node runs as the user ${me.username}, the only login it can offer (the daemon is not root)`,
    );
  }
  // A name that looks like a flag or a number would mean something else to getent.
  if (!/^[A-Za-z_][A-Za-z0-9._-]*\$?$/.test(login)) throw unknownAccount(login);
  const { stdout } = await promisify(execFile)('getent', ['passwd', login]).catch(() => {
    throw unknownAccount(login);
  });
  const [name, , uid, gid, , home, shell] = stdout.trim().split(':');
  if (name !== login || home === undefined) throw unknownAccount(login);
  return { login, uid: Number(uid), gid: Number(gid), home, shell: shell || '/bin/sh', own: false };
}

function unknownAccount(login: string): NightlatchError {
  return new NightlatchError('not_found', `there is no account ${login} on this machine`);
}

/** File and arguments that run a command under the account, with its groups. */
export function commandAs(account: Account, file: string, args: readonly string[]): [file: string, args: string[]] {
  if (account.own) return [file, [...args]];
  const identity = [`--reuid=${account.uid}`, `--regid=${account.gid}`, '--init-groups'];
  return ['setpriv', [...identity, '--', file, ...args]];
}

/** Variables a client may set, as Debian's sshd accepts them. */
const CLIENT_VARIABLES = /^(?:LANG|LC_[A-Z]+|COLORTERM|GIT_PROTOCOL|TZ)$/;

export function isClientVariable(name: string): boolean {
  return CLIENT_VARIABLES.test(name);
}

/** The environment of a session: made new, so that nothing of the daemon's own gets in. `clientAddr` is `ip:port`. */
export function environmentOf(
  account: Account,
  clientAddr: string,
  fromClient: Readonly<Record<string, string>>,
): Record<string, string> {
  const [, ip = 'UNKNOWN', port = '65535'] = /^(.*):(\d+)$/.exec(clientAddr) ?? [];
  const bins = '/usr/local/bin:/usr/bin:/bin';
  const client = ip.replace(/^\[|\]$/g, '');
  return {
    ...fromClient,
    USER: account.login,
    LOGNAME: account.login,
    HOME: account.home,
    SHELL: account.shell,
    PATH: account.uid === 0 ? `/usr/local/sbin:/usr/sbin:/sbin:${bins}` : bins,
    SSH_CLIENT: `${client} ${port} 22`,
    SSH_CONNECTION: `${client} ${port} 127.0.0.1 22`,
  };
}
