/** Command bytes ("Command Phase"). */
export const COMMAND = {
  quit: 1,
  initDb: 2,
  query: 3,
  fieldList: 4,
  createDb: 5,
  dropDb: 6,
  refresh: 7,
  shutdown: 8,
  statistics: 9,
  processInfo: 10,
  processKill: 12,
  debug: 13,
  ping: 14,
  changeUser: 17,
  binlogDump: 18,
  tableDump: 19,
  registerSlave: 21,
  stmtPrepare: 22,
  stmtExecute: 23,
  stmtSendLongData: 24,
  stmtClose: 25,
  stmtReset: 26,
  setOption: 27,
  stmtFetch: 28,
  binlogDumpGtid: 30,
  resetConnection: 31,
  stmtBulkExecute: 250,
} as const;

const NAMES: ReadonlyMap<number, string> = new Map([
  [COMMAND.initDb, 'COM_INIT_DB'],
  [COMMAND.fieldList, 'COM_FIELD_LIST'],
  [COMMAND.createDb, 'COM_CREATE_DB'],
  [COMMAND.dropDb, 'COM_DROP_DB'],
  [COMMAND.refresh, 'COM_REFRESH'],
  [COMMAND.shutdown, 'COM_SHUTDOWN'],
  [COMMAND.processInfo, 'COM_PROCESS_INFO'],
  [COMMAND.processKill, 'COM_PROCESS_KILL'],
  [COMMAND.debug, 'COM_DEBUG'],
  [COMMAND.changeUser, 'COM_CHANGE_USER'],
  [COMMAND.binlogDump, 'COM_BINLOG_DUMP'],
  [COMMAND.tableDump, 'COM_TABLE_DUMP'],
  [COMMAND.registerSlave, 'COM_REGISTER_SLAVE'],
  [COMMAND.binlogDumpGtid, 'COM_BINLOG_DUMP_GTID'],
  [COMMAND.resetConnection, 'COM_RESET_CONNECTION'],
]);

/** The specification's name of a command that is audited by its name; undefined for those audited by their statement, or not at all. */
export function auditedCommandName(command: number): string | undefined {
  return NAMES.get(command);
}

/** How a server answers a command. `none`: not at all. */
export type ResponseShape = 'none' | 'result' | 'prepare' | 'rows' | 'single' | 'stream';

/** The shape of the answer to a command; undefined for commands that clients have no use for. */
export function responseShape(command: number): ResponseShape | undefined {
  switch (command) {
    case COMMAND.quit:
    case COMMAND.stmtSendLongData:
    case COMMAND.stmtClose:
      return 'none';
    case COMMAND.query:
    case COMMAND.stmtExecute:
    case COMMAND.stmtBulkExecute:
    case COMMAND.processInfo:
      return 'result';
    case COMMAND.stmtPrepare:
      return 'prepare';
    case COMMAND.stmtFetch:
    case COMMAND.fieldList:
      return 'rows';
    case COMMAND.binlogDump:
    case COMMAND.binlogDumpGtid:
    case COMMAND.tableDump:
      return 'stream';
    case COMMAND.initDb:
    case COMMAND.createDb:
    case COMMAND.dropDb:
    case COMMAND.refresh:
    case COMMAND.shutdown:
    case COMMAND.statistics:
    case COMMAND.processKill:
    case COMMAND.debug:
    case COMMAND.ping:
    case COMMAND.registerSlave:
    case COMMAND.stmtReset:
    case COMMAND.setOption:
    case COMMAND.resetConnection:
      return 'single';
    default:
      return undefined;
  }
}
