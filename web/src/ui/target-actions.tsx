import { useState } from 'preact/hooks';
import type { TargetMessage } from '../../../src/wire/api/messages.ts';
import { hrefOf } from '../core/router.tsx';

const MOST_BUTTONS = 3;

/** One click to connect for every login, where a browser can; the command for everything. */
export function TargetActions({ target, onCommand }: { target: TargetMessage; onCommand: () => void }) {
  const stage = target.kind === 'node' ? 'terminal' : target.kind === 'windows_desktop' ? 'desktop' : undefined;
  const logins = target.logins.filter((login) => login !== '*');
  return (
    <div class="row">
      {stage !== undefined &&
        (logins.length <= MOST_BUTTONS && !target.logins.includes('*') ? (
          logins.map((login, index) => (
            <a
              key={login}
              class={index === 0 ? 'button primary slim' : 'button slim'}
              href={stageHref(stage, target.name, login)}
              target="_blank"
              rel="noreferrer"
            >
              {index === 0 ? 'Connect ' : <span class="visually-hidden">Connect </span>}
              <span class="visually-hidden">to {target.displayName} </span>
              {index === 0 ? 'as ' : <span class="visually-hidden">as </span>}
              {login}
            </a>
          ))
        ) : (
          <ChooseLogin stage={stage} target={target} logins={logins} />
        ))}
      <button type="button" class="button slim" onClick={onCommand}>
        Command<span class="visually-hidden"> for {target.displayName}</span>
      </button>
    </div>
  );
}

function stageHref(stage: string, name: string, login: string): string {
  return hrefOf(`/${stage}/${encodeURIComponent(name)}/${encodeURIComponent(login)}`);
}

/** Many logins, or any: which one is typed or chosen. */
function ChooseLogin(props: { stage: string; target: TargetMessage; logins: readonly string[] }) {
  const { stage, target, logins } = props;
  const [login, setLogin] = useState(logins[0] ?? '');
  const list = `logins-${target.name}`;
  return (
    <form
      class="row"
      onSubmit={(event) => {
        event.preventDefault();
        if (login !== '') window.open(stageHref(stage, target.name, login), '_blank', 'noreferrer');
      }}
    >
      <input
        class="input login-input"
        list={list}
        aria-label={`Login on ${target.displayName}`}
        placeholder="Login"
        autocapitalize="none"
        spellcheck={false}
        value={login}
        onInput={(event) => setLogin(event.currentTarget.value)}
      />
      <datalist id={list}>
        {logins.map((one) => (
          <option key={one} value={one} />
        ))}
      </datalist>
      <button type="submit" class="button primary slim" disabled={login === ''}>
        Connect
      </button>
    </form>
  );
}
