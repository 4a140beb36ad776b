import { readFileSync } from 'node:fs';

/** The version of this package, the same from the sources and from the compiled package. */
export const VERSION: string = (
  JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }
).version;
