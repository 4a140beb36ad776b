/** Capability flags (MySQL client/server protocol, "Capabilities Flags"; MariaDB shares the lower 30 bits). */
export const CAPABILITY = {
  longPassword: 1 << 0,
  foundRows: 1 << 1,
  longFlag: 1 << 2,
  connectWithDb: 1 << 3,
  noSchema: 1 << 4,
  odbc: 1 << 6,
  localFiles: 1 << 7,
  ignoreSpace: 1 << 8,
  protocol41: 1 << 9,
  interactive: 1 << 10,
  tls: 1 << 11,
  transactions: 1 << 13,
  secureConnection: 1 << 15,
  multiStatements: 1 << 16,
  multiResults: 1 << 17,
  psMultiResults: 1 << 18,
  pluginAuth: 1 << 19,
  connectAttributes: 1 << 20,
  pluginAuthLenenc: 1 << 21,
  sessionTrack: 1 << 23,
  deprecateEof: 1 << 24,
} as const;

/**
 * What the gateway offers to clients, TLS aside. They choose before it is known which server they will reach, so this is the part that every
 * MySQL since 5.7 and MariaDB since 10.2 has. Not offered: compression (the gateway could not look inside), query attributes, optional
 * metadata, several authentication factors, and MariaDB's extended capabilities, each of which changes messages on one kind of server only.
 */
export const OFFERED_CAPABILITIES: number =
  CAPABILITY.longPassword |
  CAPABILITY.foundRows |
  CAPABILITY.longFlag |
  CAPABILITY.connectWithDb |
  CAPABILITY.noSchema |
  CAPABILITY.odbc |
  CAPABILITY.localFiles |
  CAPABILITY.ignoreSpace |
  CAPABILITY.protocol41 |
  CAPABILITY.interactive |
  CAPABILITY.transactions |
  CAPABILITY.secureConnection |
  CAPABILITY.multiStatements |
  CAPABILITY.multiResults |
  CAPABILITY.psMultiResults |
  CAPABILITY.pluginAuth |
  CAPABILITY.connectAttributes |
  CAPABILITY.pluginAuthLenenc |
  CAPABILITY.sessionTrack |
  CAPABILITY.deprecateEof;

/** Those that decide what messages look like: client and server must agree on them. */
export const FORMAT_CAPABILITIES: number = CAPABILITY.sessionTrack | CAPABILITY.deprecateEof;

/** Status flags in OK and EOF packets. */
export const STATUS = { inTransaction: 0x0001, moreResults: 0x0008, cursorExists: 0x0040 } as const;
