// A server that lets everybody in and answers nothing else: thousands of idle sessions without thousands of processes.
import net from 'node:net';
import { GREETING } from './greeting.ts';

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
