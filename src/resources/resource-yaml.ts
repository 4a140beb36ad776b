// Apart from reading resources, which loads their schemas: a command that only prints needs none of them.
import { Document, isScalar, visit } from 'yaml';
import type { Resource } from './kinds.ts';
import { plainResource } from './plain-resource.ts';

/** Texts that some reader of YAML takes for something else: an alias, or the yes and no of YAML 1.1. */
const AMBIGUOUS = /^(?:\*|y|n|yes|no|on|off)$/i;

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
