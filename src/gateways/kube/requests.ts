import type { IncomingMessage, ServerResponse } from 'node:http';
import { constants, type Http2ServerRequest, type Http2ServerResponse } from 'node:http2';
import type { Readable } from 'node:stream';
import { EVENTS } from '../../audit/catalog.ts';
import { errorMessage, NightlatchError } from '../../core/errors.ts';
import type { KubeGrant } from '../../policy/kube-access.ts';
import type { Session, SessionControl, SessionEnd } from '../../session/types.ts';
import { admit, authorizer, chooseImpersonation, lockText } from './admission.ts';
import { type KubeCall, type KubeContext, kubeAuditFields, sessionTarget } from './context.ts';
import { createdObjectName } from './created-object.ts';
import { downstreamHeaders, headerValues, type Impersonation, upstreamHeaders } from './headers.ts';
import { type BodyFilter, ListFilter, WatchFilter } from './list-filter.ts';
import { describeRequest, isSet, kubeObject } from './request-info.ts';
import { failureCode, type KubeFailure, sendFailure, statusJson } from './status.ts';

/** HTTP/1.1 objects; those of HTTP/2 stand in for them through Node's compatibility interface. */
export interface HttpPair {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

/** A list or watch that a restricted user asked for: JSON, uncompressed, with the names in it. */
const READABLE_HEADERS = { 'accept-encoding': 'identity' } as const;

/** Answers a plain request: passes it on as the user, filters what a list shows, records it. */
export async function handleRequest(context: KubeContext, call: KubeCall, http: HttpPair): Promise<void> {
  const { info } = call;
  const { response } = http;
  if (/^(?:exec|attach|portforward)$/.test(info.subresource)) {
    sendFailure(response, {
      reason: 'BadRequest',
      message: `${info.subresource} needs an upgrade to WebSocket or SPDY/3.1`,
    });
    return;
  }
  const snapshot = context.policy.current;
  const admission = admit(snapshot, call);
  const { name: cluster } = call.cluster.metadata;
  const denied = (reason: string): Promise<void> =>
    refuse(context, call, response, {
      reason: 'Forbidden',
      message: `access to kube_cluster "${cluster}" denied: ${reason}`,
    });
  if (!admission.ok) return denied(admission.reason);
  const { grant } = admission;
  let { impersonation } = admission;
  const locked = lockText(snapshot, context.clock, {
    user: call.identity.user,
    login: impersonation.user,
    cluster: call.cluster,
  });
  if (locked !== undefined) return denied(locked);
  if (!grant.unrestricted && info.verb === 'deletecollection')
    return denied('a restricted role deletes by name, not a whole collection (kubernetes_resources)');
  if (!context.audit.healthy) {
    sendFailure(response, {
      reason: 'ServiceUnavailable',
      message: 'the audit log cannot be written; nothing is passed on',
    });
    return;
  }
  let body: Readable | Buffer | null = hasBody(http.request) ? http.request : null;
  if (!grant.unrestricted && info.isResource && info.verb === 'create' && info.name === '') {
    const created = await createdObjectName(http.request);
    if (!created.ok) return denied(created.reason);
    const { namespace } = created;
    const object = { ...kubeObject(info), name: created.name, namespace: info.namespace || namespace };
    if (!grant.permits(object))
      return denied(`no role allows ${describeRequest({ ...info, name: created.name })} (kubernetes_resources)`);
    const chosen = chooseImpersonation(call.identity.user, grant.identityFor(object), call.headers);
    if (typeof chosen === 'string') return denied(chosen);
    impersonation = chosen;
    body = created.body;
  }
  const lasting = lastingReason(call);
  if (lasting === undefined) return forward(context, call, http, { grant, impersonation, body, session: undefined });

  const control = new ResponseControl(response);
  const opened = await context.sessions.open(
    {
      kind: 'kube',
      protocol: 'kube',
      user: call.identity.user,
      login: impersonation.user,
      target: await sessionTarget(context, call),
      clientAddr: call.clientAddr,
      certExpiresAtMs: call.identity.expiresAtMs,
      authorize: authorizer(call),
      exemptFromIdle: lasting,
      auditFields: { ...kubeAuditFields(call, impersonation), kube_operation: info.verb, request_path: info.path },
    },
    control,
  );
  if (!opened.ok) {
    sendFailure(response, {
      reason: opened.cause === 'denied' || opened.cause === 'locked' ? 'Forbidden' : 'ServiceUnavailable',
      message: opened.text,
    });
    return;
  }
  control.session = opened.session;
  await forward(context, call, http, { grant, impersonation, body, session: control });
}

/** Why a request that may last is not ended for idleness: nobody types into it. */
function lastingReason({ info }: KubeCall): string | undefined {
  if (info.verb === 'watch') return 'a watch has no input';
  if (info.subresource === 'log' && isSet(info.query, 'follow')) return 'following a log has no input';
  return undefined;
}

/** The session of a watch or a followed log. */
class ResponseControl implements SessionControl {
  readonly abortUpstream = new AbortController();
  session: Session | undefined;
  readonly #response: ServerResponse;
  /** How the end is told where the response has begun; undefined where it cannot be. */
  tellEnd: ((text: string) => string | undefined) | undefined;
  readonly #closed: Promise<void>;
  /** What was sent last has not come to its end: an event put in here could not be read. */
  midLine = false;

  constructor(response: ServerResponse) {
    this.#response = response;
    this.#closed = new Promise((resolve) => response.once('close', () => resolve()));
  }

  warn(): void {
    // Nobody types into a watch or a log: there is no place for a warning, and no idleness.
  }

  warningCancelled(): void {
    // As above.
  }

  async close(end: SessionEnd): Promise<void> {
    const response = this.#response;
    if (isGone(response)) {
      this.abort();
      return;
    }
    if (end.cause === 'target_closed') {
      // What came from the target is on its way; `forward` has ended the response.
      this.abortUpstream.abort();
    } else if (!response.headersSent) {
      this.abortUpstream.abort();
      if (end.tell) sendFailure(response, { reason: 'Forbidden', message: end.text });
      else response.destroy();
    } else {
      const text = end.tell ? this.tellEnd?.(end.text) : undefined;
      this.abortUpstream.abort();
      // Cut short on purpose: a response that ended in order would look like success.
      if (text === undefined) breakOff(response);
      else response.write(text, () => breakOff(response));
    }
    await this.#closed;
  }

  abort(): void {
    this.abortUpstream.abort();
    this.#response.destroy();
  }
}

interface Forwarding {
  readonly grant: KubeGrant;
  readonly impersonation: Impersonation;
  readonly body: Readable | Buffer | null;
  readonly session: ResponseControl | undefined;
}

async function forward(
  context: KubeContext,
  call: KubeCall,
  { response }: HttpPair,
  forwarding: Forwarding,
): Promise<void> {
  const { grant, impersonation, session } = forwarding;
  const { info } = call;
  const filtered = !grant.unrestricted && info.isResource && (info.verb === 'list' || info.verb === 'watch');
  const abort = session?.abortUpstream ?? new AbortController();
  const leave =
    session === undefined ? context.inFlight.enter(call, impersonation.user, () => breakOff(response)) : undefined;
  response.once('close', () => {
    leave?.();
    abort.abort();
    void session?.session?.end(response.writableFinished ? 'target_closed' : 'client_closed');
  });
  try {
    const upstream = await context.upstreams.get(call.cluster);
    const replaced = {
      ...(filtered ? { ...READABLE_HEADERS, accept: jsonOnly(headerValues(call.headers, 'accept')) } : {}),
      // The body was read to see what it creates; it goes on as it came, with its true length.
      ...(Buffer.isBuffer(forwarding.body) ? { 'content-length': String(forwarding.body.length) } : {}),
    };
    const answer = await upstream.request({
      method: call.method,
      path: `${upstream.endpoint.basePath}${filtered ? withObjects(call.url) : call.url}`,
      headers: upstreamHeaders(call.headers, impersonation, await upstream.authorization(), replaced),
      body: forwarding.body,
      signal: abort.signal,
      responseHeaders: 'raw',
    });
    const body = answer.body;
    body.on('error', () => {
      if (!abort.signal.aborted) void session?.session?.end('target_closed', 'the answer was broken off');
      breakOff(response);
    });
    const raw = (answer.headers as unknown as (string | Buffer)[]).map((part) =>
      typeof part === 'string' ? part : part.toString('latin1'),
    );
    const shows = answer.statusCode === 200 && call.method !== 'HEAD';
    const filter = filtered && shows ? bodyFilter(call, grant, raw) : undefined;
    await recordRequest(context, call, impersonation, answer.statusCode);
    if (isGone(response)) {
      body.destroy();
      return;
    }
    const headers: Record<string, string | string[]> = {};
    for (const [name, values] of downstreamHeaders(raw)) {
      // The length of all would tell how much there is that is not shown.
      if (filtered && answer.statusCode === 200 && name === 'content-length') continue;
      headers[name] = values.length === 1 ? values[0]! : values;
    }
    response.writeHead(answer.statusCode, headers);
    response.flushHeaders?.();
    session?.session?.ready();
    const teller = endTeller(call, raw);
    if (session !== undefined) session.tellEnd = (text) => (session.midLine ? undefined : teller?.(text));
    relayBody(body, response, filter, context, call, session);
  } catch (error) {
    fail(context, call, response, error);
  }
}

function relayBody(
  body: Readable,
  response: ServerResponse,
  filter: BodyFilter | undefined,
  context: KubeContext,
  call: KubeCall,
  session: ResponseControl | undefined,
): void {
  if (filter === undefined) {
    if (session !== undefined)
      body.on('data', (chunk: Buffer) => {
        session.midLine = call.info.verb === 'watch' && chunk.at(-1) !== 0x0a;
      });
    body.pipe(response);
    return;
  }
  const guarded = (fn: () => Buffer): boolean => {
    try {
      const bytes = fn();
      if (bytes.length > 0 && !response.write(bytes)) body.pause();
      return true;
    } catch (error) {
      context.log.warn('an answer could not be filtered', {
        cluster: call.cluster.metadata.name,
        request: describeRequest(call.info),
        error: errorMessage(error),
      });
      body.destroy();
      breakOff(response);
      return false;
    }
  };
  response.on('drain', () => body.resume());
  body.on('data', (chunk: Buffer) => guarded(() => filter.push(chunk)));
  body.on('end', () => {
    if (guarded(() => filter.end())) response.end();
  });
}

/** How the end of a lasting response is told: an ERROR event for a watch in JSON, a line for a log. */
function endTeller(call: KubeCall, raw: readonly string[]): ((text: string) => string | undefined) | undefined {
  if (call.info.verb !== 'watch') return (text) => `\n${text}\n`;
  if (!/^application\/json/.test(headerValues(raw, 'content-type')[0] ?? '')) return undefined;
  return (text) =>
    `${JSON.stringify({ type: 'ERROR', object: JSON.parse(statusJson({ reason: 'Timeout', message: text })) })}\n`;
}

/** @throws {NightlatchError} `protocol` for an answer that cannot be read: nothing of it is passed on. */
function bodyFilter({ info }: KubeCall, grant: KubeGrant, raw: readonly string[]): BodyFilter {
  const [type = ''] = headerValues(raw, 'content-type');
  const [encoding = 'identity'] = headerValues(raw, 'content-encoding');
  if (!/^application\/json(?:;|$)/.test(type) || encoding !== 'identity')
    throw new NightlatchError(
      'protocol',
      `the answer (${type}, ${encoding}) cannot be filtered by the roles' kubernetes_resources`,
    );
  const base = kubeObject(info);
  // Of a namespace the API server says no namespace; of everything else the one it is in.
  const keep = (namespace: string, name: string): boolean => grant.permits({ ...base, namespace, name });
  return info.verb === 'watch' ? new WatchFilter(keep) : new ListFilter(keep);
}

/** The accepted types that are JSON; tables too. */
function jsonOnly(accept: readonly string[]): string {
  const kept = accept
    .flatMap((value) => value.split(','))
    .map((value) => value.trim())
    .filter((value) => /^application\/json(?:;|$)/.test(value));
  return kept.length > 0 ? kept.join(',') : 'application/json';
}

/** A table's rows name their objects unless `includeObject=None` says otherwise. */
function withObjects(url: string): string {
  return url.replace(/([?&])includeObject=[^&]*/gi, '$1includeObject=Metadata');
}

function hasBody(request: IncomingMessage | Http2ServerRequest): boolean {
  if (request.httpVersionMajor === 2) return !(request as Http2ServerRequest).stream.endAfterHeaders;
  const { headers } = request;
  return headers['transfer-encoding'] !== undefined || (headers['content-length'] ?? '0') !== '0';
}

async function refuse(
  context: KubeContext,
  call: KubeCall,
  response: ServerResponse,
  failure: KubeFailure,
): Promise<void> {
  try {
    await recordRequest(context, call, undefined, failureCode(failure), failure.message);
  } catch (error) {
    context.log.error('the audit event of a refused request was lost', { error: errorMessage(error) });
  }
  sendFailure(response, failure);
}

/** On disk before the user sees the answer. @throws {NightlatchError} `audit_unavailable`. */
async function recordRequest(
  context: KubeContext,
  call: KubeCall,
  impersonation: Impersonation | undefined,
  responseCode: number,
  error?: string,
): Promise<void> {
  const { info, identity } = call;
  await context.audit.emit({
    ...EVENTS.kubeRequest,
    user: identity.user,
    login: impersonation?.user ?? identity.user,
    'addr.remote': call.clientAddr,
    ...kubeAuditFields(call, impersonation),
    verb: info.verb,
    method: call.method,
    request_path: info.path,
    resource_api_group: info.apiGroup === '' ? info.apiVersion : `${info.apiGroup}/${info.apiVersion}`,
    resource_kind: info.resource,
    ...(info.subresource === '' ? {} : { resource_subresource: info.subresource }),
    resource_namespace: info.namespace,
    resource_name: info.name,
    response_code: responseCode,
    ...(error === undefined ? {} : { error }),
  });
}

function fail(context: KubeContext, call: KubeCall, response: ServerResponse, error: unknown): void {
  if (isGone(response) || response.writableEnded) return;
  context.log.warn('a Kubernetes request failed', {
    cluster: call.cluster.metadata.name,
    request: describeRequest(call.info),
    error: errorMessage(error),
  });
  if (response.headersSent) {
    breakOff(response);
    return;
  }
  const known = error instanceof NightlatchError;
  sendFailure(response, {
    reason: known && error.code === 'audit_unavailable' ? 'ServiceUnavailable' : 'BadGateway',
    message: known ? errorMessage(error) : `the Kubernetes API server cannot be reached: ${errorMessage(error)}`,
  });
}

/** The client's side of a response is closed. An HTTP/2 response only knows by its stream. */
function isGone(response: ServerResponse): boolean {
  const stream = (response as unknown as Partial<Http2ServerResponse>).stream;
  return stream === undefined || stream === null ? response.destroyed : stream.destroyed || stream.closed;
}

/** Ends a response so that the client sees that something is missing. */
function breakOff(response: ServerResponse): void {
  const stream = (response as unknown as Partial<Http2ServerResponse>).stream;
  if (stream === undefined || stream === null) response.destroy();
  else stream.close(constants.NGHTTP2_INTERNAL_ERROR);
}
