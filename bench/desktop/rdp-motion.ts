// An RDP server with TLS whose desktop moves: the set-up as recorded from xrdp, then pictures as fast as they are taken.
import type { Socket } from 'node:net';
import { RdpFrameSplitter } from '../../src/wire/rdp/frames.ts';
import { makeCertificate } from '../../test/fixtures/desktop/certificate.ts';
import { playRdp } from '../../test/fixtures/desktop/peers.ts';
import { RDP_SETUP } from '../../test/fixtures/desktop/rdp-session.ts';

/** A fast-path update (MS-RDPBCGR 2.2.9.1.2) of the length that xrdp gives its RemoteFX tiles. */
const PICTURE = Buffer.alloc(16_000, 0xa5);
PICTURE.writeUInt8(0, 0);
PICTURE.writeUInt16BE(0x8000 | PICTURE.length, 1);

function serve(socket: Socket): void {
  const splitter = new RdpFrameSplitter();
  let next = 0;
  const move = (): void => {
    while (!socket.destroyed && socket.write(PICTURE));
  };
  socket.on('error', () => undefined);
  socket.on('data', (data: Buffer) => {
    for (let arrived = splitter.push(data).frames.length; arrived > 0 && next < RDP_SETUP.length; arrived -= 1) {
      next += 1;
      for (; RDP_SETUP[next]?.from === 'server'; next += 1) socket.write(RDP_SETUP[next]!.data);
      if (next < RDP_SETUP.length) continue;
      socket.on('drain', move);
      move();
    }
  });
}

const desktop = await playRdp(makeCertificate());
process.send!({ port: desktop.port });
for (;;) serve(await desktop.accept());
