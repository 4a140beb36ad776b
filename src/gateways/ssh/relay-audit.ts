import { EVENTS } from '../../audit/catalog.ts';
import type { Session } from '../../session/types.ts';
import { SshReader } from '../../wire/ssh/buffer.ts';
import { type ChannelOpen, type ChannelRequest, decodeForwardedConnection } from '../../wire/ssh/messages.ts';
import type { RelayChannel } from './relay-channel.ts';

/** Longest command that is written to the log, in characters. */
const MAX_COMMAND = 4096;

/** Notes how a program ended (RFC 4254 section 6.10). */
export function noteExit(channel: RelayChannel, request: ChannelRequest): void {
  const reader = new SshReader(request.data);
  channel.exit = request.name === 'exit-status' ? { status: reader.uint32() } : { signal: reader.name() };
}

/** Writes the event of a channel's program, once: when it has ended, or when the channel or the session ends without that. */
export function auditProgram(session: Session, channel: RelayChannel): void {
  const { program, exit } = channel;
  if (program === undefined || program.kind === 'shell' || channel.audited) return;
  channel.audited = true;
  const command = program.command.slice(0, MAX_COMMAND);
  const ok = exit !== undefined && 'status' in exit && exit.status === 0;
  const outcome = exit === undefined ? { exitError: 'the session ended before the program did' } : describeExit(exit);
  if (program.kind === 'subsystem') {
    const { event, code } = ok || exit === undefined ? EVENTS.subsystem : EVENTS.subsystemFailed;
    session.audit(event, code, { name: command, ...outcome });
    return;
  }
  const scp = parseScp(command);
  if (scp !== undefined) {
    const type =
      scp.action === 'upload'
        ? ok
          ? EVENTS.scpUpload
          : EVENTS.scpUploadFailed
        : ok
          ? EVENTS.scpDownload
          : EVENTS.scpDownloadFailed;
    session.audit(type.event, type.code, { command, path: scp.path, action: scp.action, ...outcome });
    return;
  }
  const { event, code } = ok ? EVENTS.exec : EVENTS.execFailed;
  session.audit(event, code, { command, ...outcome });
}

function describeExit(exit: NonNullable<RelayChannel['exit']>): Record<string, unknown> {
  if ('signal' in exit) return { exitError: `signal ${exit.signal}` };
  return exit.status < 0 ? { exitError: 'the target refused to start it' } : { exitCode: String(exit.status) };
}

/** The remote half of scp(1) is `scp -t PATH` (upload) or `scp -f PATH` (download), with further flags. */
export function parseScp(command: string): { action: 'upload' | 'download'; path: string } | undefined {
  const match = /^(?:\S*\/)?scp((?:\s+-[A-Za-z]+|\s+--)*)\s+(.*)$/s.exec(command);
  if (match === null) return undefined;
  const flags = match[1]!.replace(/[\s-]/g, '');
  if (flags.includes('t')) return { action: 'upload', path: match[2]! };
  if (flags.includes('f')) return { action: 'download', path: match[2]! };
  return undefined;
}

/** Writes the `port` event of a forwarded connection that the client asked for. Other channels have none. */
export function auditForward(session: Session, open: ChannelOpen, ok: boolean, text: string): void {
  const { event, code } = ok ? EVENTS.port : EVENTS.portFailed;
  const addr = forwardAddress(open);
  if (addr === undefined) return;
  session.audit(event, code, { addr, direction: 'local', success: ok, ...(ok ? {} : { error: text }) });
}

function forwardAddress(open: ChannelOpen): string | undefined {
  if (open.type === 'direct-streamlocal@openssh.com') return new SshReader(open.data).utf8(1024);
  if (open.type !== 'direct-tcpip') return undefined;
  const { host, port } = decodeForwardedConnection(open.data);
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
