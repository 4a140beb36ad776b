import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { commandsPage } from '../scripts/commands-page.ts';
import { referencePages } from '../scripts/reference-pages.ts';

for (const [name, text] of Object.entries({ ...referencePages(), 'commands.md': commandsPage() })) {
  test(`docs/reference/${name} is what the sources say (node scripts/generate-reference.ts)`, () => {
    assert.equal(readFileSync(new URL(`../docs/reference/${name}`, import.meta.url), 'utf8'), text);
  });
}
