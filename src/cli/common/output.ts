import { formatDuration } from '../../resources/duration.ts';

/**
 * Everything that could move the cursor, change colours or reorder text: C0 and C1 controls, DEL, line and paragraph separators,
 * zero-width and bidirectional formatting characters.
 */
const UNSAFE = /[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/gu;

/** A name or text that came from elsewhere, on one line and without power over the terminal: `\x1b` shows as `\u001b`. */
export function printable(text: string): string {
  return text.replace(UNSAFE, (char) => `\\u${char.codePointAt(0)!.toString(16).padStart(4, '0')}`);
}

/** As `printable`, but keeps line breaks: for messages of several lines. */
export function printableLines(text: string): string {
  return text.split('\n').map(printable).join('\n');
}

/** Text in double quotes, as Go's `%q`: for names in messages. */
export function quoted(text: string): string {
  return `"${printable(text.replace(/["\\]/g, (char) => `\\${char}`))}"`;
}

/** `env=prod,team=db`, sorted by key. */
export function formatLabels(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}=${value}`)
    .join(',');
}

/** A duration for people who look at a table: whole seconds, Go's style. */
export function formatAge(ms: number): string {
  return formatDuration(Math.max(0, Math.round(ms / 1000)) * 1000);
}

/** `2026-01-15 09:00:00 +0000 UTC`, as Go prints a time. */
export function formatTime(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19).replace('T', ' ')} +0000 UTC`;
}

/** The separator between columns while a table is being laid out; no printable cell contains one. */
const COLUMN = '\t';

const BARE = Object.fromEntries(
  ['top', 'bottom', 'left', 'mid', 'right']
    .flatMap((side) => [side, `${side}-mid`, `${side}-left`, `${side}-right`])
    .map((name) => [name, '']),
);

/** A table as Teleport prints it: a header, dashes below it as wide as each column, one space between columns. Cells are made printable here. */
export async function formatTable(header: readonly string[], rows: readonly (readonly string[])[]): Promise<string> {
  const { default: Table } = await import('cli-table3');
  const table = new Table({
    chars: { ...BARE, middle: COLUMN },
    style: { 'padding-left': 0, 'padding-right': 0, head: [], border: [] },
  });
  table.push([...header], ...rows.map((row) => row.map(printable)));
  const lines = table.toString().split('\n');
  // cli-table3 has padded the header to the width of each column as a terminal shows it.
  const dashes = lines[0]!.split(COLUMN).map((cell) => '-'.repeat(cell.length));
  lines.splice(1, 0, dashes.join(COLUMN));
  return `${lines.map((line) => line.replaceAll(COLUMN, ' ').trimEnd()).join('\n')}\n`;
}

/** Two columns without a header, as `tctl status` prints. */
export function formatPairs(pairs: readonly (readonly [name: string, value: string])[]): string {
  const width = Math.max(...pairs.map(([name]) => name.length));
  return pairs
    .map(([name, value]) => `${name.padEnd(width)} ${printable(value)}`.trimEnd())
    .join('\n')
    .concat('\n');
}
