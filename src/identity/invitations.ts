import type { PublicKeyCredentialCreationOptionsJSON } from '@simplewebauthn/server';
import { EVENTS } from '../audit/catalog.ts';
import type { AuditLog } from '../audit/events.ts';
import type { Clock } from '../core/clock.ts';
import { NightlatchError } from '../core/errors.ts';
import { Secret } from '../core/secret.ts';
import type { Store } from '../store/store.ts';
import type { MasterKey } from './master-key.ts';
import { checkNewPassword, type PasswordHasher } from './passwords.ts';
import { SealedRecords } from './sealed-records.ts';
import { createToken, isToken, tokenKey } from './tokens.ts';
import { createTotpSecret, totpStep, totpUri } from './totp.ts';
import { type Credentials, forgetCredentials, type SecondFactor } from './users.ts';
import type { Passkey } from './webauthn.ts';

export const DEFAULT_INVITATION_TTL_MS = 3_600_000;
const MAX_INVITATION_TTL_MS = 7 * 24 * 3_600_000;

/** @throws {NightlatchError} `bad_parameter` where an invitation cannot be good for so many milliseconds. */
export function checkInvitationTtl(ttlMs: number): void {
  if (ttlMs > 0 && ttlMs <= MAX_INVITATION_TTL_MS) return;
  throw new NightlatchError('bad_parameter', 'an invitation is good for at most 7 days');
}

export type InvitationKind = 'invite' | 'reset';

interface StoredInvitation {
  readonly user: string;
  readonly kind: InvitationKind;
  /** The secret that is offered for enrolment, base32; the same each time the invitation is looked at. */
  readonly totpSecret: string;
  readonly expiresAtMs: number;
}

/** What an invitation is for, shown to who holds its link. */
export interface InvitationView {
  readonly user: string;
  readonly kind: InvitationKind;
  readonly secondFactor: SecondFactor;
  /** `otpauth://` URI of the factor to enrol, where codes are one that can be chosen. */
  readonly otpUri?: string;
  readonly expiresAtMs: number;
}

export interface AcceptInvitation {
  readonly token: Secret<string>;
  readonly password: Secret<string>;
  /** A code from the secret of `otpUri`. */
  readonly otp?: string;
  /** The browser's answer to `beginPasskey`. */
  readonly passkey?: unknown;
  readonly clientIp: string;
}

export interface InvitationsOptions {
  readonly store: Store;
  readonly masterKey: MasterKey;
  readonly clock: Clock;
  readonly audit: AuditLog;
  readonly hasher: PasswordHasher;
  readonly credentials: Credentials;
  readonly clusterName: string;
  /** The setting in force. */
  readonly secondFactor: () => SecondFactor;
  readonly userExists: (user: string) => boolean;
}

/** Links that let a person set a password and a second factor: for newcomers, and for who has lost theirs. One use, kept hashed. */
export class Invitations {
  readonly #records: SealedRecords<StoredInvitation>;
  readonly #options: InvitationsOptions;

  constructor(options: InvitationsOptions) {
    this.#records = new SealedRecords(options.store, options.masterKey, 'invitations');
    this.#options = options;
  }

  /**
   * Makes an invitation; earlier ones of the same user are void. A reset also forgets the password and factors there are, and
   * signs the user out everywhere. Who created it is for the caller to put into the audit log.
   * @throws {NightlatchError} `not_found`, `bad_parameter` for a life beyond a week.
   */
  async create(
    user: string,
    ttlMs = DEFAULT_INVITATION_TTL_MS,
    kind: InvitationKind = 'invite',
  ): Promise<{ token: Secret<string>; expiresAtMs: number }> {
    this.checkUser(user);
    checkInvitationTtl(ttlMs);
    await this.removeAll(user);
    if (kind === 'reset') await forgetCredentials(this.#options.credentials, user);
    const token = createToken();
    const expiresAtMs = this.#options.clock.wallMs() + ttlMs;
    const totpSecret = createTotpSecret().reveal();
    await this.#records.put(tokenKey(token), { user, kind, totpSecret, expiresAtMs }, { expiresAtMs });
    return { token, expiresAtMs };
  }

  /** @throws {NightlatchError} `not_found` where there is no such user to invite. */
  checkUser(user: string): void {
    if (!this.#options.userExists(user)) throw new NightlatchError('not_found', `user "${user}" not found`);
  }

  /** @throws {NightlatchError} `not_found` for an unknown, used or expired token. */
  async view(token: Secret<string>): Promise<InvitationView> {
    const { user, kind, totpSecret, expiresAtMs } = await this.#find(token);
    const secondFactor = this.#options.secondFactor();
    const byCode = secondFactor === 'otp' || secondFactor === 'on';
    return {
      user,
      kind,
      secondFactor,
      expiresAtMs,
      ...(byCode && { otpUri: totpUri(new Secret(totpSecret), user, this.#options.clusterName) }),
    };
  }

  /** Options for registering a security key with `accept`. @throws {NightlatchError} as `view`. */
  async beginPasskey(token: Secret<string>): Promise<PublicKeyCredentialCreationOptionsJSON> {
    return this.#options.credentials.webauthn.beginRegistration((await this.#find(token)).user);
  }

  /**
   * Sets password and second factor, and spends the token; returns the user. A weak password or a wrong code spends nothing.
   * @throws {NightlatchError} `not_found` as `view`; `bad_parameter`; `limit_exceeded`; `audit_unavailable`.
   */
  async accept(request: AcceptInvitation): Promise<string> {
    const { audit, clock, credentials, hasher } = this.#options;
    const invitation = await this.#find(request.token);
    const { user } = invitation;
    checkNewPassword(request.password);
    const factor = await this.#enrolment(invitation, request);
    const hash = await hasher.hash(request.password);
    // From here on nobody else can use it; where two came this far, one of them ends here.
    if ((await this.#records.take(tokenKey(request.token))) === undefined) throw unknownToken();
    const fields = { user, success: true, 'addr.remote': request.clientIp };
    await audit.emit({ ...EVENTS.userPasswordChange, ...fields });
    if (factor !== undefined) {
      await audit.emit({
        ...EVENTS.mfaAdd,
        ...fields,
        mfa_device_type: factor.kind === 'otp' ? 'TOTP' : 'WebAuthn',
      });
    }
    // Nothing of what the name may have had before stays.
    await forgetCredentials(credentials, user);
    // The factor first: a password without one signs nobody in where a factor is demanded.
    if (factor?.kind === 'otp') await credentials.totp.enrol(user, new Secret(invitation.totpSecret), factor.step);
    if (factor?.kind === 'webauthn') await credentials.webauthn.add(user, factor.passkey);
    await credentials.passwords.set(user, hash, clock.wallMs());
    return user;
  }

  /** Voids a user's invitations. */
  async removeAll(user: string): Promise<void> {
    for (const { key, value } of await this.#records.list()) if (value.user === user) await this.#records.delete(key);
  }

  async #enrolment(
    invitation: StoredInvitation,
    request: AcceptInvitation,
  ): Promise<{ kind: 'otp'; step: number } | { kind: 'webauthn'; passkey: Passkey } | undefined> {
    const demanded = this.#options.secondFactor();
    if (demanded === 'off') return undefined;
    if (request.passkey !== undefined && demanded !== 'otp') {
      const passkey = await this.#options.credentials.webauthn.finishRegistration(invitation.user, request.passkey);
      return { kind: 'webauthn', passkey };
    }
    if (request.otp !== undefined && demanded !== 'webauthn') {
      const step = totpStep(new Secret(invitation.totpSecret), request.otp, this.#options.clock.wallMs());
      if (step === undefined)
        throw new NightlatchError('bad_parameter', 'the code is wrong; check the time of the device that shows it');
      return { kind: 'otp', step };
    }
    const what = {
      otp: 'a code of an authenticator',
      webauthn: 'a security key',
      on: 'a code of an authenticator or a security key',
    };
    throw new NightlatchError('bad_parameter', `a second factor is demanded: ${what[demanded]}`);
  }

  async #find(token: Secret<string>): Promise<StoredInvitation> {
    const invitation = isToken(token) ? await this.#records.get(tokenKey(token)) : undefined;
    if (invitation === undefined || this.#options.clock.wallMs() >= invitation.expiresAtMs) throw unknownToken();
    if (!this.#options.userExists(invitation.user)) throw unknownToken();
    return invitation;
  }
}

function unknownToken(): NightlatchError {
  return new NightlatchError('not_found', 'the invitation is not valid: it was used, has expired, or never was one');
}
