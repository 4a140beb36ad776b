import type { FileAuditLog } from '../audit/file-audit-log.ts';
import type { Clock } from '../core/clock.ts';
import type { Logger } from '../core/logger.ts';
import type { DesktopCredentials } from '../gateways/desktop/credentials.ts';
import type { ClusterAuthorities } from '../identity/certificate-authority.ts';
import type { LocalIdentity } from '../identity/local-identity.ts';
import type { SessionRegistry } from '../session/types.ts';
import type { StoredLivePolicy } from '../store/live-policy.ts';
import type { Store } from '../store/store.ts';
import type { PingResponse } from '../wire/api/messages.ts';

/** What the API asks of an audit log: that it also tells what it writes as it writes it, for live views. */
export type ApiAuditLog = Pick<FileAuditLog, 'emit' | 'healthy' | 'find' | 'read' | 'onEvent'>;

/** Everything the API works on. server/daemon.ts composes one; tests compose smaller ones. */
export interface ServerContext {
  readonly clock: Clock;
  readonly log: Logger;
  readonly clusterName: string;
  readonly version: string;
  /** Base name of the configuration file in use, for messages; undefined when it runs on defaults. */
  readonly configFileName?: string;
  readonly store: Store;
  readonly policy: StoredLivePolicy;
  readonly audit: ApiAuditLog;
  readonly sessions: SessionRegistry;
  readonly ca: ClusterAuthorities;
  readonly identity: LocalIdentity;
  readonly desktopPasswords: Pick<DesktopCredentials, 'keep' | 'forget' | 'list'>;
  /** `host:port` under which people reach the public port; a function, since ports are known once they are bound. */
  publicAddr(): string;
  /** Ports of the listeners that are on: `web`, `ssh`, `postgres`, `mysql`, `redis`, `kube`. */
  ports(): PingResponse['ports'];
}

/** Who calls the API, as the listener that took the connection knows it. */
export type TransportCaller =
  /** The daemon's own unix socket: whoever can open it (mode 0600) is the administrator. */
  | { readonly kind: 'local' }
  /** TLS. `clientCertificate` is the DER of the certificate that came with the handshake, checked or not; the API checks it. */
  | { readonly kind: 'tls'; readonly clientIp: string; readonly clientCertificate?: Buffer };

/** Bindings that the listeners pass to `api.fetch(request, bindings)`. */
export interface ApiBindings {
  readonly caller: TransportCaller;
}
