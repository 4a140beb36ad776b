import { startRegistration } from '@simplewebauthn/browser';
import { useEffect, useState } from 'preact/hooks';
import { encode } from 'uqr';
import type { InvitationResponse } from '../../../src/wire/api/messages.ts';
import { api } from '../core/api.ts';
import { moment } from '../core/format.ts';
import { navigate } from '../core/router.tsx';
import { signedIn } from '../core/session.ts';
import { CodeField, TextField } from '../ui/fields.tsx';
import { useAction, useLoad } from '../ui/load.ts';
import { CopyButton, Problem } from '../ui/parts.tsx';
import { MIN_PASSWORD_LENGTH, PasswordStrength } from '../ui/password-strength.tsx';

type RegistrationOptions = Parameters<typeof startRegistration>[0]['optionsJSON'];
type Factor = 'otp' | 'passkey';

/** Accepting an invitation, or setting everything anew after a reset: a password and a second factor. */
export function InvitationPage({ token }: { token: string }) {
  const invitation = useLoad(() => api<InvitationResponse>('POST', '/invitations/lookup', { token }), [token]);
  useEffect(() => {
    document.title = 'Invitation · Nightlatch';
  }, []);
  const { data } = invitation;
  return (
    <main class="door">
      <div class="door-card broad">
        <div class="brand">
          <img src="/web/favicon.svg" alt="" />
          <div>
            <h1>{data?.kind === 'reset' ? 'Set your credentials anew' : 'Welcome to Nightlatch'}</h1>
            {data && <span>{data.clusterName}</span>}
          </div>
        </div>
        <Problem error={invitation.error} />
        {data && <AcceptForm token={token} invitation={data} />}
      </div>
    </main>
  );
}

function AcceptForm({ token, invitation }: { token: string; invitation: InvitationResponse }) {
  const { user, secondFactor, otpUri, expiresAtMs } = invitation;
  const [password, setPassword] = useState('');
  const [again, setAgain] = useState('');
  const [otp, setOtp] = useState('');
  const [factor, setFactor] = useState<Factor>(otpUri === undefined ? 'passkey' : 'otp');
  const action = useAction();
  const mismatch = again !== '' && again !== password;
  const usable = password.length >= MIN_PASSWORD_LENGTH && again === password;

  const accept = (proof: () => Promise<object>) =>
    action.run(async () => {
      await api('POST', '/web/invitations/accept', { token, password, ...(await proof()) });
      await signedIn();
      navigate('/resources', { replace: true });
    });
  const withKey = async () => {
    const optionsJSON = await api<RegistrationOptions>('POST', '/web/invitations/passkey', { token });
    const passkey = await startRegistration({ optionsJSON }).catch((cause: unknown) => {
      throw new Error('The security key was not registered. Try again.', { cause });
    });
    return { passkey };
  };
  const onSubmit = (event: SubmitEvent) => {
    event.preventDefault();
    if (!usable) return;
    if (secondFactor === 'off') accept(async () => ({}));
    else if (factor === 'passkey') accept(withKey);
    else accept(async () => ({ otp: otp.replace(/\s/g, '') }));
  };

  return (
    <form onSubmit={onSubmit}>
      <p class="quiet">
        You are <strong>{user}</strong>. Choose a password{secondFactor === 'off' ? '' : ' and a second factor'}; this
        link is good until {moment(expiresAtMs)}.
      </p>
      <input
        class="visually-hidden"
        type="text"
        autocomplete="username"
        value={user}
        readOnly
        tabIndex={-1}
        aria-hidden="true"
      />
      <TextField
        label="New password"
        hint={`At least ${MIN_PASSWORD_LENGTH} characters`}
        type="password"
        autocomplete="new-password"
        required
        value={password}
        onInput={setPassword}
      />
      <PasswordStrength password={password} user={user} />
      <TextField
        label="The same again"
        problem={mismatch ? 'The two passwords differ.' : undefined}
        type="password"
        autocomplete="new-password"
        required
        value={again}
        onInput={setAgain}
      />
      {secondFactor === 'on' && otpUri !== undefined && (
        <fieldset class="tabs-field">
          <legend class="visually-hidden">Second factor</legend>
          <div class="tabs">
            {(['otp', 'passkey'] as const).map((name) => (
              <button key={name} type="button" aria-pressed={factor === name} onClick={() => setFactor(name)}>
                {name === 'otp' ? 'Authenticator app' : 'Passkey'}
              </button>
            ))}
          </div>
        </fieldset>
      )}
      {secondFactor !== 'off' && factor === 'otp' && otpUri !== undefined && (
        <EnrolCode uri={otpUri} otp={otp} setOtp={setOtp} />
      )}
      {secondFactor !== 'off' && factor === 'passkey' && (
        <p class="quiet">
          Your browser will ask for a security key, a fingerprint or the screen lock of this device when you go on.
        </p>
      )}
      <Problem error={action.error} />
      <button class="button primary" type="submit" disabled={action.busy || !usable}>
        {secondFactor !== 'off' && factor === 'passkey' ? 'Register a passkey and sign in' : 'Sign in'}
      </button>
    </form>
  );
}

function EnrolCode({ uri, otp, setOtp }: { uri: string; otp: string; setOtp: (otp: string) => void }) {
  const secret = new URL(uri).searchParams.get('secret') ?? '';
  return (
    <div class="enrol">
      <QrCode text={uri} />
      <div>
        <p class="quiet">Scan this with an authenticator app, or type the key into it. Then enter the code it shows.</p>
        <div class="command">
          <code>{secret.replace(/(.{4})(?=.)/g, '$1 ')}</code>
          <CopyButton text={secret} label="Copy key" />
        </div>
        <CodeField required value={otp} onInput={setOtp} />
      </div>
    </div>
  );
}

/** Black on white whatever the colours of the page: scanners want it so. */
function QrCode({ text }: { text: string }) {
  const { data, size } = encode(text, { border: 2 });
  const dark = data.flatMap((row, y) => row.map((on, x) => (on ? `M${x} ${y}h1v1h-1z` : ''))).join('');
  return (
    <svg
      class="qr"
      viewBox={`0 0 ${size} ${size}`}
      role="img"
      aria-label="QR code with the key for an authenticator app"
    >
      <path d={dark} fill="#000" shape-rendering="crispEdges" />
    </svg>
  );
}
