import type { z } from 'zod';

type AnySchema = z.core.$ZodType;

/** A schema without what wraps it: defaults, optionality, preprocessing, transforms. */
export function unwrap(schema: AnySchema): AnySchema {
  const def = (schema as z.core.$ZodTypes)._zod.def;
  switch (def.type) {
    case 'optional':
    case 'nullable':
    case 'default':
    case 'prefault':
    case 'readonly':
      return unwrap(def.innerType);
    case 'pipe': {
      // A preprocess step has its schema behind the transform, a transform step before it.
      const input = unwrap(def.in);
      return (input as z.core.$ZodTypes)._zod.def.type === 'transform' ? unwrap(def.out) : input;
    }
    default:
      return schema;
  }
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
