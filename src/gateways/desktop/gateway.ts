import type { WebSocket } from 'ws';
import type { Clock } from '../../core/clock.ts';
import type { Logger } from '../../core/logger.ts';
import type { Secret } from '../../core/secret.ts';
import type { LivePolicy } from '../../policy/snapshot.ts';
import type { SessionManager } from '../../session/types.ts';
import { DesktopConnection } from './connection.ts';

/** Options for the `WebSocketServer` that the desktop endpoint is served with: pictures are compressed already. */
export const DESKTOP_WEBSOCKET_OPTIONS = { perMessageDeflate: false, maxPayload: 1024 * 1024 } as const;

export interface DesktopGatewayDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly policy: LivePolicy;
  readonly sessions: SessionManager;
  /** The password that the gateway keeps for a login on a desktop; undefined where its user types it. */
  credentials(desktop: string, login: string): Promise<Secret<string> | undefined>;
}

/** Who opened a WebSocket for a desktop, as its ticket or session cookie has proved. */
export interface DesktopClient {
  /** `ip:port`. */
  readonly clientAddr: string;
  readonly user: string;
  /** Milliseconds since the epoch. */
  readonly certExpiresAtMs: number;
  /** Name of the `windows_desktop` resource. */
  readonly desktop: string;
  readonly login: string;
}

/** Desktops in browsers. */
export interface DesktopGateway {
  /** Takes over a WebSocket whose origin and user have been checked. */
  accept(ws: WebSocket, client: DesktopClient): void;
  /** Ends connections that have no session yet; sessions end by the session manager's drain. */
  close(): void;
}

/** Makes the gateway for RDP and VNC desktops. */
export function createDesktopGateway(deps: DesktopGatewayDeps): DesktopGateway {
  const connections = new Set<DesktopConnection>();
  return {
    accept(ws, client) {
      const connection = new DesktopConnection(deps, ws, client);
      connections.add(connection);
      void connection.done.finally(() => connections.delete(connection));
    },
    close() {
      for (const connection of connections) connection.cancel();
    },
  };
}
