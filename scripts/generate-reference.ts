// Writes docs/reference: config.md and resources.md from the schemas, commands.md from the command lines. `--check` only says whether they are current.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { commandsPage } from './commands-page.ts';
import { referencePages } from './reference-pages.ts';

const folder = new URL('../docs/reference/', import.meta.url);
const pages = { ...referencePages(), 'commands.md': commandsPage() };

if (process.argv.includes('--check')) {
  const stale = Object.entries(pages).filter(([name, text]) => read(new URL(name, folder)) !== text);
  for (const [name] of stale)
    console.error(`docs/reference/${name} is out of date: run node scripts/generate-reference.ts`);
  process.exitCode = stale.length > 0 ? 1 : 0;
} else {
  mkdirSync(folder, { recursive: true });
  for (const [name, text] of Object.entries(pages)) writeFileSync(new URL(name, folder), text);
}

function read(file: URL): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}
