import type { Duplex } from 'node:stream';
import { EVENTS } from '../../audit/catalog.ts';
import { errorMessage, NightlatchError } from '../../core/errors.ts';
import { kubeOptions } from '../../policy/options.ts';
import { admit, authorizer } from './admission.ts';
import { type KubeCall, type KubeContext, kubeAuditFields, sessionTarget } from './context.ts';
import type { Denials } from './denials.ts';
import { headerValues, upstreamHeaders } from './headers.ts';
import { RawStreams } from './raw-streams.ts';
import { isSet } from './request-info.ts';
import { SpdyStreams } from './spdy-streams.ts';
import { type KubeFailure, refuseUpgrade } from './status.ts';
import { StreamSession } from './stream-session.ts';
import type { StreamListener, StreamProtocol } from './streams.ts';
import { TunnelledStreams } from './tunnelled-streams.ts';
import type { KubeUpstream, UpgradeAnswer } from './upstream.ts';
import { WebSocketStreams } from './websocket-streams.ts';

const TUNNEL = 'SPDY/3.1+portforward.k8s.io';
/** Subprotocols whose frames the gateway reads; others are not offered to the API server. */
const EXEC_SUBPROTOCOLS: readonly string[] = ['v5.channel.k8s.io', 'v4.channel.k8s.io'];

type Purpose = 'exec' | 'attach' | 'portforward' | 'proxy';

/** Answers an upgrade request: opens a session, asks the API server for the same upgrade, and lets both speak. */
export async function handleUpgrade(
  context: KubeContext,
  denials: Denials,
  call: KubeCall,
  socket: Duplex,
  head: Buffer,
): Promise<void> {
  const { info } = call;
  const refuse = (reason: KubeFailure['reason'], message: string): void => refuseUpgrade(socket, { reason, message });
  const purpose = purposeOf(call);
  if (purpose === undefined) {
    refuse(
      'BadRequest',
      `an upgrade is for exec, attach, port-forward and proxy only, not for ${info.verb} ${info.path}`,
    );
    return;
  }
  const protocol = headerValues(call.headers, 'upgrade')[0]?.toLowerCase() ?? '';
  const webSocket = protocol === 'websocket';
  if (!(webSocket || protocol === 'spdy/3.1' || purpose === 'proxy')) {
    refuse('BadRequest', `cannot upgrade to ${JSON.stringify(protocol)}: use WebSocket or SPDY/3.1`);
    return;
  }
  const subprotocols = webSocket && purpose !== 'proxy' ? offered(call, purpose) : undefined;
  if (subprotocols?.length === 0) {
    refuse('BadRequest', `none of the offered WebSocket subprotocols is supported: use ${wanted(purpose).join(', ')}`);
    return;
  }

  const snapshot = context.policy.current;
  const denialKey = `${call.identity.user}\n${call.identity.serial}\n${call.cluster.metadata.name}\n${call.url}`;
  const repeated = webSocket ? undefined : denials.take(denialKey, snapshot.revision);
  if (repeated !== undefined) {
    refuse('Forbidden', repeated);
    return;
  }
  const admission = admit(snapshot, call);
  const impersonation = admission.ok ? admission.impersonation : undefined;
  const tty = purpose !== 'portforward' && purpose !== 'proxy' && isSet(info.query, 'tty');
  const execCleanup = () => kubeOptions(context.policy.current, call.identity.user).execCleanup;
  const { clock, fastPath } = context;
  const streams = new StreamSession({ clock, client: socket, tty, execCleanup, fastPath: fastPath?.found });
  const fields = kubeAuditFields(call, impersonation);
  const opened = await context.sessions.open(
    {
      kind: 'kube',
      protocol: 'kube',
      user: call.identity.user,
      login: impersonation?.user ?? call.identity.user,
      target: await sessionTarget(context, call),
      clientAddr: call.clientAddr,
      certExpiresAtMs: call.identity.expiresAtMs,
      authorize: authorizer(call),
      auditFields: { ...fields, kube_operation: purpose, interactive: tty },
    },
    streams,
  );
  if (!opened.ok) {
    if (webSocket && (opened.cause === 'denied' || opened.cause === 'locked'))
      denials.note(denialKey, snapshot.revision, opened.text);
    refuse(opened.cause === 'denied' || opened.cause === 'locked' ? 'Forbidden' : 'ServiceUnavailable', opened.text);
    return;
  }
  const { session } = opened;
  const ports = new Set<string>();
  streams.opened(session, (port) => {
    if (ports.has(port) || ports.size >= 1_000) return;
    ports.add(port);
    session.audit(EVENTS.port.event, EVENTS.port.code, { ...fields, addr: `${info.namespace}/${info.name}:${port}` });
  });
  if (impersonation === undefined) {
    // The policy changed to "allowed" while the session was being opened.
    streams.refuseWith({ reason: 'ServiceUnavailable', message: 'the access rules have just changed: try again' });
    await session.end('error', 'the access rules changed while the session was opened');
    return;
  }
  try {
    const upstream = await context.upstreams.get(call.cluster);
    const request = upgradeRequest(call, upstream, impersonation, await upstream.authorization(), subprotocols);
    const answer = await upstream.upgrade(request, streams.opening.signal);
    if (!streams.isOpening) {
      answer.socket.destroy();
      return;
    }
    if (answer.statusCode !== 101) {
      if (purpose === 'exec')
        session.audit(EVENTS.execFailed.event, EVENTS.execFailed.code, {
          ...fields,
          exit_error: `the API server answered ${answer.statusCode}`,
        });
      await passRefusal(socket, answer);
      streams.answered();
      await session.end('target_closed', `the API server answered ${answer.statusCode}`);
      return;
    }
    const spoken = spokenProtocol(purpose, webSocket, answer, tty, call, streams);
    if (purpose === 'exec' || purpose === 'attach')
      session.audit(EVENTS.exec.event, EVENTS.exec.code, {
        ...fields,
        command: info.query.getAll('command').join(' '),
      });
    session.ready();
    streams.relay({
      target: answer.socket,
      protocol: spoken,
      head: answer.head,
      fromTarget: answer.rest,
      fromClient: head,
    });
  } catch (error) {
    if (!streams.isOpening) return;
    context.log.warn('a Kubernetes session could not be set up', {
      cluster: call.cluster.metadata.name,
      sid: session.id,
      error: errorMessage(error),
    });
    const timeout = error instanceof NightlatchError && error.code === 'timeout';
    streams.refuseWith({ reason: timeout ? 'Timeout' : 'ServiceUnavailable', message: errorMessage(error) });
    await session.end('error', errorMessage(error));
  }
}

function purposeOf({ info, method }: KubeCall): Purpose | undefined {
  if (!info.isResource || info.name === '') return undefined;
  // Through a node's proxy the kubelet runs commands past the streams that the gateway reads.
  if (info.subresource === 'proxy') return info.resource === 'nodes' ? undefined : 'proxy';
  if (method !== 'GET' && method !== 'POST') return undefined;
  const { resource, apiGroup, subresource } = info;
  if (resource !== 'pods' || apiGroup !== '') return undefined;
  return subresource === 'exec' || subresource === 'attach' || subresource === 'portforward' ? subresource : undefined;
}

function wanted(purpose: Purpose): readonly string[] {
  return purpose === 'portforward' ? [TUNNEL] : EXEC_SUBPROTOCOLS;
}

/** The client's WebSocket subprotocols that the gateway can read, in the client's order. */
function offered(call: KubeCall, purpose: Purpose): string[] {
  return headerValues(call.headers, 'sec-websocket-protocol')
    .flatMap((value) => value.split(','))
    .map((value) => value.trim())
    .filter((value) => wanted(purpose).includes(value));
}

function upgradeRequest(
  call: KubeCall,
  upstream: KubeUpstream,
  impersonation: Parameters<typeof upstreamHeaders>[1],
  authorization: string | undefined,
  subprotocols: readonly string[] | undefined,
): Buffer {
  const headers = upstreamHeaders(call.headers, impersonation, authorization, {
    // No extensions: compressed frames could not be read.
    'sec-websocket-extensions': '',
    'content-length': call.method === 'POST' ? '0' : '',
    ...(subprotocols === undefined ? {} : { 'sec-websocket-protocol': subprotocols.join(', ') }),
  });
  const lines = [
    `${call.method} ${upstream.endpoint.basePath}${call.url} HTTP/1.1`,
    `Host: ${upstream.host}`,
    'Connection: Upgrade',
    `Upgrade: ${headerValues(call.headers, 'upgrade')[0] ?? ''}`,
  ];
  for (let i = 0; i < headers.length; i += 2) lines.push(`${headers[i]}: ${headers[i + 1]}`);
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
}

/** What the API server agreed to speak. */
function spokenProtocol(
  purpose: Purpose,
  webSocket: boolean,
  answer: UpgradeAnswer,
  tty: boolean,
  call: KubeCall,
  listener: StreamListener,
): StreamProtocol {
  if (purpose === 'proxy') return new RawStreams(listener);
  const { query } = call.info;
  if (!webSocket || purpose === 'portforward') {
    const version = answer.header('x-stream-protocol-version');
    const spdy = new SpdyStreams({
      tty,
      listener,
      purpose: purpose === 'portforward' ? 'portforward' : 'exec',
      jsonStatus: purpose !== 'portforward' && /^v(?:[4-9]|\d\d)/.test(version),
      ...(purpose === 'portforward' ? {} : { expectedStreams: expectedStreams(query, tty, version) }),
    });
    return webSocket ? new TunnelledStreams(spdy) : spdy;
  }
  const subprotocol = answer.header('sec-websocket-protocol');
  if (!EXEC_SUBPROTOCOLS.includes(subprotocol) || answer.header('sec-websocket-extensions') !== '')
    throw new NightlatchError('protocol', `the API server chose what was not offered (${subprotocol})`);
  return new WebSocketStreams(subprotocol.startsWith('v5') ? 5 : 4, { tty, listener });
}

/** Streams that a client opens for a remote command: resize came with v3, and a terminal has no stderr. */
function expectedStreams(query: URLSearchParams, tty: boolean, version: string): number {
  const asked = (name: string): number => (isSet(query, name) ? 1 : 0);
  const resize = tty && /^v(?:[3-9]|\d\d)/.test(version) ? 1 : 0;
  return 1 + asked('stdin') + asked('stdout') + (tty ? 0 : asked('stderr')) + resize;
}

/** The API server said no (no such pod, RBAC): its answer goes to the client as it is. Resolves when it is whole. */
async function passRefusal(socket: Duplex, answer: UpgradeAnswer): Promise<void> {
  const { socket: target, head, rest } = answer;
  const length = answer.header('content-length');
  let left = length === '' ? Number.POSITIVE_INFINITY : Number(length);
  const chunked = /chunked/i.test(answer.header('transfer-encoding'));
  let tail = '';
  socket.write(head);
  await new Promise<void>((resolve) => {
    const take = (chunk: Buffer): void => {
      socket.write(chunk);
      left -= chunk.length;
      tail = (tail + chunk.toString('latin1')).slice(-5);
      if (left <= 0 || (chunked && tail === '0\r\n\r\n')) resolve();
    };
    take(rest);
    target.on('data', take);
    target.once('close', resolve);
    socket.once('close', resolve);
    target.resume();
  });
  target.destroy();
}
