import { readFileSync } from 'node:fs';

/** Version of this package: from its package.json, which lies beside src/ as beside dist/. */
export function packageVersion(): string {
  const text = readFileSync(new URL('../../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

/** What `version` prints. */
export function versionLine(): string {
  return `Nightlatch v${packageVersion()} node ${process.versions.node}`;
}
