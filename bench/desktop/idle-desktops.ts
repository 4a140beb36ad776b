// A VNC server that greets everybody and then says nothing: two hundred idle desktops without two hundred X servers.
import net from 'node:net';

const INIT = Buffer.from('0320025820180001 00ff00ff00ff 100800000000 00000003 6c6162'.replaceAll(' ', ''), 'hex');
const server = net.createServer({ noDelay: true }, (socket) => {
  socket.on('error', () => undefined);
  socket.write(Buffer.concat([Buffer.from('RFB 003.008\n\x01\x01\0\0\0\0', 'latin1'), INIT]));
  socket.resume();
});
server.listen(0, '127.0.0.1', () => process.send!({ port: (server.address() as net.AddressInfo).port }));
