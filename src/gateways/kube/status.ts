import { type ServerResponse, STATUS_CODES } from 'node:http';
import type { Http2ServerResponse } from 'node:http2';
import type { Duplex } from 'node:stream';

/** Reasons of a v1 Status that kubectl knows (k8s.io/apimachinery metav1.StatusReason), with their codes. */
const CODES = {
  BadRequest: 400,
  Unauthorized: 401,
  Forbidden: 403,
  NotFound: 404,
  UnsupportedMediaType: 415,
  InternalError: 500,
  BadGateway: 502,
  ServiceUnavailable: 503,
  Timeout: 504,
} as const;
export type StatusReason = keyof typeof CODES;

/** A refusal or failure as the Kubernetes API tells it. */
export interface KubeFailure {
  readonly reason: StatusReason;
  readonly message: string;
}

/** HTTP status of a failure. */
export function failureCode(failure: KubeFailure): number {
  return CODES[failure.reason];
}

/** The v1 Status object, JSON. kubectl prints `Error from server (Reason): message`, or on an error channel `error: message`. */
export function statusJson(failure: KubeFailure): string {
  return JSON.stringify({
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Failure',
    message: failure.message,
    reason: failure.reason,
    code: CODES[failure.reason],
  });
}

/** Answers a plain request with a failure. */
export function sendFailure(response: ServerResponse | Http2ServerResponse, failure: KubeFailure): void {
  const body = Buffer.from(statusJson(failure));
  (response as ServerResponse).writeHead(CODES[failure.reason], {
    'content-type': 'application/json',
    'content-length': body.length,
    'cache-control': 'no-cache, private',
  });
  (response as ServerResponse).end(body);
}

/** Answers an upgrade request with a failure and closes the connection. */
export function refuseUpgrade(socket: Duplex, failure: KubeFailure): void {
  const body = Buffer.from(statusJson(failure));
  const head = [
    `HTTP/1.1 ${CODES[failure.reason]} ${STATUS_CODES[CODES[failure.reason]]}`,
    'Content-Type: application/json',
    `Content-Length: ${body.length}`,
    'Connection: close',
    '',
    '',
  ].join('\r\n');
  socket.end(Buffer.concat([Buffer.from(head), body]));
}
