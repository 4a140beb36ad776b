import type { ClientListener, Decision } from '../../wire/mysql/client-tap.ts';
import { COMMAND, responseShape } from '../../wire/mysql/commands.ts';
import { decodeChangeUser } from '../../wire/mysql/handshake.ts';
import { encodePacket, HEADER_LENGTH, MARK } from '../../wire/mysql/packets.ts';
import type { PendingCommand } from '../../wire/mysql/response-tracker.ts';
import { killTarget, useTarget } from '../../wire/mysql/sql-text.ts';
import { ERROR } from './error-codes.ts';

/** AuthMoreData of caching_sha2_password: the client's answer was good. */
export const FAST_AUTH_SUCCESS = Buffer.from([MARK.authMoreData, 3]);

/** What the policy says about the session's commands. */
export interface CommandRights {
  readonly user: string;
  /** Capabilities that client and gateway have in common. */
  readonly capabilities: number;
  /** Why a database may not be chosen, or undefined. */
  refuseDatabase(name: string): string | undefined;
  /** The session works in another database now. */
  databaseChosen(name: string): void;
  /** Why the replication protocol may not be used, or undefined. */
  refuseReplication(): string | undefined;
  /** The server's id for a thread id that the gateway gave to this user; undefined for a server's own. */
  serverThreadId(id: number): number | undefined;
}

/**
 * Which commands pass, which are refused, and which the server gets in another form. `db_names` is checked where a database is chosen; what a
 * statement reaches by qualified names is for the server's grants to say.
 */
export function commandPolicy(rights: CommandRights): ClientListener['decide'] {
  const chooses = (name: string, payload: Buffer): Decision => {
    const refused = rights.refuseDatabase(name);
    if (refused !== undefined)
      return {
        refuse: {
          ...ERROR.dbAccessDenied,
          text: `Access denied for user '${rights.user}' to database '${name}': ${refused}`,
        },
      };
    const command = payload[0]!;
    return {
      replace: encodePacket(0, payload),
      commands: [
        {
          command,
          shape: command === COMMAND.query ? 'result' : 'single',
          counts: true,
          sequence: 0,
          done: (failed) => {
            if (!failed) rights.databaseChosen(name);
          },
        },
      ],
    };
  };

  return (command, payload, text) => {
    switch (command) {
      case COMMAND.initDb:
        return chooses(payload.toString('utf8', 1), payload);
      case COMMAND.createDb:
      case COMMAND.dropDb: {
        const name = payload.toString('utf8', 1);
        const refused = rights.refuseDatabase(name);
        if (refused === undefined) return undefined;
        return { refuse: { ...ERROR.dbAccessDenied, text: `Access denied to database '${name}': ${refused}` } };
      }
      case COMMAND.query: {
        const name = useTarget(text);
        if (name !== undefined) return chooses(name, payload);
        const kill = killTarget(text);
        const id = kill === undefined ? undefined : rights.serverThreadId(kill.id);
        if (kill === undefined || id === undefined) return undefined;
        const statement = Buffer.from(`${kill.before}${id}${kill.after}`);
        return {
          replace: encodePacket(0, Buffer.concat([payload.subarray(0, 1), statement])),
          commands: [{ command, shape: 'result', counts: true, sequence: 0 }],
        };
      }
      case COMMAND.processKill: {
        const id = payload.length >= 5 ? rights.serverThreadId(payload.readUInt32LE(1)) : undefined;
        if (id === undefined) return undefined;
        const mapped = Buffer.from(payload);
        mapped.writeUInt32LE(id, 1);
        return {
          replace: encodePacket(0, mapped),
          commands: [{ command, shape: 'single', counts: true, sequence: 0 }],
        };
      }
      case COMMAND.changeUser:
        return changeUser(rights, payload);
      case COMMAND.binlogDump:
      case COMMAND.binlogDumpGtid:
      case COMMAND.tableDump:
      case COMMAND.registerSlave: {
        const refused = rights.refuseReplication();
        return refused === undefined ? undefined : { refuse: { ...ERROR.specificAccessDenied, text: refused } };
      }
      default:
        return responseShape(command) === undefined
          ? { refuse: { ...ERROR.unknownCommand, text: `Unknown command ${command}` } }
          : undefined;
    }
  };
}

/**
 * COM_CHANGE_USER to the session's own user clears the session, which is what pools want of it: the server gets COM_RESET_CONNECTION and, where a
 * database is named, COM_INIT_DB. Another user would be another session.
 */
function changeUser(rights: CommandRights, payload: Buffer): Decision {
  const wanted = decodeChangeUser(payload, rights.capabilities);
  if (wanted.user !== rights.user)
    return {
      refuse: {
        ...ERROR.accessDenied,
        text: `Access denied for user '${wanted.user}': this session is for '${rights.user}'; open another connection for another user`,
      },
    };
  const { database } = wanted;
  const refused = database === '' ? undefined : rights.refuseDatabase(database);
  if (refused !== undefined)
    return { refuse: { ...ERROR.dbAccessDenied, text: `Access denied to database '${database}': ${refused}` } };
  const announce = wanted.plugin === 'caching_sha2_password' && wanted.authData.length > 1;
  /** The last answer is the client's, behind the word of its plugin where that waits for one. */
  const answer = (packet: Buffer): Buffer =>
    announce && packet[HEADER_LENGTH] === MARK.ok
      ? Buffer.concat([encodePacket(1, FAST_AUTH_SUCCESS), encodePacket(2, packet.subarray(HEADER_LENGTH))])
      : packet;
  const single = { shape: 'single', counts: true, sequence: 0 } as const;
  const reset = encodePacket(0, Buffer.from([COMMAND.resetConnection]));
  if (database === '')
    return { replace: reset, commands: [{ ...single, command: COMMAND.resetConnection, rewrite: answer }] };
  let failure: Buffer | undefined;
  const commands: PendingCommand[] = [
    {
      ...single,
      command: COMMAND.resetConnection,
      rewrite: (packet) => {
        if (packet[HEADER_LENGTH] === MARK.err) failure = packet;
        return Buffer.alloc(0);
      },
    },
    {
      ...single,
      command: COMMAND.initDb,
      rewrite: (packet) => failure ?? answer(packet),
      done: (failed) => {
        if (!failed) rights.databaseChosen(database);
      },
    },
  ];
  const initDb = Buffer.concat([Buffer.from([COMMAND.initDb]), Buffer.from(database)]);
  return { replace: Buffer.concat([reset, encodePacket(0, initDb)]), commands };
}
