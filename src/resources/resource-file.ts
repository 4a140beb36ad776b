import { Document, isScalar, visit } from 'yaml';
import { checkResource } from './decode.ts';
import type { Resource } from './kinds.ts';
import { ConfigError, type PlacedProblem } from './problems.ts';
import { placed, readYaml } from './yaml-source.ts';

/**
 * Resources from YAML (or JSON): one document or several, as `tctl create -f` takes them.
 * @throws {ConfigError} listing all that is wrong, each as `file:line: key: what, and what to do`.
 */
export function readResources(text: string, fileName: string): Resource[] {
  const documents = readYaml(text, fileName);
  if (documents.length === 0) {
    throw new ConfigError(fileName, [{ line: 1, path: [], text: 'holds no resource', unsupported: false }]);
  }
  const resources: Resource[] = [];
  const problems: PlacedProblem[] = [];
  for (const document of documents) {
    const result = checkResource(document.value);
    if (result.ok) resources.push(result.data);
    else problems.push(...placed(result.problems, document));
  }
  if (problems.length > 0) throw new ConfigError(fileName, problems);
  return resources;
}

/** A resource as Teleport prints it: keys in order, lists of one label value as that value. What it prints can be read again. */
export function formatYaml(resource: Resource): string {
  const document = new Document(plainResource(resource), { aliasDuplicateObjects: false });
  visit(document, {
    Pair(_key, pair) {
      if (isScalar(pair.key) && pair.key.value === '*') pair.key.type = 'QUOTE_SINGLE';
    },
    Scalar(_key, node) {
      if (typeof node.value === 'string' && AMBIGUOUS.test(node.value)) node.type = 'QUOTE_SINGLE';
    },
  });
  return document.toString({ lineWidth: 0, singleQuote: true, indentSeq: false });
}

/** Several resources, as documents of one stream. */
export function formatYamlStream(resources: readonly Resource[]): string {
  return resources.map(formatYaml).join('---\n');
}

/** A resource as it is printed in JSON and YAML: keys sorted as Teleport's, what is absent left out. */
export function plainResource(resource: Resource): Record<string, unknown> {
  return sorted(resource) as Record<string, unknown>;
}

/** Texts that some reader of YAML takes for something else: an alias, or the yes and no of YAML 1.1. */
const AMBIGUOUS = /^(?:\*|y|n|yes|no|on|off)$/i;

const LABEL_SELECTORS = ['node_labels', 'db_labels', 'kubernetes_labels', 'windows_desktop_labels'];

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
