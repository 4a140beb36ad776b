import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';
import { authenticateAtServer } from '../../src/gateways/ssh/client-auth.ts';
import { ChannelHost } from '../../src/gateways/ssh/local-channel.ts';
import { SshTransport } from '../../src/gateways/ssh/transport.ts';
import { systemClock } from '../../src/server/system-clock.ts';
import { SshWriter } from '../../src/wire/ssh/buffer.ts';
import { encodeAuthorizedKey, encodePublicKey, sshSign } from '../../src/wire/ssh/keys.ts';
import { encodeChannelOpen, encodeChannelRequest, MSG } from '../../src/wire/ssh/messages.ts';

const hostKey = generateKeyPairSync('ed25519').privateKey;
/** `ssh-ed25519 AAAA…`: what the light server below shows. */
export const HOST_KEY_LINE = encodeAuthorizedKey(encodePublicKey(hostKey));

/** An SSH server that lets everybody in and runs nothing. */
export async function listenLight(): Promise<{ addr: string; close(): void }> {
  const key = {
    algorithm: 'ssh-ed25519',
    blob: encodePublicKey(hostKey),
    sign: (data: Uint8Array) => sshSign(hostKey, data),
  };
  const server = net.createServer({ noDelay: true }, (stream) => {
    const transport = new SshTransport({ stream, clock: systemClock, role: 'server', hostKeys: [key] });
    const host = new ChannelHost((packet) => transport.send(packet), {
      open: () => ({
        accept(channel) {
          channel.onRequest = () => true;
          channel.resume();
        },
      }),
      global: () => false,
    });
    transport.onPacket = (packet) => host.packet(packet);
    transport.onClose = () => host.close();
    transport.onAuthPacket = (packet) => {
      if (packet[0] === MSG.SERVICE_REQUEST) {
        transport.send(new SshWriter().byte(MSG.SERVICE_ACCEPT).string('ssh-userauth').finish());
      } else {
        transport.authenticated = true;
        transport.send(Buffer.from([MSG.USERAUTH_SUCCESS]));
      }
    };
  });
  server.listen(0, '127.0.0.1', 4096);
  await once(server, 'listening');
  return { addr: `127.0.0.1:${(server.address() as AddressInfo).port}`, close: () => server.close() };
}

/** A session on the node behind `port`: logged in, with one channel that runs a command. */
export async function openSession(
  port: number,
  credential: { privateKey: ReturnType<typeof generateKeyPairSync>['privateKey']; certificate: Buffer },
): Promise<SshTransport> {
  const stream = net.connect({ port, host: '127.0.0.1', noDelay: true });
  const transport = new SshTransport({
    stream,
    clock: systemClock,
    role: 'client',
    hostKeyAlgorithms: ['ssh-ed25519-cert-v01@openssh.com'],
    verifyHostKey: () => ({ ok: true }),
    kex: ['curve25519-sha256'],
  });
  const login = { transport, login: 'worker', credential: () => credential, clock: systemClock, timeoutMs: 60_000 };
  await authenticateAtServer(login);
  const confirmed = Promise.withResolvers<void>();
  transport.onPacket = (packet) => {
    if (packet[0] === MSG.CHANNEL_OPEN_CONFIRMATION) confirmed.resolve();
  };
  transport.send(encodeChannelOpen('session', 0, 2 << 20, 32_768));
  await confirmed.promise;
  transport.send(encodeChannelRequest(0, 'exec', false, new SshWriter().string('sleep').finish()));
  return transport;
}
