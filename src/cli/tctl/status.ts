import { formatDuration } from '../../resources/duration.ts';
import type { PingResponse, StatusResponse } from '../../wire/api/messages.ts';
import type { ApiClient } from '../common/api-client.ts';
import { formatPairs } from '../common/output.ts';

/** `tctl status`: the cluster, and the pin by which `tsh login --ca-pin` knows it. */
export async function status(api: ApiClient, format: 'text' | 'json'): Promise<void> {
  const ping = await api.get<PingResponse>('/v1/ping');
  const standing = await api.get<StatusResponse>('/v1/status');
  if (format === 'json') {
    process.stdout.write(`${JSON.stringify({ ...ping, idle: standing.idle }, null, 2)}\n`);
    return;
  }
  const { idle } = standing;
  const limit = idle.timeoutMs === 0 ? 'never' : `${formatDuration(idle.timeoutMs)} (${idle.timeoutSource})`;
  process.stdout.write(
    formatPairs([
      ['Cluster', ping.clusterName],
      ['Version', ping.version],
      ['Public address', ping.publicAddr],
      ['Second factor', ping.secondFactor],
      [standing.administrator ? 'Idle timeout for all' : 'Your idle timeout', limit],
      ['CA pin', ping.caPin],
    ]),
  );
}
