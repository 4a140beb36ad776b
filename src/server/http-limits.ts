import http2, { type Http2SecureServer, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';

/** A request's header must have come after so long, and its body after so long, in milliseconds. */
const HEADERS_MS = 15_000;
const REQUEST_MS = 120_000;
/** How often HTTP/1.1 connections are looked at, in milliseconds. */
const LOOK_MS = 5_000;
/** A connection that nothing is asked on is closed after so long, in milliseconds. */
const IDLE_MS = 30_000;
/** Requests at a time on one HTTP/2 connection. */
const MAX_STREAMS = 256;

/** nghttp2's state of a stream whose request has not come to its end: NGHTTP2_STREAM_STATE_OPEN. */
const OPEN = http2.constants.NGHTTP2_STREAM_STATE_OPEN;

/** What Node has on this server for its HTTP/1.1 half, and the types leave out. */
interface Http1Limits {
  headersTimeout: number;
  requestTimeout: number;
  keepAliveTimeout: number;
  connectionsCheckingInterval: number;
}

/** Settings of the HTTP/2 half, for the server's creation. */
export const HTTP2_SETTINGS: http2.Settings = { maxConcurrentStreams: MAX_STREAMS };

/** Bounds the time of requests and of connections without one, over HTTP/1.1 and HTTP/2. Connections that were upgraded are not touched. */
export function limitRequests(server: Http2SecureServer): void {
  const limits: Http1Limits = {
    headersTimeout: HEADERS_MS,
    requestTimeout: REQUEST_MS,
    keepAliveTimeout: IDLE_MS,
    connectionsCheckingInterval: LOOK_MS,
  };
  Object.assign(server, limits);
  // Node watches over its connections from this event on, which never comes where connections are handed over.
  server.emit('listening');
  server.on('session', (session) => limitSession(session));
}

/** A session on which nothing has moved for a while is closed, unless somebody waits there for an answer (a watch, a live view). */
function limitSession(session: ServerHttp2Session): void {
  const streams = new Set<ServerHttp2Stream>();
  session.on('stream', (stream) => {
    streams.add(stream);
    stream.once('close', () => streams.delete(stream));
  });
  session.setTimeout(IDLE_MS, () => {
    const waiting = [...streams].some((stream) => stream.state.state !== OPEN);
    if (!waiting) session.destroy();
  });
}
