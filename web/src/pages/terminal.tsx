import '../styles/stage.css';
import { useEffect, useRef, useState } from 'preact/hooks';
import { loadSession } from '../core/session.ts';
import { openTerminal, type TerminalView } from '../terminal/terminal.ts';
import { TransferDialog } from '../terminal/transfer-dialog.tsx';
import { StageBar, StageEnd, type StageNotice, StageNotices, type StageState } from '../ui/stage.tsx';

/** A terminal on a node. */
export function TerminalPage({ name, login }: { name: string; login: string }) {
  const [attempt, setAttempt] = useState(0);
  return <TerminalSession key={attempt} name={name} login={login} onAgain={() => setAttempt(attempt + 1)} />;
}

function TerminalSession({ name, login, onAgain }: { name: string; login: string; onAgain: () => void }) {
  const screen = useRef<HTMLDivElement>(null);
  const view = useRef<TerminalView | undefined>(undefined);
  const [state, setState] = useState<StageState>({ step: 'connecting' });
  const [idle, setIdle] = useState<{ timeoutMs: number; source: string } | undefined>(undefined);
  const [notice, setNotice] = useState<StageNotice | undefined>(undefined);
  const [searching, setSearching] = useState(false);
  const [sessionId, setSessionId] = useState('');
  const [transferring, setTransferring] = useState(false);

  useEffect(() => {
    const opened = openTerminal({
      element: screen.current!,
      node: name,
      login,
      on: {
        ready: (id) => {
          setSessionId(id);
          setState({ step: 'open' });
        },
        policy: (timeoutMs, source) => setIdle({ timeoutMs, source }),
        warning: (text, remainingMs) => setNotice({ type: 'warning', text, endsAt: performance.now() + remainingMs }),
        kept: (text) => setNotice({ type: 'kept', text }),
        end: (cause, text) => {
          setNotice(undefined);
          setTransferring(false);
          setState({ step: 'ended', cause, text });
        },
        search: () => setSearching(true),
      },
    });
    view.current = opened;
    return () => opened.close();
  }, []);

  const again = () => {
    // The web session may have ended too: then the sign-in page comes first, and this page after it.
    void loadSession().then(onAgain);
  };
  const closeSearch = () => {
    setSearching(false);
    view.current?.focus();
  };

  return (
    <div class="stage">
      <StageBar title={`${login}@${name}`} idle={idle}>
        {searching && <SearchBox view={view} onClose={closeSearch} />}
        {state.step === 'open' && (
          <div class="row">
            {!searching && (
              <button type="button" class="button slim" onClick={() => setSearching(true)}>
                Search
              </button>
            )}
            <button type="button" class="button slim" onClick={() => void view.current?.copy()}>
              Copy
            </button>
            <button type="button" class="button slim" onClick={() => setTransferring(true)}>
              Files
            </button>
          </div>
        )}
      </StageBar>
      <main class="stage-area">
        <div class="stage-screen padded" ref={screen} />
        <StageNotices notice={notice} onGone={() => setNotice(undefined)} />
        {state.step === 'ended' && <StageEnd text={state.text} again="Reconnect" onAgain={again} />}
      </main>
      {transferring && state.step === 'open' && (
        <TransferDialog sessionId={sessionId} onClose={() => setTransferring(false)} />
      )}
    </div>
  );
}

function SearchBox({ view, onClose }: { view: { current: TerminalView | undefined }; onClose: () => void }) {
  const input = useRef<HTMLInputElement>(null);
  const [found, setFound] = useState(true);
  useEffect(() => input.current?.focus(), []);
  const find = (direction: 'next' | 'previous') => {
    const text = input.current?.value ?? '';
    if (text !== '') setFound(view.current?.find(text, direction) ?? false);
  };
  return (
    <search>
      <form
        class="stage-search"
        onSubmit={(event) => {
          event.preventDefault();
          find('previous');
        }}
        onKeyDown={(event) => {
          if (event.key === 'Escape') onClose();
        }}
      >
        <input
          ref={input}
          class="input"
          type="search"
          aria-label="Search the terminal"
          placeholder="Search"
          aria-invalid={!found}
          onInput={() => setFound(true)}
        />
        <button type="submit" class="button slim">
          Up
        </button>
        <button type="button" class="button slim" onClick={() => find('next')}>
          Down
        </button>
        <button type="button" class="button slim" onClick={onClose}>
          Done
        </button>
        {!found && (
          <span class="small" role="status">
            Nothing found
          </span>
        )}
      </form>
    </search>
  );
}
