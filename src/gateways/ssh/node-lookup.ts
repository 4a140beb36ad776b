import type { PolicySnapshot } from '../../policy/snapshot.ts';
import type { Node } from '../../resources/index.ts';
import { splitAddr } from './target.ts';

/**
 * The node that people call `host`: by its name (UUID), its hostname, or its address (then with the port, where one is given). Undefined where
 * there is none, or where several share what was asked for.
 */
export function findNode(snapshot: PolicySnapshot, host: string, port?: number): Node | undefined {
  const byName = snapshot.nodes.get(host);
  if (byName !== undefined) return byName;
  const wanted = host.toLowerCase();
  let found: Node | undefined;
  for (const node of snapshot.nodes.values()) {
    if (node.spec.hostname.toLowerCase() !== wanted && !hasAddr(node, wanted, port)) continue;
    if (found !== undefined) return undefined;
    found = node;
  }
  return found;
}

function hasAddr(node: Node, host: string, port: number | undefined): boolean {
  if (node.spec.addr === undefined) return false;
  const addr = splitAddr(node.spec.addr);
  return addr.host.toLowerCase() === host && (port === undefined || port === addr.port);
}
