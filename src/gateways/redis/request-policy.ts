import { NightlatchError } from '../../core/errors.ts';
import { KEYLESS_COMMANDS } from '../../wire/redis/commands.ts';
import { type PendingReply, PLAIN } from '../../wire/redis/reply-tracker.ts';
import { type RequestDecision, type RequestListener, refusal } from '../../wire/redis/request-tap.ts';
import { encodeCommand } from '../../wire/redis/resp.ts';

const OK = Buffer.from('+OK\r\n');
const NOTHING = Buffer.alloc(0);

/** What the policy says about the session's commands. */
export interface RequestRights {
  /** The Redis user that the gateway has signed in as. */
  readonly user: string;
  /** Why a database may not be selected, or undefined. */
  refuseDatabase(number: string): string | undefined;
  /** The database that is selected; undefined while none may be used. */
  selected(): string | undefined;
  databaseSelected(number: string | undefined): void;
  /** The commands that bring a fresh connection to where the session begins, each answered `+OK`; and the database that is selected then. */
  signInAgain(): { readonly commands: readonly Buffer[]; readonly selected: string | undefined };
  /** The connection is where the session began. */
  signedInAgain(): void;
}

/**
 * Which commands pass. The gateway has signed in by itself, so AUTH, HELLO and RESET are its own to answer; `db_names` are the numbers that SELECT and
 * its kin may name. What scripts do is for the Redis user's rules (ACL) to say.
 */
export function requestPolicy(rights: RequestRights): RequestListener['decide'] {
  /** Commands are collected (MULTI). */
  let collecting = false;
  return (name, args) => {
    if (name === 'MULTI') collecting = true;
    else if (name === 'EXEC' || name === 'DISCARD' || name === 'RESET') collecting = false;
    // `+QUEUED` says nothing of the database that is selected in the end: EXEC may be aborted.
    if (name === 'SELECT' && collecting) return refusal('ERR', 'SELECT within MULTI does not go through the gateway');
    if (rights.selected() === undefined && !KEYLESS_COMMANDS.has(name))
      return refusal('NOPERM', 'no database is selected that you may use: select one first (SELECT)');
    if (args === undefined) return undefined;
    switch (name) {
      case 'AUTH':
        if (args.length === 3) return authenticated(rights, args[1]!) ?? { answer: OK };
        return args.length === 2 ? { answer: OK } : undefined;
      case 'HELLO':
        return hello(rights, args);
      case 'RESET':
        return args.length === 1 ? reset(rights) : undefined;
      case 'SELECT':
        return args.length === 2 ? select(rights, args[1]!) : undefined;
      case 'MOVE':
        return args.length === 3 ? checked(rights, [args[2]!]) : undefined;
      case 'SWAPDB':
        return args.length === 3 ? checked(rights, [args[1]!, args[2]!]) : undefined;
      case 'COPY':
        return checked(rights, copyTargets(args));
      case 'PSYNC':
      case 'REPLCONF':
      case 'SYNC':
        return refusal('NOPERM', 'replication does not go through the gateway');
      default:
        return undefined;
    }
  };
}

/** A refusal where a client names another user than the session's. What password it names does not matter. */
function authenticated(rights: RequestRights, user: Buffer): RequestDecision {
  const name = user.toString('utf8');
  if (name === rights.user) return undefined;
  return refusal(
    'WRONGPASS',
    `this session is for the Redis user "${rights.user}", not "${name}": open another connection for another user`,
  );
}

/** HELLO [version [AUTH user password] [SETNAME name]], without what is the gateway's business. */
function hello(rights: RequestRights, args: readonly Buffer[]): RequestDecision {
  const forwarded: (string | Buffer)[] = ['HELLO', ...args.slice(1, 2)];
  for (let at = 2; at < args.length; ) {
    const option = args[at]!.toString('latin1').toUpperCase();
    if (option === 'AUTH' && at + 2 < args.length) {
      const refused = authenticated(rights, args[at + 1]!);
      if (refused !== undefined) return refused;
      at += 3;
    } else if (option === 'SETNAME' && at + 1 < args.length) {
      forwarded.push('SETNAME', args[at + 1]!);
      at += 2;
    } else return refusal('ERR', 'Syntax error in HELLO');
  }
  return { replace: encodeCommand(...forwarded), replies: [{ answer: { kind: 'hello' }, counts: true }] };
}

/** RESET signs out and selects database 0: the gateway signs in again before anything else reaches the server. */
function reset(rights: RequestRights): RequestDecision {
  const { commands, selected } = rights.signInAgain();
  const replies: PendingReply[] = [{ answer: { kind: 'reset' }, counts: true }];
  commands.forEach((_command, index) => {
    replies.push({
      answer: PLAIN,
      counts: true,
      rewrite: (reply) => {
        if (reply[0] !== 0x2b)
          throw new NightlatchError('unavailable', 'the database does not let the gateway sign in again after RESET');
        if (index === commands.length - 1) rights.signedInAgain();
        return NOTHING;
      },
    });
  });
  rights.databaseSelected(selected);
  return { replace: Buffer.concat([encodeCommand('RESET'), ...commands]), replies, wait: commands.length > 0 };
}

/** A database's number as Redis reads it; undefined for everything else. */
function databaseNumber(bytes: Buffer): string | undefined {
  const text = bytes.toString('latin1');
  return /^(?:0|[1-9]\d{0,8})$/.test(text) ? text : undefined;
}

function checked(rights: RequestRights, targets: readonly Buffer[]): RequestDecision {
  for (const target of targets) {
    const number = databaseNumber(target);
    if (number === undefined) return refusal('ERR', 'invalid DB index');
    const refused = rights.refuseDatabase(number);
    if (refused !== undefined) return refusal('NOPERM', `database ${number} is denied: ${refused}`);
  }
  return undefined;
}

function select(rights: RequestRights, target: Buffer): RequestDecision {
  const refused = checked(rights, [target]);
  if (refused !== undefined) return refused;
  const number = target.toString('latin1');
  return {
    replace: encodeCommand('SELECT', number),
    replies: [
      {
        answer: PLAIN,
        counts: true,
        done: (failed) => {
          if (!failed) rights.databaseSelected(number);
        },
      },
    ],
  };
}

/** COPY source destination [DB number] [REPLACE] */
function copyTargets(args: readonly Buffer[]): Buffer[] {
  const targets: Buffer[] = [];
  for (let at = 3; at + 1 < args.length; at++)
    if (args[at]!.toString('latin1').toUpperCase() === 'DB') targets.push(args[++at]!);
  return targets;
}
