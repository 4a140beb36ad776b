// A thread that presses a key every millisecond over TCP and measures until the echo is back. Asked by a message, it answers with the
// round trips since it was asked last, in milliseconds.
import { once } from 'node:events';
import net from 'node:net';
import { performance } from 'node:perf_hooks';
import { parentPort, workerData } from 'node:worker_threads';

const socket = net.connect({ port: workerData.port as number, host: '127.0.0.1', noDelay: true });
await once(socket, 'connect');
let trips: number[] = [];
let pressedAt = performance.now();
socket.on('data', () => {
  trips.push(performance.now() - pressedAt);
  setTimeout(() => {
    pressedAt = performance.now();
    socket.write('x');
  }, 1);
});
socket.write('x');
parentPort!.on('message', () => {
  parentPort!.postMessage(trips);
  trips = [];
});
