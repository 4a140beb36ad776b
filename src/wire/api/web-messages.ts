import type { IdlePolicyMessage } from './messages.ts';

/** Every request of the web application that changes something carries this header; another site's page cannot set it unasked. */
export const CSRF_HEADER = 'x-nightlatch-request';

/** `GET /v1/web/session`: who has signed in with this browser. */
export interface WebSessionResponse {
  readonly user: string;
  readonly clusterName: string;
  readonly version: string;
  readonly roles: readonly string[];
  /** End of the web session, milliseconds since the epoch. */
  readonly expiresAtMs: number;
  readonly idle: WebIdleResponse;
  readonly policy: IdlePolicyMessage;
  readonly permissions: WebPermissions;
  /** Host and port of the public port, for commands to copy. */
  readonly publicAddr: string;
}

/** What the menu offers; the API decides by itself. */
export interface WebPermissions {
  readonly sessions: boolean;
  readonly endSessions: boolean;
  readonly policy: boolean;
  readonly editPolicy: boolean;
  readonly audit: boolean;
  readonly users: boolean;
  readonly editUsers: boolean;
  readonly roles: boolean;
  readonly editRoles: boolean;
  readonly desktops: boolean;
  readonly editDesktops: boolean;
  readonly locks: boolean;
  readonly editLocks: boolean;
}

/** `POST /v1/web/activity`: `active` says that the user did something since the last report. */
export interface WebIdleResponse {
  /** `web_idle_timeout` in milliseconds, 0 for none. */
  readonly timeoutMs: number;
  readonly idleForMs: number;
}

/** One browser in which a user has signed in. */
export interface WebBrowserMessage {
  readonly id: string;
  readonly createdAtMs: number;
  readonly expiresAtMs: number;
  readonly clientIp: string;
  readonly current: boolean;
}

/** One row of `GET /v1/web/matrix`: which limits apply to a user, and why. */
export interface MatrixRow {
  readonly user: string;
  readonly roles: readonly string[];
  readonly idle: IdlePolicyMessage;
  readonly openSessions: number;
}
