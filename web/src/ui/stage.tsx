import type { ComponentChildren } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { sentence } from '../core/api.ts';
import { clock, limit } from '../core/format.ts';
import { hrefOf } from '../core/router.tsx';

/** How a session in a page stands. */
export type StageState =
  | { readonly step: 'connecting' }
  | { readonly step: 'open' }
  | { readonly step: 'ended'; readonly cause: string; readonly text: string };

/** What the overlay shows above an open session. */
export type StageNotice =
  | { readonly type: 'warning'; readonly text: string; readonly endsAt: number }
  | { readonly type: 'kept'; readonly text: string };

const KEPT_SHOWN_MS = 3_000;

/** The bar above a terminal or a desktop: what it is, the limit, what can be done. */
export function StageBar(props: {
  title: string;
  idle: { timeoutMs: number; source: string } | undefined;
  children?: ComponentChildren;
}) {
  const { title, idle, children } = props;
  useEffect(() => {
    document.title = `${title} · Nightlatch`;
  }, [title]);
  return (
    <header class="stage-bar">
      <h1>{title}</h1>
      {idle !== undefined && (
        <span class="quiet">
          {idle.timeoutMs === 0 ? 'no idle limit' : `ends after ${limit(idle.timeoutMs)} without activity`}
          {idle.timeoutMs > 0 && <span class="small"> ({idle.source})</span>}
        </span>
      )}
      <span class="spacer" />
      {children}
    </header>
  );
}

/** The countdown: it lets every input through to the session, since any input keeps it. */
export function StageNotices({ notice, onGone }: { notice: StageNotice | undefined; onGone: () => void }) {
  const [now, setNow] = useState(performance.now());
  useEffect(() => {
    if (notice === undefined) return;
    setNow(performance.now());
    if (notice.type === 'kept') {
      const timer = setTimeout(onGone, KEPT_SHOWN_MS);
      return () => clearTimeout(timer);
    }
    const timer = setInterval(() => setNow(performance.now()), 250);
    return () => clearInterval(timer);
  }, [notice]);
  if (notice === undefined) return null;
  if (notice.type === 'kept') {
    return (
      <p class="stage-kept" role="status">
        {notice.text}
      </p>
    );
  }
  return (
    <div class="stage-warning" role="alert">
      <output>{clock(notice.endsAt - now)}</output>
      <p>{notice.text}</p>
    </div>
  );
}

/** Covers the session once it has ended: the picture behind is gone already. */
export function StageEnd(props: { text: string; again: string; onAgain: () => void; children?: ComponentChildren }) {
  const { text, again, onAgain, children } = props;
  const button = useRef<HTMLButtonElement>(null);
  useEffect(() => button.current?.focus(), []);
  return (
    <div class="stage-end" role="alertdialog" aria-label="Session ended" aria-describedby="stage-end-text">
      <div class="stage-card">
        <p id="stage-end-text">{sentence(text)}</p>
        {children}
        <div class="row">
          <button ref={button} type="button" class="button primary" onClick={onAgain}>
            {again}
          </button>
          <a class="button" href={hrefOf('/resources')}>
            Resources
          </a>
        </div>
      </div>
    </div>
  );
}
