import { z } from 'zod';
import { block, doc, hostPort, line, mapping, nonEmptyLine } from './fields.ts';
import { metadata } from './metadata.ts';

/** How a desktop's certificate is checked. */
const desktopTls = mapping({
  mode: doc(
    z.enum(['verify-full', 'verify-ca', 'pinned', 'insecure', 'disable']),
    '`verify-full`, `verify-ca`, `pinned` (by `fingerprint`), `insecure` (no check) or `disable` (VNC without TLS).',
    { default: 'verify-full for RDP, disable for VNC' },
  ),
  ca_cert: doc(block(65_536), 'PEM of the CA that the server is checked against.', {
    default: "the system's CAs",
  }).optional(),
  server_name: doc(nonEmptyLine, 'Name that the certificate must carry.', { default: 'the host of `addr`' }).optional(),
  fingerprint: doc(
    z
      .string()
      .regex(/^(?:sha256:)?(?:[0-9a-fA-F]{2}:?){32}$/, { error: 'expected a SHA-256 fingerprint: 64 hex digits' }),
    'SHA-256 of the certificate, for `pinned`.',
    { type: 'text' },
  ).optional(),
}).superRefine((tls, ctx) => {
  if ((tls.mode === 'pinned') !== (tls.fingerprint !== undefined)) {
    ctx.addIssue({
      code: 'custom',
      path: ['fingerprint'],
      message: 'goes together with `mode: pinned`, and is needed then',
    });
  }
});

/** What a desktop is made of, the same in the resource and in the configuration file. */
export const desktopSpecShape = {
  addr: doc(hostPort, 'Where it listens.'),
  protocol: doc(z.enum(['rdp', 'vnc']), '`rdp` or `vnc`.', { default: 'rdp' }).default('rdp'),
  domain: doc(line, 'Windows domain to sign in to.').optional(),
  tls: doc(desktopTls, 'How the connection to it is protected.').optional(),
  auth: doc(
    mapping({
      login: doc(nonEmptyLine, 'The login that the password belongs to.').optional(),
      password_file: doc(nonEmptyLine, 'File with the password that the gateway puts in on the way.'),
    }),
    'How the gateway signs in on the user’s behalf.',
    { default: 'the user types the password' },
  ).optional(),
};

export const windowsDesktopSchema = mapping({
  kind: z.literal('windows_desktop'),
  version: z.literal('v3').default('v3'),
  metadata,
  spec: mapping(desktopSpecShape, {
    unsupported: { host_id: [], non_ad: [true], screen_size: [] },
  }),
});

/** A desktop reached by RDP or VNC, version v3. */
export type WindowsDesktop = z.infer<typeof windowsDesktopSchema>;
