import { pipeline } from 'node:stream/promises';
import { NightlatchError } from '../../core/errors.ts';
import { ALPN_SSH } from '../../wire/api/messages.ts';
import { type GlobalOptions, openSignIn } from './sign-in.ts';
import { shortNodeName } from './ssh.ts';
import { checkCluster, checkNodeName } from './ssh-arguments.ts';
import { openTunnel } from './tunnel.ts';

/** `tsh proxy ssh [LOGIN@]NODE[:PORT]`: standard input and output become the SSH stream to a node (ProxyCommand). */
export async function proxySsh(globals: GlobalOptions, target: string, cluster?: string): Promise<void> {
  const signIn = await openSignIn(globals);
  try {
    checkCluster(cluster, signIn.profile.cluster);
    const { node, port } = parseProxyTarget(target);
    const name = checkNodeName(shortNodeName(node, signIn.profile.cluster));
    const tunnel = await openTunnel(signIn.endpoint, ALPN_SSH, `${name}:${port}`);
    const down = pipeline(tunnel, process.stdout, { end: false });
    // ssh has gone when its end of the pipe closes; whatever the server still sends then reaches nobody.
    process.stdout.once('error', () => tunnel.destroy());
    const up = pipeline(process.stdin, tunnel).catch(() => tunnel.destroy());
    await Promise.race([down, up.then(() => down)]).catch(() => {});
    tunnel.destroy();
  } finally {
    signIn.dispose();
  }
  // Standard input may still be open, and would keep the program.
  process.exit();
}

/** The login before the `@` is ssh's business; the port is 0 where none was named, which stands for the node's own. */
function parseProxyTarget(target: string): { node: string; port: number } {
  const match = /^(?:.*@)?([^@:]+)(?::(\d{1,5}))?$/s.exec(target);
  const port = match?.[2] === undefined ? 0 : Number(match[2]);
  if (match === null || port > 65535)
    throw new NightlatchError('bad_parameter', `${JSON.stringify(target)} is no NODE:PORT`);
  return { node: match[1]!, port };
}
