import http from 'node:http';
import type { Metrics } from './metrics.ts';

export interface DiagnosticsDeps {
  readonly metrics: Metrics;
  /** Why the gateway is not ready for new sessions, or undefined when it is. */
  notReady(): string | undefined;
}

/** The diagnostics address: `/metrics`, `/readyz` (503 with the reason while no session can start) and `/healthz`. */
export function createDiagnostics({ metrics, notReady }: DiagnosticsDeps): http.Server {
  const server = http.createServer((request, response) => {
    const answer = (status: number, body: string, type = 'text/plain; charset=utf-8'): void => {
      response.writeHead(status, { 'content-type': type, 'x-content-type-options': 'nosniff' });
      response.end(request.method === 'HEAD' ? undefined : body);
    };
    if (request.method !== 'GET' && request.method !== 'HEAD') return answer(405, 'only GET\n');
    // Not all that a request line may hold is a URL: `//` is none.
    const pathname = URL.parse(request.url ?? '/', 'http://diagnostics')?.pathname;
    if (pathname === '/healthz') return answer(200, 'ok\n');
    if (pathname === '/readyz') {
      const reason = notReady();
      return reason === undefined ? answer(200, 'ok\n') : answer(503, `${reason}\n`);
    }
    if (pathname === '/metrics') {
      metrics.render().then(
        (text) => answer(200, text, metrics.contentType),
        () => answer(500, 'metrics could not be read\n'),
      );
      return undefined;
    }
    return answer(404, 'here are /metrics, /readyz and /healthz\n');
  });
  server.headersTimeout = 5_000;
  server.requestTimeout = 10_000;
  server.maxConnections = 64;
  return server;
}
