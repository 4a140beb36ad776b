// What a process that holds idle sessions uses. V8 lets its young generation grow once, by tens of megabytes, and keeps it: with few sessions that would be
// counted as theirs, at a moment that differs from run to run. So it has its full size from the start, and is filled before each measurement.

/** Options of Node for a process whose memory is measured. */
export const SETTLED_HEAP: readonly string[] = [
  '--expose-gc',
  '--min-semi-space-size=16',
  '--max-semi-space-size=16',
  '--disable-warning=ExperimentalWarning',
];

/** Memory without what nobody holds any more. */
export function settledMemory(): NodeJS.MemoryUsage {
  const filler: object[] = [];
  for (let i = 0; i < 3_000_000; i++) filler[i % 100] = { i };
  filler.length = 0;
  globalThis.gc?.();
  globalThis.gc?.();
  return process.memoryUsage();
}
