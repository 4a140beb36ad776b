import { randomBytes } from 'node:crypto';
import type {
  PublicKeyCredentialCreationOptionsJSON,
  PublicKeyCredentialRequestOptionsJSON,
} from '@simplewebauthn/server';
import { z } from 'zod';
import type { Clock } from '../core/clock.ts';
import { NightlatchError } from '../core/errors.ts';
import type { Store } from '../store/store.ts';
import type { MasterKey } from './master-key.ts';
import { SealedRecords } from './sealed-records.ts';

const CHALLENGE_TTL_MS = 5 * 60_000;
const MAX_PASSKEYS = 16;
/** EdDSA, ES256 and RS256 (COSE algorithm numbers): what keys of today can do. */
const ALGORITHMS = [-8, -7, -257];

/** Whom security keys are bound to: the domain, and the origins of pages that may use them. */
export interface RelyingParty {
  readonly id: string;
  readonly name: string;
  readonly origins: readonly string[];
}

/** A security key or passkey of a user. */
export interface Passkey {
  /** Credential id, base64url. */
  readonly id: string;
  /** COSE key, base64url. */
  readonly publicKey: string;
  readonly counter: number;
  readonly transports: readonly string[];
  readonly addedAtMs: number;
}

interface Challenge {
  readonly user: string;
  readonly purpose: 'register' | 'authenticate';
  readonly expiresAtMs: number;
}

const base64url = (maxBytes: number) =>
  z
    .string()
    .max(Math.ceil((maxBytes * 4) / 3))
    .regex(/^[A-Za-z0-9_-]+$/);
const common = { id: base64url(1023), rawId: base64url(1023), type: z.literal('public-key') };
/** RegistrationResponseJSON of WebAuthn level 3, the members that are looked at. */
const registrationSchema = z.object({
  ...common,
  response: z.object({
    clientDataJSON: base64url(4096),
    attestationObject: base64url(16_384),
    transports: z.array(z.string().max(32)).max(8).optional(),
  }),
});
/** AuthenticationResponseJSON. */
const authenticationSchema = z.object({
  ...common,
  response: z.object({
    clientDataJSON: base64url(4096),
    authenticatorData: base64url(4096),
    signature: base64url(1024),
    userHandle: z.string().max(128).optional(),
  }),
});

/** The library takes tens of milliseconds to load: only who uses security keys waits for it. */
const library = () => import('@simplewebauthn/server');

/** Security keys as a second factor: the ceremonies of WebAuthn, challenges good for one use and five minutes. */
export class WebauthnFactors {
  /** All of a user's in one record. */
  readonly #passkeys: SealedRecords<readonly Passkey[]>;
  readonly #challenges: SealedRecords<Challenge>;
  readonly #clock: Clock;
  readonly #relyingParty: () => RelyingParty;

  constructor(store: Store, masterKey: MasterKey, clock: Clock, relyingParty: () => RelyingParty) {
    this.#passkeys = new SealedRecords(store, masterKey, 'passkeys');
    this.#challenges = new SealedRecords(store, masterKey, 'webauthn_challenges');
    this.#clock = clock;
    this.#relyingParty = relyingParty;
  }

  async passkeysOf(user: string): Promise<readonly Passkey[]> {
    return (await this.#passkeys.get(user)) ?? [];
  }

  /** Options for `navigator.credentials.create()`. */
  async beginRegistration(user: string): Promise<PublicKeyCredentialCreationOptionsJSON> {
    const { generateRegistrationOptions } = await library();
    const party = this.#relyingParty();
    const known = await this.passkeysOf(user);
    return generateRegistrationOptions({
      rpName: party.name,
      rpID: party.id,
      userName: user,
      challenge: await this.#newChallenge(user, 'register'),
      timeout: CHALLENGE_TTL_MS,
      attestationType: 'none',
      supportedAlgorithmIDs: ALGORITHMS,
      excludeCredentials: known.map(({ id, transports }) => ({ id, transports: [...transports] })),
      authenticatorSelection: { residentKey: 'discouraged', userVerification: 'discouraged' },
    });
  }

  /**
   * Checks what the browser answered; the passkey is not kept before `add`.
   * @throws {NightlatchError} `bad_parameter`.
   */
  async finishRegistration(user: string, response: unknown): Promise<Passkey> {
    const parsed = registrationSchema.safeParse(response);
    const refused = (cause?: unknown) =>
      new NightlatchError('bad_parameter', 'the security key could not be registered; try again', { cause });
    if (!parsed.success) throw refused(parsed.error);
    const { verifyRegistrationResponse } = await library();
    const party = this.#relyingParty();
    const { response: answer, ...rest } = parsed.data;
    const { transports = [], ...members } = answer;
    let verified: Awaited<ReturnType<typeof verifyRegistrationResponse>>;
    try {
      verified = await verifyRegistrationResponse({
        response: { ...rest, response: members, clientExtensionResults: {} },
        expectedChallenge: (challenge) => this.#takeChallenge(challenge, user, 'register'),
        expectedOrigin: [...party.origins],
        expectedRPID: party.id,
        requireUserVerification: false,
        supportedAlgorithmIDs: ALGORITHMS,
      });
    } catch (cause) {
      throw refused(cause);
    }
    if (!verified.verified) throw refused();
    const { credential } = verified.registrationInfo;
    return {
      id: credential.id,
      publicKey: Buffer.from(credential.publicKey).toString('base64url'),
      counter: credential.counter,
      transports,
      addedAtMs: this.#clock.wallMs(),
    };
  }

  /** @throws {NightlatchError} `limit_exceeded`, `already_exists`. */
  async add(user: string, passkey: Passkey): Promise<void> {
    const known = await this.passkeysOf(user);
    if (known.length >= MAX_PASSKEYS) {
      throw new NightlatchError('limit_exceeded', `more than ${MAX_PASSKEYS} security keys are not kept`);
    }
    if (known.some(({ id }) => id === passkey.id)) {
      throw new NightlatchError('already_exists', 'the security key is registered already');
    }
    await this.#passkeys.put(user, [...known, passkey]);
  }

  /** Options for `navigator.credentials.get()`. Give them only to who has shown the password: they tell which keys the user has. */
  async beginAuthentication(user: string): Promise<PublicKeyCredentialRequestOptionsJSON> {
    const { generateAuthenticationOptions } = await library();
    const known = await this.passkeysOf(user);
    return generateAuthenticationOptions({
      rpID: this.#relyingParty().id,
      challenge: await this.#newChallenge(user, 'authenticate'),
      timeout: CHALLENGE_TTL_MS,
      allowCredentials: known.map(({ id, transports }) => ({ id, transports: [...transports] })),
      userVerification: 'discouraged',
    });
  }

  /** Whether the answer is one of this user's keys to a challenge of theirs. Spends the challenge and notes the key's counter. */
  async finishAuthentication(user: string, response: unknown): Promise<boolean> {
    const parsed = authenticationSchema.safeParse(response);
    if (!parsed.success) return false;
    const passkey = (await this.passkeysOf(user)).find(({ id }) => id === parsed.data.id);
    if (passkey === undefined) return false;
    const { verifyAuthenticationResponse } = await library();
    const party = this.#relyingParty();
    try {
      const { userHandle, ...members } = parsed.data.response;
      const { verified, authenticationInfo } = await verifyAuthenticationResponse({
        response: {
          ...parsed.data,
          response: { ...members, ...(userHandle !== undefined && { userHandle }) },
          clientExtensionResults: {},
        },
        expectedChallenge: (challenge) => this.#takeChallenge(challenge, user, 'authenticate'),
        expectedOrigin: [...party.origins],
        expectedRPID: party.id,
        credential: {
          id: passkey.id,
          publicKey: new Uint8Array(Buffer.from(passkey.publicKey, 'base64url')),
          counter: passkey.counter,
          transports: [...passkey.transports],
        },
        requireUserVerification: false,
      });
      if (!verified) return false;
      return await this.#noteCounter(user, passkey.id, authenticationInfo.newCounter);
    } catch (error) {
      // The library throws whatever does not fit; a store that is away is another matter.
      if (error instanceof NightlatchError && error.code === 'unavailable') throw error;
      return false;
    }
  }

  /** Removes one security key, or all. */
  async remove(user: string, id?: string): Promise<void> {
    const left = id === undefined ? [] : (await this.passkeysOf(user)).filter((passkey) => passkey.id !== id);
    if (left.length === 0) await this.#passkeys.delete(user);
    else await this.#passkeys.put(user, left);
  }

  /** Users with a security key. */
  async users(): Promise<string[]> {
    return this.#passkeys.keys();
  }

  /** False where the key was removed while it was being checked: it must not come back. */
  async #noteCounter(user: string, id: string, counter: number): Promise<boolean> {
    const known = await this.passkeysOf(user);
    if (!known.some((passkey) => passkey.id === id)) return false;
    await this.#passkeys.put(
      user,
      known.map((passkey) => (passkey.id === id ? { ...passkey, counter } : passkey)),
    );
    return true;
  }

  async #newChallenge(user: string, purpose: Challenge['purpose']): Promise<Uint8Array<ArrayBuffer>> {
    const challenge = randomBytes(32);
    const expiresAtMs = this.#clock.wallMs() + CHALLENGE_TTL_MS;
    await this.#challenges.put(challenge.toString('base64url'), { user, purpose, expiresAtMs }, { expiresAtMs });
    return new Uint8Array(challenge);
  }

  async #takeChallenge(challenge: string, user: string, purpose: Challenge['purpose']): Promise<boolean> {
    if (!/^[A-Za-z0-9_-]{43}$/.test(challenge)) return false;
    const taken = await this.#challenges.take(challenge);
    return taken?.user === user && taken.purpose === purpose && this.#clock.wallMs() < taken.expiresAtMs;
  }
}
