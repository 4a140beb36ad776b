// The HTTP API's messages (JSON, under /v1), shared by the server, the command lines and the web application.
// Resources travel in their own form (`kind`, `version`, `metadata`, `spec`), everything else as declared here.

/** The daemon's own socket in its data directory, for `tctl` on the same machine. */
export const ADMIN_SOCKET_NAME = 'admin.sock';
/** Where the daemon keeps its data unless the configuration says otherwise. */
export const DEFAULT_DATA_DIR = '/var/lib/nightlatch';
/** Configuration files in the order in which they are looked for. */
export const CONFIG_FILES = ['/etc/nightlatch.yaml', '/etc/teleport.yaml'] as const;
/** ALPN protocol of the public port for a raw SSH stream after one preamble line, `NODE:PORT\n`. */
export const ALPN_SSH = 'nightlatch-ssh';
/** ALPN protocols of the public port for database connections; the client certificate's route says which database. */
export const ALPN_DATABASE = {
  postgres: 'nightlatch-postgres',
  mysql: 'nightlatch-mysql',
  redis: 'nightlatch-redis',
} as const;

/** The body of every answer that is not 2xx. `code` is an `ErrorCode` of core/errors.ts. */
export interface ErrorBody {
  readonly error: { readonly code: string; readonly message: string };
}

/** `GET /v1/ping`: what anybody may know. */
export interface PingResponse {
  readonly version: string;
  readonly clusterName: string;
  /** `off`, `otp`, `webauthn` or `on`. */
  readonly secondFactor: string;
  readonly publicAddr: string;
  readonly caPin: string;
  readonly ports: Readonly<Record<string, number>>;
}

/** `GET /v1/cas`: what clients and targets trust; public keys only, no sign-in needed. */
export interface CertAuthoritiesResponse {
  readonly clusterName: string;
  readonly caPin: string;
  readonly sshUserCa: string;
  readonly sshHostCa: string;
  readonly tlsUserCa: string;
  readonly tlsHostCa: string;
  readonly databaseCa: string;
}

/** What a certificate is bound to besides its user. */
export interface RouteMessage {
  readonly kind: 'db' | 'kube_cluster';
  readonly name: string;
  readonly dbUser?: string;
  readonly dbName?: string;
}

/** Keys to certify: an OpenSSH public key line and an SPKI in PEM; either may be absent. */
export interface KeysMessage {
  readonly sshPublicKey?: string;
  readonly tlsPublicKey?: string;
  readonly ttlMs?: number;
  readonly route?: RouteMessage;
}

/** `POST /v1/login`. */
export interface LoginRequest extends KeysMessage {
  readonly user: string;
  readonly password: string;
  readonly otp?: string;
}

/** The answer to every request for certificates. */
export interface CertificatesResponse {
  readonly user: string;
  readonly clusterName: string;
  /** OpenSSH certificate line. */
  readonly ssh?: string;
  /** PEM. */
  readonly tls?: string;
  /** Milliseconds since the epoch. */
  readonly expiresAtMs: number;
  readonly logins: readonly string[];
  readonly cas: CertAuthoritiesResponse;
}

/** `POST /v1/invitations/lookup`. */
export interface InvitationResponse {
  readonly user: string;
  /** `invite` for a newcomer, `reset` for who has lost something. */
  readonly kind: string;
  readonly secondFactor: string;
  readonly clusterName: string;
  /** `otpauth://` URI of the second factor to enrol; absent where none is needed. */
  readonly otpUri?: string;
  readonly expiresAtMs: number;
}

/** `POST /v1/invitations/accept`. */
export interface AcceptInvitationRequest {
  readonly token: string;
  readonly password: string;
  readonly otp?: string;
}

/** One place that had a say in the idle policy. */
export interface PolicySourceMessage {
  readonly name: string;
  readonly timeoutMs: number;
  readonly wins: boolean;
}

/** The effective idle policy, as `EffectiveIdlePolicy` of policy/. */
export interface IdlePolicyMessage {
  readonly timeoutMs: number;
  readonly warningMs: number;
  readonly activity: 'input' | 'auto' | 'traffic';
  readonly message: string;
  readonly disconnectExpiredCert: boolean;
  readonly maxSessionTtlMs: number;
  readonly timeoutSource: string;
  readonly sources: readonly PolicySourceMessage[];
}

/** `GET /v1/status`: the caller's own standing. */
export interface StatusResponse {
  readonly user: string;
  readonly clusterName: string;
  readonly version: string;
  readonly roles: readonly string[];
  readonly traits: Readonly<Record<string, readonly string[]>>;
  readonly logins: readonly string[];
  readonly idle: IdlePolicyMessage;
  /** True on the daemon's own socket, where no user is behind the call. */
  readonly administrator: boolean;
}

/** How a resource is written: `create` demands absence, `upsert` takes both, `update` demands presence (and the revision in its metadata, where there is one). */
export type WriteMode = 'create' | 'upsert' | 'update';

/** `POST /v1/resources`. */
export interface WriteResourceRequest {
  readonly resource: unknown;
  readonly mode: WriteMode;
  /** The administrator insists, although the configuration file sets the resource. */
  readonly confirm?: boolean;
}

export interface WriteResourceResponse {
  readonly kind: string;
  readonly name: string;
  readonly existed: boolean;
  readonly revision: number;
  /** Things the administrator should know about what was written. */
  readonly warnings: readonly string[];
}

/** The outer form that all resources share. */
export interface ResourceMessage {
  readonly kind: string;
  readonly version: string;
  readonly sub_kind?: string;
  readonly metadata: {
    readonly name: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly expires?: string;
    readonly description?: string;
    /** Set by the server; an update that carries it fails where the resource has changed meanwhile. */
    readonly revision?: string;
  };
  readonly spec: Readonly<Record<string, unknown>>;
}

/** `POST /v1/users`. */
export interface AddUserRequest {
  readonly name: string;
  readonly roles: readonly string[];
  readonly traits?: Readonly<Record<string, readonly string[]>>;
  readonly ttlMs?: number;
}

/** The link that lets a user set a password and a second factor. */
export interface InviteResponse {
  readonly user: string;
  readonly url: string;
  readonly expiresAtMs: number;
  readonly ttlMs: number;
}

/** `POST /v1/locks`. */
export interface LockRequest {
  readonly target: Readonly<Record<string, string>>;
  readonly message?: string;
  readonly ttlMs?: number;
  /** RFC 3339. */
  readonly expires?: string;
}

/** One live session, as `LiveSession` of session/. */
export interface LiveSessionMessage {
  readonly id: string;
  readonly kind: string;
  readonly protocol: string;
  readonly user: string;
  readonly login: string;
  readonly target: {
    readonly kind: string;
    readonly name: string;
    readonly displayName: string;
    readonly addr: string;
    readonly labels: Readonly<Record<string, string>>;
  };
  readonly clientAddr: string;
  readonly startedAtMs: number;
  readonly idleForMs: number;
  readonly endsInMs: number | null;
  readonly idleTimeoutMs: number;
  readonly timeoutSource: string;
  readonly warned: boolean;
}

/** One line of `tctl idle rehearse`. */
export interface RehearsedSessionMessage {
  readonly session: LiveSessionMessage;
  readonly effect: 'ends' | 'revoked' | 'deadline' | 'unchanged';
  readonly newTimeoutMs: number;
  readonly newTimeoutSource: string;
  readonly newEndsInMs: number | null;
}

/** `POST /v1/idle/explain`. Without `user`, the caller. `roles` are looked at as if the user had them too. */
export interface ExplainRequest {
  readonly user?: string;
  readonly roles?: readonly string[];
  /** `node/NAME`, `db/NAME` … */
  readonly resource?: string;
}

export interface ExplainResponse {
  readonly user: string;
  readonly roles: readonly string[];
  readonly resource?: string;
  /** Whether the user's roles grant access to the resource at all, where one was given. */
  readonly access?: { readonly allowed: boolean; readonly reason?: string };
  readonly idle: IdlePolicyMessage;
}

/** A target that the caller may reach. */
export interface TargetMessage {
  readonly kind: 'node' | 'db' | 'kube_cluster' | 'windows_desktop';
  readonly name: string;
  readonly displayName: string;
  readonly addr: string;
  readonly labels: Readonly<Record<string, string>>;
  /** `postgres`, `rdp` …; absent for nodes and clusters. */
  readonly protocol?: string;
  readonly description?: string;
  /** Logins, database users or desktop users the caller's roles allow on this target; `*` stands for any. */
  readonly logins: readonly string[];
}

/** `POST /v1/tickets`: what `tsh` hands to a browser, behind the `#` of `/web/ticket#ticket=…&to=/desktop/NAME/LOGIN`. */
export interface TicketResponse {
  readonly ticket: string;
  readonly expiresAtMs: number;
}

/** One audit event as it stands in the log. */
export type AuditEventMessage = Readonly<Record<string, unknown>> & {
  readonly event: string;
  readonly code: string;
  readonly time: string;
  readonly uid: string;
};

/** `POST /v1/desktop-passwords`: keeps a password that the gateway puts in on the way; it never comes out again. */
export interface KeepPasswordRequest {
  readonly desktop: string;
  readonly login: string;
  readonly password: string;
}

/** `GET /v1/desktop-passwords`: for whom one is kept. */
export interface KeptLoginsResponse {
  readonly items: readonly { readonly desktop: string; readonly login: string }[];
}
