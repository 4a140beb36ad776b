import type { z } from 'zod';
import { configSchema } from '../src/resources/config-schema.ts';
import { KINDS, type Kind, kindAliases, SCHEMAS, sampleConfig } from '../src/resources/index.ts';
import { childSchemas, elementSchema, fieldDocOf, unsupportedKeys, unwrap } from '../src/resources/schema-tree.ts';

type AnySchema = z.core.$ZodType;

const NOTE = '<!-- Written by scripts/generate-reference.ts from the schemas; change those, then run it. -->\n\n';

const DURATIONS = `Durations are numbers with units: \`ns us µs ms s m h d mo\` (30 days) \`y\` (365 days), also \`1h30m\` and \`1.5h\`. \`never\` and \`0\` stand for
no limit. A number without a unit is an error. \`yes\`, \`no\`, \`on\`, \`off\`, \`true\` and \`false\` are all understood.\n`;

const MATCHERS = `Matchers select labels and other names: a text stands for itself, \`*\` in it for anything, and \`^…$\` is a regular expression (no back references, no look-around, no repetition of what itself
repeats, and no more than three open-ended repetitions). \`{{internal.logins}}\` and \`{{external.team}}\` stand for the user's traits, \`{{email.local(external.email)}}\` for what comes before the \`@\`.\n`;

const ABOUT: Readonly<Record<Kind, string>> = {
  cluster_auth_preference: 'How people sign in, and the cluster-wide idle timeout. There is one.',
  cluster_networking_config: 'The cluster-wide idle settings. There is one.',
  role: 'What people with this role may do, and what holds for their sessions. One with `options` alone grants nothing and tightens.',
  user: 'Somebody, or something, that signs in. Passwords and second factors are kept apart.',
  node: 'An SSH server.',
  db: 'A database.',
  kube_cluster: 'A Kubernetes cluster.',
  windows_desktop: 'A desktop reached by RDP or VNC.',
  lock: 'Bars whom it names at once: open sessions end, new ones do not start.',
};

/** The generated pages of docs/reference/, by file name. */
export function referencePages(): Readonly<Record<'config.md' | 'resources.md', string>> {
  return { 'config.md': configPage(), 'resources.md': resourcesPage() };
}

function configPage(): string {
  const sections = childSchemas(configSchema).filter(([, schema]) => childSchemas(schema).length > 0);
  return [
    '# The configuration file\n\n',
    NOTE,
    'The daemon reads `/etc/nightlatch.yaml`, else `/etc/teleport.yaml`, else starts on the defaults below. The keys are those of teleport.yaml, for the part that is implemented. ',
    'An unknown key, a bad value, a key twice, or a key of Teleport’s that is not supported stops the start, with file, line and key; `--ignore-unsupported` turns only the last into warnings.\n\n',
    DURATIONS,
    '\n## Top level\n\n',
    table(configSchema, '', 1),
    ...sections.flatMap(([name, schema]) => [
      `\n## ${name}\n\n`,
      `${fieldDocOf(schema).description ?? ''}\n\n`,
      table(schema, '', 8),
      unsupportedText(schema, ''),
    ]),
    '\n## A sample\n\n`nightlatch configure` prints it.\n\n```yaml\n',
    sampleConfig(),
    '```\n',
  ].join('');
}

function resourcesPage(): string {
  return [
    '# Resources\n\n',
    NOTE,
    'What `tctl get`, `tctl create -f`, `tctl edit` and `tctl rm` work on: YAML or JSON, several documents in a file. Every resource has `kind`, `version`, `metadata` and `spec`.\n\n',
    DURATIONS,
    '\n',
    MATCHERS,
    '\n## Metadata\n\n',
    table(childOf(SCHEMAS.role, 'metadata'), '', 1),
    ...KINDS.flatMap((kind) => [
      `\n## ${kind}\n\n`,
      `${ABOUT[kind]} Also called ${kindAliases(kind)
        .map((alias) => `\`${alias}\``)
        .join(', ')}.\n\n`,
      versionText(SCHEMAS[kind]),
      table(childOf(SCHEMAS[kind], 'spec'), 'spec.', 8),
      unsupportedText(childOf(SCHEMAS[kind], 'spec'), 'spec.'),
      kind === 'role' ? ROLE_DEFAULTS : '',
    ]),
  ].join('');
}

const ROLE_DEFAULTS = `
### What a role allows when a key is absent

| version | node_labels | db_labels, kubernetes_labels | kubernetes_resources |
|---|---|---|---|
| v3 | all, if the role has logins | all | all pods |
| v4, v5 | none | none | all pods |
| v6 | none | none | no pod |
| v7, v8 | none | none | everything in the clusters allowed |

Until v6, \`kubernetes_resources\` is about pods only, and the rest is left to the cluster's own rules; from v7 on what is not listed is refused.
In v7 an entry of kind \`namespace\` is about everything in it; v8 calls kinds as the API does (\`pods\`) and has \`api_group\`.
\`deny\` wins over every \`allow\`.
`;

function versionText(schema: AnySchema): string {
  const version = childOf(schema, 'version');
  return `Version: ${typeText(version)}.\n\n`;
}

function table(schema: AnySchema, prefix: string, depth: number): string {
  const rows = rowsOf(schema, prefix, depth);
  return [
    '| key | type | default | meaning |\n|---|---|---|---|\n',
    ...rows.map((cells) => `| ${cells.map(cell).join(' | ')} |\n`),
  ].join('');
}

function rowsOf(schema: AnySchema, prefix: string, depth: number): string[][] {
  return childSchemas(schema).flatMap(([name, child]) => {
    const { description = '', default: byDefault } = fieldDocOf(child);
    const element = elementSchema(child);
    const inner =
      childSchemas(child).length > 0 ? child : element && childSchemas(element).length > 0 ? element : undefined;
    // Both sides of a role have the same keys.
    if (name === 'deny') return [[`\`${prefix}${name}\``, 'mapping', '', `${description} The same keys as \`allow\`.`]];
    const row = [`\`${prefix}${name}\``, typeText(child), byDefault ?? '', description];
    return depth > 1 && inner !== undefined
      ? [row, ...rowsOf(inner, `${prefix}${name}${inner === child ? '.' : '[].'}`, depth - 1)]
      : [row];
  });
}

function typeText(schema: AnySchema): string {
  const { type } = fieldDocOf(schema);
  if (type !== undefined) return type;
  const def = (unwrap(schema) as z.core.$ZodTypes)._zod.def;
  switch (def.type) {
    case 'object':
      return 'mapping';
    case 'array':
      return childSchemas(def.element).length > 0 ? 'list of mappings' : `list of ${typeText(def.element)}`;
    case 'enum':
      return Object.values(def.entries)
        .map((value) => `\`${value}\``)
        .join(', ');
    case 'literal':
      return def.values.map((value) => `\`${value}\``).join(', ');
    case 'record':
      return 'mapping of text to text';
    default:
      return 'text';
  }
}

/** Keys of Teleport's that are refused, in this mapping and in those within. */
function unsupportedText(schema: AnySchema, prefix: string): string {
  const keys = refused(schema, prefix);
  return keys.length === 0
    ? ''
    : `\nNot supported, though Teleport has them: ${keys.map((key) => `\`${key}\``).join(', ')}.\n`;
}

function refused(schema: AnySchema, prefix: string): string[] {
  return [
    ...unsupportedKeys(schema).map((key) => `${prefix}${key}`),
    ...childSchemas(schema).flatMap(([name, child]) => {
      if (name === 'deny') return [];
      const element = elementSchema(child);
      return refused(element ?? child, `${prefix}${name}${element === undefined ? '.' : '[].'}`);
    }),
  ];
}

function childOf(schema: AnySchema, key: string): AnySchema {
  const child = childSchemas(schema).find(([name]) => name === key)?.[1];
  if (child === undefined) throw new Error(`there is no ${key}`);
  return child;
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('\n', ' ');
}
