import { z } from 'zod';
import { doc, duration, flag, line, mapping, positiveDuration } from './fields.ts';
import { singletonMetadata } from './metadata.ts';

/** Second factors at login: `off` none, `otp` a code, `webauthn` a security key or passkey, `on` one of the two. */
export const secondFactor = z.enum(['off', 'otp', 'webauthn', 'on']);

/** What a session does when locks cannot be known to be current: `strict` ends it, `best_effort` lets it go on. */
export const lockingMode = z.enum(['best_effort', 'strict']);

/** Keys of Teleport's `authentication` that are not implemented, the same in the file and in the resource. */
export const UNSUPPORTED_AUTHENTICATION = {
  allow_headless: [false],
  allow_local_auth: [true],
  allow_passwordless: [false],
  connector_name: ['', 'local'],
  device_trust: [],
  hardware_key: [],
  headless: [false],
  idp: [],
  local_auth: [true],
  message_of_the_day: [''],
  okta: [],
  passwordless: [false],
  piv_slot: [],
  require_session_mfa: [false, 'off', 'no'],
  second_factors: [],
  signature_algorithm_suite: [],
  stable_unix_user_config: [],
  u2f: [],
} as const;

export const clusterAuthPreferenceSchema = mapping(
  {
    kind: z.literal('cluster_auth_preference'),
    version: z.literal('v2').default('v2'),
    metadata: singletonMetadata('cluster-auth-preference'),
    spec: mapping(
      {
        type: doc(z.literal('local'), 'Where users are kept; `local` only.', { default: 'local' }).default('local'),
        second_factor: doc(
          secondFactor,
          'Second factor at login: `off`, `otp`, `webauthn`, or `on` for one of the two.',
          {
            default: 'on',
          },
        ).default('on'),
        webauthn: doc(
          mapping({
            rp_id: doc(line, 'Domain that security keys are bound to.', { default: 'host part of the public address' }),
          }),
          'Settings for security keys and passkeys.',
        ).optional(),
        default_session_ttl: doc(positiveDuration, 'How long a login lasts, unless a role says less.', {
          default: '12h0m0s',
        }).optional(),
        disconnect_expired_cert: doc(flag, 'End sessions when the certificate they began with expires.', {
          default: 'no',
        }).optional(),
        locking_mode: doc(lockingMode, 'What to do when locks cannot be known to be current.', {
          default: 'best_effort',
        }).default('best_effort'),
        options: doc(
          mapping(
            {
              client_idle_timeout: doc(
                duration,
                'End a session after this long without activity; `never` or `0`: no limit.',
                {
                  default: 'never',
                },
              ).optional(),
              disconnect_expired_cert: doc(flag, 'As `spec.disconnect_expired_cert`; either is enough.', {
                default: 'no',
              }).optional(),
            },
            {
              misplaced: {
                client_idle_warning:
                  'spec.client_idle_warning of cluster_networking_config (or of a role, under options)',
                client_idle_activity:
                  'spec.client_idle_activity of cluster_networking_config (or of a role, under options)',
                idle_timeout_message: 'spec.idle_timeout_message of cluster_networking_config',
                client_idle_timeout_message: 'spec.idle_timeout_message of cluster_networking_config',
                web_idle_timeout: 'spec.web_idle_timeout of cluster_networking_config',
                locking_mode: 'spec.locking_mode',
                second_factor: 'spec.second_factor',
              },
            },
          ),
          'Options for all sessions.',
        ).optional(),
      },
      {
        unsupported: UNSUPPORTED_AUTHENTICATION,
        misplaced: {
          client_idle_timeout: 'spec.options.client_idle_timeout',
          client_idle_warning: 'spec.client_idle_warning of cluster_networking_config (or of a role, under options)',
          client_idle_activity: 'spec.client_idle_activity of cluster_networking_config (or of a role, under options)',
          idle_timeout_message: 'spec.idle_timeout_message of cluster_networking_config',
          client_idle_timeout_message: 'spec.idle_timeout_message of cluster_networking_config',
          web_idle_timeout: 'spec.web_idle_timeout of cluster_networking_config',
        },
      },
    ).default({ type: 'local', second_factor: 'on', locking_mode: 'best_effort' }),
  },
  { misplaced: { options: 'spec.options', client_idle_timeout: 'spec.options.client_idle_timeout' } },
);

/** Cluster-wide login and session options (`cap`), version v2. */
export type ClusterAuthPreference = z.infer<typeof clusterAuthPreferenceSchema>;
