import type { Duplex } from 'node:stream';
import type { Clock, Timer } from '../../core/clock.ts';
import { DISCONNECT, decodeForwardedConnection, OPEN_FAILURE } from '../../wire/ssh/messages.ts';
import { ChannelHost, type OpenAnswer } from './local-channel.ts';
import type { SshTransport } from './transport.ts';

/** A jump connection that carries nothing is closed after this time, in milliseconds: it has no session whose idleness would end it. */
const EMPTY_TIMEOUT_MS = 60_000;

export interface JumpOptions {
  readonly transport: SshTransport;
  readonly clock: Clock;
  /** Whether there is a node by that name. */
  knows(host: string, port: number): boolean;
  /** An inner connection: the client speaks SSH with the node on this stream. */
  accept(stream: Duplex, host: string, port: number): void;
}

/**
 * The outer connection of `ssh -J gateway node`: an authenticated client may open `direct-tcpip` channels to nodes and nothing
 * else. On each the gateway answers as the node itself; the session, with its policy, is the inner connection's.
 */
export function serveJump({ transport, clock, knows, accept }: JumpOptions): void {
  let timer: Timer | undefined;
  const arm = () => {
    timer = clock.at(clock.now() + EMPTY_TIMEOUT_MS, () => {
      void transport.disconnect(DISCONNECT.BY_APPLICATION, 'nothing goes through this connection');
    });
  };
  const host = new ChannelHost((packet) => transport.send(packet), {
    global: () => false,
    open(request): OpenAnswer {
      if (request.type !== 'direct-tcpip') {
        const text = 'this is a jump host: ssh -J GATEWAY LOGIN@NODE';
        return { refuse: OPEN_FAILURE.ADMINISTRATIVELY_PROHIBITED, text };
      }
      const { host: name, port } = decodeForwardedConnection(request.data);
      if (!knows(name, port)) {
        return { refuse: OPEN_FAILURE.CONNECT_FAILED, text: 'there is no such node' };
      }
      return {
        accept(channel) {
          timer?.cancel();
          accept(channel, name, port);
        },
      };
    },
  });
  host.onEmpty = arm;
  transport.onPacket = (packet) => host.packet(packet);
  transport.onWritable = (writable) => host.setWritable(writable);
  transport.onClose = () => {
    timer?.cancel();
    host.onEmpty = () => {};
    host.close();
  };
  arm();
}
