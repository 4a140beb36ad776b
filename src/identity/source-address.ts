import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';

/** Most ranges in one `source-address` option. */
const MAX_RANGES = 64;

type Address = ipaddr.IPv4 | ipaddr.IPv6;

/** An address in the form comparisons use: without a zone, IPv4 where it is IPv4 inside of IPv6. */
function parseAddress(text: string): Address | undefined {
  const bare = text.replace(/%.*$/, '');
  // `isIP` first: ipaddr.js also reads octal, hexadecimal and short forms of IPv4.
  return isIP(bare) === 0 ? undefined : ipaddr.process(bare);
}

/** The address of `ip:port` or `[v6]:port`. */
export function ipOf(clientAddr: string): string {
  return clientAddr.replace(/:\d+$/, '').replace(/^\[|\]$/g, '');
}

/**
 * Whether an address lies in one of the ranges of a `source-address` option: addresses or CIDR ranges between commas
 * (PROTOCOL.certkeys). A list with an entry that is no range matches nothing.
 */
export function sourceAddressMatches(list: string, clientIp: string): boolean {
  const address = parseAddress(clientIp);
  const ranges = list.split(',').slice(0, MAX_RANGES + 1);
  if (address === undefined || ranges.length > MAX_RANGES) return false;
  let matched = false;
  for (const range of ranges) {
    const parsed = parseRange(range.trim());
    if (parsed === undefined) return false;
    const [network, bits] = parsed;
    if (network.kind() === address.kind() && matchesRange(address, network, bits)) matched = true;
  }
  return matched;
}

/** Whether a text is a list that `source-address` may hold. */
export function isSourceAddressList(list: string): boolean {
  const ranges = list.split(',');
  return ranges.length <= MAX_RANGES && ranges.every((range) => parseRange(range.trim()) !== undefined);
}

function parseRange(range: string): [Address, number] | undefined {
  const [text, mask, ...more] = range.split('/');
  if (text === undefined || more.length > 0 || isIP(text) === 0 || text.includes('%')) return undefined;
  const written = ipaddr.parse(text);
  const width = written.kind() === 'ipv4' ? 32 : 128;
  if (mask !== undefined && !/^\d{1,3}$/.test(mask)) return undefined;
  const bits = mask === undefined ? width : Number(mask);
  if (bits > width) return undefined;
  if (written instanceof ipaddr.IPv6 && written.isIPv4MappedAddress() && bits >= 96) {
    return [written.toIPv4Address(), bits - 96];
  }
  return [written, bits];
}

function matchesRange(address: Address, network: Address, bits: number): boolean {
  if (address instanceof ipaddr.IPv4 && network instanceof ipaddr.IPv4) return address.match(network, bits);
  if (address instanceof ipaddr.IPv6 && network instanceof ipaddr.IPv6) return address.match(network, bits);
  return false;
}
