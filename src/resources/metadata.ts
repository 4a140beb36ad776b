import { z } from 'zod';
import { doc, line, mapping, resourceName, staticLabels } from './fields.ts';

/** The label that says where a resource's value comes from (SPEC 2.2). */
export const ORIGIN_LABEL = 'teleport.dev/origin';

/** `defaults`: nobody set it; `config-file`: restored at every start; `dynamic`: set with `tctl` or in the web application. */
export type Origin = 'defaults' | 'config-file' | 'dynamic';

/** A time as Teleport writes it: RFC 3339, UTC. */
export const timestamp = z
  .string()
  .transform((text, ctx): string => {
    const ms = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})$/.test(text)
      ? Date.parse(text)
      : Number.NaN;
    if (!Number.isNaN(ms)) return new Date(ms).toISOString();
    ctx.addIssue({ code: 'custom', message: 'expected a time such as 2026-01-31T15:04:05Z' });
    return z.NEVER;
  })
  .meta({ docType: 'time (RFC 3339)' });

const common = {
  description: doc(line, 'Free text.').optional(),
  labels: doc(staticLabels, 'Labels, which roles select by.').optional(),
  expires: doc(timestamp, 'When the resource goes away by itself.').optional(),
  revision: doc(line, 'As printed by `get`; a change is refused when the resource has changed since.').optional(),
};

/** Values that Teleport prints and that mean nothing here. */
const notes = { unsupported: { namespace: ['default'], id: [] } } as const;

/** Metadata of a resource that has a name of its own. */
export const metadata = mapping({ name: doc(resourceName, 'Name, unique for its kind.'), ...common }, notes);

/** Metadata of a resource whose name the schema fills in when it is left out. */
export const metadataWithOptionalName = mapping(
  { name: doc(resourceName, 'Name, unique for its kind.').optional(), ...common },
  notes,
);

/** Metadata of a resource of which there is one only: the name may be left out. */
export function singletonMetadata<const Name extends string>(name: Name) {
  return z
    .preprocess(
      (value) => value ?? {},
      mapping({ name: doc(z.literal(name), 'Always the same.', { default: name }).default(name), ...common }, notes),
    )
    .default({ name });
}
