/** What a server answers to a startup message, up to ReadyForQuery; pgbouncer wants these parameters from every server. */
export const GREETING = Buffer.concat([
  Buffer.from('520000000800000000', 'hex'),
  ...[
    ['server_version', '15.0'],
    ['client_encoding', 'UTF8'],
    ['DateStyle', 'ISO, MDY'],
    ['TimeZone', 'UTC'],
    ['standard_conforming_strings', 'on'],
    ['integer_datetimes', 'on'],
  ].map(([name, value]) => {
    const text = `${name}\0${value}\0`;
    const message = Buffer.alloc(5 + text.length);
    message.write('S');
    message.writeUInt32BE(4 + text.length, 1);
    message.write(text, 5);
    return message;
  }),
  Buffer.from('4b0000000c0000000100000001', 'hex'),
  Buffer.from('5a0000000549', 'hex'),
]);

/** What a server answers to a query that returns nothing: CommandComplete and ReadyForQuery. */
export const EMPTY_ANSWER = Buffer.from('430000000d53454c454354203000' + '5a0000000549', 'hex');
