import type { Resource } from './kinds.ts';

const LABEL_SELECTORS = ['node_labels', 'db_labels', 'kubernetes_labels', 'windows_desktop_labels'];

/** A resource as it is printed in JSON and YAML: keys sorted as Teleport's, what is absent left out. */
export function plainResource(resource: Resource): Record<string, unknown> {
  return sorted(resource) as Record<string, unknown>;
}

function sorted(value: unknown, key = ''): unknown {
  if (Array.isArray(value)) return value.map((item) => sorted(item));
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value)
    .filter(([, inner]) => inner !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(
    entries.map(([name, inner]) => [
      name,
      LABEL_SELECTORS.includes(key) && Array.isArray(inner) && inner.length === 1 ? inner[0] : sorted(inner, name),
    ]),
  );
}
