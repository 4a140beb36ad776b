import { z } from 'zod';
import { type FieldDoc, keyNotesOf } from './fields.ts';

type AnySchema = z.core.$ZodType;

/** A schema without what wraps it: defaults, optionality, preprocessing, transforms. */
export function unwrap(schema: AnySchema): AnySchema {
  const inner = innerOf(schema);
  return inner === undefined ? schema : unwrap(inner);
}

/** The keys of a mapping with their schemas; none for anything else. */
export function childSchemas(schema: AnySchema): [string, AnySchema][] {
  const def = (unwrap(schema) as z.core.$ZodTypes)._zod.def;
  return def.type === 'object' ? Object.entries(def.shape) : [];
}

/** The schema of a list's entries, or undefined. */
export function elementSchema(schema: AnySchema): AnySchema | undefined {
  const def = (unwrap(schema) as z.core.$ZodTypes)._zod.def;
  return def.type === 'array' ? def.element : undefined;
}

/** Where in a document of this schema a key may stand: `auth_service.client_idle_timeout`. */
export function pathsOfKey(root: AnySchema, key: string): string[] {
  const found: string[] = [];
  const visit = (schema: AnySchema, prefix: string) => {
    for (const [name, child] of childSchemas(schema)) {
      const path = prefix === '' ? name : `${prefix}.${name}`;
      if (name === key) found.push(path);
      const element = elementSchema(child);
      visit(element ?? child, element ? `${path}[]` : path);
    }
  };
  visit(root, '');
  return found;
}

/** Documentation of a field: of the outermost schema that has any, through whatever wraps it. */
export function fieldDocOf(schema: AnySchema): Partial<FieldDoc> {
  const meta = z.globalRegistry.get(schema) as
    | { description?: string; docType?: string; docDefault?: string }
    | undefined;
  const inner = innerOf(schema);
  return {
    ...(inner === undefined ? {} : fieldDocOf(inner)),
    ...(meta?.description === undefined ? {} : { description: meta.description }),
    ...(meta?.docType === undefined ? {} : { type: meta.docType }),
    ...(meta?.docDefault === undefined ? {} : { default: meta.docDefault }),
  };
}

/** Keys of Teleport's that a mapping refuses. */
export function unsupportedKeys(schema: AnySchema): string[] {
  return Object.keys(keyNotesOf(unwrap(schema)).unsupported ?? {});
}

function innerOf(schema: AnySchema): AnySchema | undefined {
  const def = (schema as z.core.$ZodTypes)._zod.def;
  switch (def.type) {
    case 'optional':
    case 'nullable':
    case 'default':
    case 'prefault':
    case 'readonly':
      return def.innerType;
    case 'pipe':
      return (def.in as z.core.$ZodTypes)._zod.def.type === 'transform' ? def.out : def.in;
    default:
      return undefined;
  }
}
