// Enforces the direction of imports: a folder below src/ is a layer, and imports point down this list only.
import { globSync, readFileSync } from 'node:fs';
import { dirname, normalize, sep } from 'node:path';

const LAYERS = [
  'cli',
  'server',
  'gateways',
  'session',
  'identity',
  'audit',
  'store',
  'policy',
  'resources',
  'wire',
  'core',
];
/** The command line reaches the server through its API client; only the daemon's own entry point starts it. */
const CLI_MAY_IMPORT_SERVER = new Set(['src/cli/nightlatch.ts']);
const IMPORT =
  /^\s*(?:import|export)\b[^'"]*?\bfrom\s*['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]\s*\)|^\s*import\s*['"]([^'"]+)['"]/gm;

const problems: string[] = [];
for (const file of globSync('src/**/*.ts')) {
  const [, layer] = file.split(sep);
  const from = LAYERS.indexOf(layer!);
  if (from < 0) {
    problems.push(`${file}: the folder ${layer} is no layer; the layers are ${LAYERS.join(', ')}`);
    continue;
  }
  const isTest = file.endsWith('.test.ts');
  for (const match of readFileSync(file, 'utf8').matchAll(IMPORT)) {
    const specifier = (match[1] ?? match[2] ?? match[3])!;
    if (!specifier.startsWith('.')) continue;
    const target = normalize(`${dirname(file)}/${specifier}`);
    if (target.startsWith('test/') || target.startsWith('bench/')) {
      if (!isTest) problems.push(`${file}: imports ${target}; only a test may`);
      continue;
    }
    const to = LAYERS.indexOf(target.split(sep)[1]!);
    if (to < from && !isTest) problems.push(`${file}: ${layer} must not import ${target} (a layer above it)`);
    if (layer === 'cli' && LAYERS[to] === 'server' && !CLI_MAY_IMPORT_SERVER.has(file) && !isTest)
      problems.push(`${file}: the command line talks to the server through its API client only, not ${target}`);
    if (layer === 'gateways' && LAYERS[to] === 'gateways') {
      const [a, b] = [file.split(sep)[2]!, target.split(sep)[2]!];
      if (a !== b && b !== 'common') problems.push(`${file}: one gateway must not import another (${target})`);
    }
  }
}
for (const problem of problems) console.error(problem);
process.exit(problems.length > 0 ? 1 : 0);
