import { z } from 'zod';
import { doc, line, mapping, nonEmptyLine, paragraph } from './fields.ts';
import { metadata, timestamp } from './metadata.ts';

export const lockSchema = mapping({
  kind: z.literal('lock'),
  version: z.literal('v2').default('v2'),
  metadata,
  spec: mapping(
    {
      target: doc(
        mapping(
          {
            user: doc(nonEmptyLine, 'A user.').optional(),
            role: doc(nonEmptyLine, 'Everybody who has this role.').optional(),
            login: doc(nonEmptyLine, 'A login on any target.').optional(),
            server_id: doc(nonEmptyLine, 'A node, by its name.').optional(),
            session: doc(nonEmptyLine, 'One session, by its id.').optional(),
            windows_desktop: doc(nonEmptyLine, 'A desktop, by its name.').optional(),
          },
          {
            unsupported: {
              access_request: [],
              bot_instance_id: [],
              device: [],
              join_token: [],
              mfa_device: [],
              node: [],
            },
          },
        ).superRefine((target, ctx) => {
          if (Object.values(target).every((value) => value === undefined)) {
            ctx.addIssue({
              code: 'custom',
              path: [],
              message: 'names nothing: one of user, role, login, server_id, session, windows_desktop',
            });
          }
        }),
        'What is locked. With several, each one is locked by itself.',
      ),
      message: doc(paragraph, 'Shown to those who are locked out.').optional(),
      expires: doc(timestamp, 'When the lock ends.', { default: 'never' }).optional(),
      created_at: doc(timestamp, 'When it was made; filled in.').optional(),
      created_by: doc(line, 'By whom; filled in.').optional(),
    },
    {
      misplaced: {
        user: 'spec.target.user',
        role: 'spec.target.role',
        login: 'spec.target.login',
        ttl: 'spec.expires (a time)',
      },
    },
  ),
});

/** Bars a user, a role, a login, a node or a session, version v2. */
export type Lock = z.infer<typeof lockSchema>;
