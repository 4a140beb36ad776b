import { z } from 'zod';
import { doc, listOf, mapping, nonEmptyLine, resourceName, texts } from './fields.ts';
import { metadata } from './metadata.ts';

export const userSchema = mapping({
  kind: z.literal('user'),
  version: z.literal('v2').default('v2'),
  metadata,
  spec: mapping(
    {
      roles: doc(listOf(resourceName), 'Names of the roles the user has.', { type: 'list of text' }).default([]),
      traits: doc(
        z.preprocess((value) => value ?? {}, z.record(nonEmptyLine, texts)),
        'Values for templates in roles: `{{internal.logins}}` stands for `traits.logins`.',
        { type: 'mapping of text to list of text' },
      ).default({}),
    },
    {
      unsupported: {
        created_by: [],
        expires: ['0001-01-01T00:00:00Z'],
        github_identities: [],
        local_auth: [],
        oidc_identities: [],
        saml_identities: [],
        status: [],
        trusted_device_ids: [],
      },
      misplaced: { logins: 'spec.traits.logins', kubernetes_groups: 'spec.traits.kubernetes_groups' },
    },
  ).default({ roles: [], traits: {} }),
});

/** A person or a machine that signs in, version v2. Passwords and second factors are kept apart. */
export type User = z.infer<typeof userSchema>;
