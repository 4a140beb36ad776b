// `npm run fuzz`: every test with random input again, with FUZZ_RUNS (20) times as many inputs as `npm test` gives it. Arguments are
// files or folders to run instead of all.
import { globSync, readFileSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import { pathToFileURL } from 'node:url';

const LIMIT_MS = 6 * 3_600_000;
const wanted = process.argv.slice(2);
const files = (wanted.length > 0 ? wanted : ['src', 'test'])
  .flatMap((path) => (statSync(path).isDirectory() ? globSync(`${path}/**/*.test.ts`) : [path]))
  .filter((path) => readFileSync(path, 'utf8').includes("from 'fast-check'"))
  .sort();
const preload = pathToFileURL(resolve(import.meta.dirname, '../test/fuzz/longer.ts')).href;

let [passed, failed] = [0, 0];
const stream = run({
  files,
  concurrency: 2,
  timeout: LIMIT_MS,
  execArgv: ['--disable-warning=ExperimentalWarning', '--import', preload],
});
stream.on('test:pass', ({ details }) => {
  if (details.type !== 'suite') passed += 1;
});
stream.on('test:fail', ({ details }) => {
  if (details.type !== 'suite') failed += 1;
});
stream.compose(spec).pipe(process.stdout, { end: false });
await new Promise<void>((done, fail) => {
  stream.once('end', done);
  stream.once('error', fail);
});
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed > 0 || passed === 0 ? 1 : 0);
