// `npm run check`: exactly what CI runs before the tests. Stops at the end, with every failure shown.
import { spawnSync } from 'node:child_process';

const steps: readonly (readonly [name: string, command: string, ...args: string[]])[] = [
  ['format and lint', 'biome', 'ci', '--error-on-warnings', '.'],
  ['types', 'tsc', '-p', '.'],
  ['types (web)', 'tsc', '-p', 'web'],
  ['import direction', 'node', 'scripts/check-layers.ts'],
  ['unused code', 'knip', '--no-progress'],
];

const failed: string[] = [];
for (const [name, command, ...args] of steps) {
  const { status, error } = spawnSync(command, args, { stdio: 'inherit' });
  if (status !== 0) {
    if (error) console.error(`${command}: ${error.message}`);
    failed.push(name);
  }
}
if (failed.length > 0) {
  console.error(`check failed: ${failed.join(', ')}`);
  process.exit(1);
}
console.log('check passed');
