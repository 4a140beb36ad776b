import { once } from 'node:events';
import tls from 'node:tls';
import { NightlatchError } from '../../core/errors.ts';
import { addressOf, type Endpoint, isTrustError, tlsOptions, UntrustedServerError } from '../common/api-client.ts';

const CONNECT_LIMIT_MS = 15_000;

/**
 * A tunnel through the public port: TLS with the client certificate and the ALPN protocol's name, then, for protocols that want it, one line that says
 * what it is to reach, then the raw stream.
 * @throws {NightlatchError} `unavailable`, `UntrustedServerError`, `protocol` when the server does not know the protocol.
 */
export async function openTunnel(
  endpoint: Endpoint & { kind: 'tls' },
  alpn: string,
  preamble?: string,
): Promise<tls.TLSSocket> {
  const address = addressOf(endpoint);
  const socket = tls.connect({ ...tlsOptions(endpoint, alpn), timeout: CONNECT_LIMIT_MS });
  socket.setNoDelay(true);
  try {
    socket.once('timeout', () => socket.destroy(new NightlatchError('timeout', `no answer from ${address}`)));
    await once(socket, 'secureConnect');
  } catch (error) {
    socket.destroy();
    if (error instanceof NightlatchError) throw error;
    if (isTrustError(error)) throw new UntrustedServerError(address, error as Error);
    throw new NightlatchError('unavailable', `cannot reach ${address}: ${(error as Error).message}`, { cause: error });
  }
  socket.setTimeout(0);
  socket.removeAllListeners('timeout');
  if (socket.alpnProtocol !== alpn) {
    socket.destroy();
    throw new NightlatchError('protocol', `${address} offers no ${alpn}`);
  }
  if (preamble !== undefined) socket.write(`${preamble}\n`);
  return socket;
}
