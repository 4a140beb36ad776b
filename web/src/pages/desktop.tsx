import '../styles/stage.css';
import { useEffect, useRef, useState } from 'preact/hooks';
import type { TargetMessage } from '../../../src/wire/api/messages.ts';
import { api } from '../core/api.ts';
import { loadSession } from '../core/session.ts';
import { type DesktopEnd, type DesktopView, openDesktop } from '../desktop/desktop.ts';
import { TextField } from '../ui/fields.tsx';
import { useLoad } from '../ui/load.ts';
import { StageBar, StageEnd, type StageNotice, StageNotices } from '../ui/stage.tsx';

/** A desktop: RDP or VNC, as it is registered. */
export function DesktopPage({ name, login }: { name: string; login: string }) {
  const desktops = useLoad(() => api<{ items: TargetMessage[] }>('GET', '/desktops'), []);
  const [attempt, setAttempt] = useState<{ number: number; password?: string }>({ number: 0 });
  const target = desktops.data?.items.find((one) => one.name === name);
  const again = (password?: string) => {
    // The web session may have ended too: then the sign-in page comes first, and this page after it.
    void loadSession().then(() => {
      setAttempt({ number: attempt.number + 1, ...(password === undefined ? {} : { password }) });
    });
  };
  if (target === undefined) {
    const missing = desktops.data !== undefined || desktops.error !== undefined;
    return (
      <div class="stage">
        <StageBar title={`${login}@${name}`} idle={undefined} />
        <main class="stage-area">
          {missing && (
            <StageEnd
              text={`There is no desktop "${name}" that your roles reach.`}
              again="Try again"
              onAgain={desktops.reload}
            />
          )}
        </main>
      </div>
    );
  }
  return (
    <DesktopSession
      key={attempt.number}
      name={name}
      login={login}
      protocol={target.protocol === 'vnc' ? 'vnc' : 'rdp'}
      password={attempt.password}
      onAgain={again}
    />
  );
}

function DesktopSession(props: {
  name: string;
  login: string;
  protocol: 'rdp' | 'vnc';
  password: string | undefined;
  onAgain: (password?: string) => void;
}) {
  const { name, login, protocol, password, onAgain } = props;
  const screen = useRef<HTMLDivElement>(null);
  const view = useRef<DesktopView | undefined>(undefined);
  const [open, setOpen] = useState(false);
  const [ended, setEnded] = useState<DesktopEnd | undefined>(undefined);
  const [idle, setIdle] = useState<{ timeoutMs: number; source: string } | undefined>(undefined);
  const [notice, setNotice] = useState<StageNotice | undefined>(undefined);

  useEffect(() => {
    let gone = false;
    const end = (how: DesktopEnd) => {
      if (gone) return;
      setNotice(undefined);
      setOpen(false);
      setEnded(how);
    };
    openDesktop({
      protocol,
      element: screen.current!,
      url: `/v1/web/desktop?${new URLSearchParams({ desktop: name, login })}`,
      desktop: name,
      login,
      ...(password === undefined ? {} : { password }),
      on: {
        ready: ({ idleTimeoutMs, timeoutSource }) => {
          if (gone) return;
          setOpen(true);
          setIdle({ timeoutMs: idleTimeoutMs, source: timeoutSource });
        },
        policy: (timeoutMs, source) => setIdle({ timeoutMs, source }),
        warning: ({ text, remainingMs }) =>
          setNotice({ type: 'warning', text, endsAt: performance.now() + remainingMs }),
        kept: (text) => setNotice({ type: 'kept', text }),
        end,
      },
    }).then(
      (opened) => {
        view.current = opened;
        if (gone) opened.close();
      },
      () => end({ cause: 'lost', text: 'The desktop could not be loaded. Load the page again.' }),
    );
    return () => {
      gone = true;
      view.current?.close();
    };
  }, []);

  return (
    <div class="stage">
      <StageBar title={`${login}@${name}`} idle={idle}>
        {open && (
          <button type="button" class="button slim" onClick={() => view.current?.sendCtrlAltDel()}>
            Ctrl+Alt+Del
          </button>
        )}
      </StageBar>
      <main class="stage-area">
        <div class="stage-screen" ref={screen} />
        {!open && ended === undefined && (
          <p class="stage-wait" role="status">
            Connecting…
          </p>
        )}
        <StageNotices notice={notice} onGone={() => setNotice(undefined)} />
        {ended !== undefined && <Ended end={ended} login={login} onAgain={onAgain} />}
      </main>
    </div>
  );
}

/** The end; where a password is wanted, the place to type it. */
function Ended(props: { end: DesktopEnd; login: string; onAgain: (password?: string) => void }) {
  const { end, login, onAgain } = props;
  const [password, setPassword] = useState('');
  const asks = end.problem === 'password_required' || end.problem === 'password_wrong';
  if (!asks) return <StageEnd text={end.text} again="Reconnect" onAgain={() => onAgain()} />;
  const required = end.problem === 'password_required';
  return (
    <div class="stage-end">
      <form
        class="stage-card"
        onSubmit={(event) => {
          event.preventDefault();
          onAgain(password);
        }}
      >
        <TextField
          label={`Password of ${login}`}
          problem={required ? undefined : end.text}
          hint="It goes to the desktop and is not kept."
          inputRef={focusOnce}
          type="password"
          autocomplete="off"
          required
          value={password}
          onInput={setPassword}
        />
        <div class="row end">
          <button type="submit" class="button primary">
            Connect
          </button>
        </div>
      </form>
    </div>
  );
}

function focusOnce(input: HTMLInputElement | null): void {
  input?.focus();
}
