import { z } from 'zod';
import { doc, hostPort, mapping, resourceName, texts } from './fields.ts';
import { metadataWithOptionalName } from './metadata.ts';

const HOST_KEY = /^(?:ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(?:256|384|521)) [A-Za-z0-9+/]+={0,2}(?: .*)?$/;

const hostKeys = texts.refine((keys) => keys.every((key) => HOST_KEY.test(key)), {
  message: 'expected public keys as in /etc/ssh/ssh_host_ed25519_key.pub: ssh-ed25519 AAAA…',
});

export const nodeSchema = mapping({
  kind: z.literal('node'),
  sub_kind: doc(
    z.enum(['openssh', 'teleport']),
    '`openssh`: an OpenSSH server; `teleport`: the node inside the daemon.',
    {
      default: 'openssh',
    },
  ).default('openssh'),
  version: z.literal('v2').default('v2'),
  metadata: metadataWithOptionalName.optional(),
  spec: mapping(
    {
      addr: doc(hostPort, 'Where its SSH server listens; needed for `openssh`.').optional(),
      hostname: doc(resourceName, 'The name people use.'),
      host_keys: doc(
        hostKeys,
        "The server's public keys; without any, its host certificate must come from the host CA.",
        {
          type: 'list of text',
        },
      ).optional(),
    },
    {
      unsupported: {
        cloud_metadata: [],
        cmd_labels: [],
        github: [],
        peer_addr: [],
        proxy_ids: [],
        public_addrs: [],
        rotation: [],
        use_tunnel: [false],
        version: [],
      },
    },
  ),
})
  .superRefine((node, ctx) => {
    if (node.sub_kind === 'openssh' && node.spec.addr === undefined) {
      ctx.addIssue({
        code: 'custom',
        path: ['spec', 'addr'],
        message: 'is missing: where does the SSH server listen (HOST:PORT)?',
      });
    }
  })
  .transform((node) => ({
    ...node,
    metadata: { ...node.metadata, name: node.metadata?.name ?? node.spec.hostname },
  }));

/** An SSH server, version v2. Without a name of its own it goes by its hostname. */
export type Node = z.infer<typeof nodeSchema>;
