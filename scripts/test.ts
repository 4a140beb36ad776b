// `npm test`: runs every test file in a process of its own and closes with the one line `N passed, N failed`.
// Arguments are files or folders to run instead of all. Files whose names say `serial` (they measure time
// with real processes) run after the others, one at a time.
import { globSync, statSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';

const DEFAULT_TIMEOUT_MS = 600_000;
/** Files that drive real programs wait most of their time: one more than there are processors keeps these busy. */
const CONCURRENCY = availableParallelism() + 1;

/** They take longest, so they come first: at the end short files fill what is left. */
function drivesPrograms(path: string): boolean {
  return /(?:^|\/)test\/(?:e2e|interop)\//.test(path);
}

const wanted = process.argv.slice(2);
const files = (wanted.length > 0 ? wanted : ['src', 'test'])
  .flatMap((path) => (statSync(path).isDirectory() ? globSync(`${path}/**/*.test.ts`) : [path]))
  .filter((path) => !path.includes('node_modules'))
  .sort((a, b) => Number(drivesPrograms(b)) - Number(drivesPrograms(a)) || (a < b ? -1 : 1));
const serial = files.filter((file) => file.includes('serial'));
const parallel = files.filter((file) => !file.includes('serial'));

let passed = 0;
let failed = 0;
const failures: string[] = [];

/** What went wrong, in a line: the list at the end is all that is kept of a long run. */
function firstLine(error: Error): string {
  const cause = error.cause instanceof Error ? error.cause : error;
  return cause.message.trim().split('\n', 1)[0]!.slice(0, 300);
}

async function runFiles(paths: string[], concurrency: number): Promise<void> {
  if (paths.length === 0) return;
  const stream = run({
    files: paths,
    concurrency,
    timeout: DEFAULT_TIMEOUT_MS,
    execArgv: ['--disable-warning=ExperimentalWarning'],
  });
  stream.on('test:pass', (event) => {
    if (event.details.type !== 'suite') passed += 1;
    if (event.skip !== undefined || event.todo !== undefined) {
      failed += 1;
      passed -= 1;
      failures.push(`${event.file ?? ''}: ${event.name} (skipped: nothing is skipped here)`);
    }
  });
  stream.on('test:fail', (event) => {
    const { failureType } = event.details.error as Error & { failureType?: string };
    if (event.details.type === 'suite') {
      // Its tests are counted, and say no more than that they were cancelled where a hook of the suite has failed.
      if (failureType === 'hookFailed')
        failures.push(`${event.file ?? ''}: ${event.name}: ${firstLine(event.details.error)}`);
      return;
    }
    failed += 1;
    failures.push(`${event.file ?? ''}: ${event.name}: ${firstLine(event.details.error)}`);
  });
  const reporter = stream.compose(spec);
  reporter.pipe(process.stdout, { end: false });
  await new Promise<void>((resolve, reject) => {
    reporter.once('end', resolve);
    reporter.once('error', reject);
  });
}

await runFiles(parallel, CONCURRENCY);
await runFiles(serial, 1);
if (passed + failed === 0) {
  console.error('no test ran');
  failed = 1;
}
for (const failure of failures) console.log(`FAILED ${failure}`);
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed > 0 ? 1 : 0);
