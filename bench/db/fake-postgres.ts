// A server that lets everybody in and answers nothing else: thousands of idle sessions without thousands of processes.
import net from 'node:net';

const GREETING = Buffer.concat([
  Buffer.from('520000000800000000', 'hex'),
  // pgbouncer wants these from every server.
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
const server = net.createServer({ noDelay: true }, (socket) => {
  socket.on('error', () => undefined);
  socket.once('data', () => {
    socket.write(GREETING);
    socket.resume();
  });
});
server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, () =>
  process.send!({ port: (server.address() as net.AddressInfo).port }),
);
process.once('disconnect', () => process.exit(0));
