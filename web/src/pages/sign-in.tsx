import { startAuthentication } from '@simplewebauthn/browser';
import { useEffect, useRef, useState } from 'preact/hooks';
import type { PingResponse } from '../../../src/wire/api/messages.ts';
import { api } from '../core/api.ts';
import { signedIn, signedOutReason } from '../core/session.ts';
import { CodeField, TextField } from '../ui/fields.tsx';
import { useAction, useLoad } from '../ui/load.ts';
import { Problem } from '../ui/parts.tsx';

type PasskeyOptions = Parameters<typeof startAuthentication>[0]['optionsJSON'];

/** Sign-in by password and second factor. */
export function SignInPage() {
  const ping = useLoad(() => api<PingResponse>('GET', '/ping'), []);
  const [user, setUser] = useState('');
  const [password, setPassword] = useState('');
  const [otp, setOtp] = useState('');
  const action = useAction();
  const first = useRef<HTMLInputElement>(null);
  useEffect(() => {
    document.title = 'Sign in · Nightlatch';
    first.current?.focus();
  }, []);
  // Nothing is offered before it is known what is asked for; a gateway that does not say may ask for either.
  const factor = ping.data?.secondFactor ?? (ping.error === undefined ? 'off' : 'on');
  const byCode = factor === 'otp' || factor === 'on';
  const byKey = factor === 'webauthn' || factor === 'on';

  const withCode = () =>
    action.run(async () => {
      await api('POST', '/web/login', { user, password, ...(byCode ? { otp: otp.replace(/\s/g, '') } : {}) });
      await signedIn();
    });
  const withKey = () =>
    action.run(async () => {
      const optionsJSON = await api<PasskeyOptions>('POST', '/web/login/passkey', { user, password });
      const passkey = await startAuthentication({ optionsJSON }).catch((cause: unknown) => {
        throw new Error('The security key did not answer. Try again, or use a code.', { cause });
      });
      await api('POST', '/web/login', { user, password, passkey });
      await signedIn();
    });
  const onSubmit = (event: SubmitEvent) => {
    event.preventDefault();
    if (byKey && (!byCode || otp === '')) withKey();
    else withCode();
  };

  return (
    <main class="door">
      <div class="door-card">
        <div class="brand">
          <img src="/web/favicon.svg" alt="" />
          <div>
            <h1>Sign in to Nightlatch</h1>
            {ping.data && <span>{ping.data.clusterName}</span>}
          </div>
        </div>
        {signedOutReason.value !== '' && (
          <p class="note warn" role="status">
            {signedOutReason.value}
          </p>
        )}
        <form onSubmit={onSubmit}>
          <TextField
            label="User name"
            inputRef={first}
            verbatim
            autocomplete="username"
            required
            value={user}
            onInput={setUser}
          />
          <TextField
            label="Password"
            type="password"
            autocomplete="current-password"
            required
            value={password}
            onInput={setPassword}
          />
          {byCode && <CodeField required={!byKey} value={otp} onInput={setOtp} />}
          <Problem error={action.error ?? ping.error} />
          {(byCode || !byKey) && (
            <button class="button primary" type="submit" disabled={action.busy || ping.loading}>
              Sign in
            </button>
          )}
          {byKey && (
            <button
              class={byCode ? 'button' : 'button primary'}
              type="button"
              disabled={action.busy || user === '' || password === ''}
              onClick={withKey}
            >
              Sign in with a passkey
            </button>
          )}
        </form>
      </div>
    </main>
  );
}
