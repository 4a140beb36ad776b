// A server that lets everybody in and answers every query with nothing: thousands of idle sessions without thousands of processes.
import net from 'node:net';
import { EMPTY_ANSWER, GREETING } from './greeting.ts';

const server = net.createServer({ noDelay: true }, (socket) => {
  socket.on('error', () => undefined);
  socket.once('data', () => {
    socket.write(GREETING);
    socket.on('data', (chunk) => {
      // The queries of the bench are too short to come in pieces.
      for (let at = 0; at < chunk.length; at += 1 + chunk.readUInt32BE(at + 1))
        if (chunk[at] === 0x51) socket.write(EMPTY_ANSWER);
    });
  });
});
server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, () =>
  process.send!({ port: (server.address() as net.AddressInfo).port }),
);
process.once('disconnect', () => process.exit(0));
