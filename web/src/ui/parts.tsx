import type { ComponentChildren } from 'preact';
import { useEffect, useId, useRef, useState } from 'preact/hooks';
import { errorText } from '../core/api.ts';

/** A labelled control; `children` gets the id that ties the two together. */
export function Field(props: {
  label: string;
  hint?: ComponentChildren;
  problem?: string;
  grow?: boolean;
  children: (ids: { id: string; 'aria-describedby'?: string; 'aria-invalid'?: boolean }) => ComponentChildren;
}) {
  const id = useId();
  const { label, hint, problem, grow = false, children } = props;
  const described = problem ? `${id}-p` : hint ? `${id}-h` : undefined;
  return (
    <div class={grow ? 'field grow' : 'field'}>
      <label for={id}>{label}</label>
      {children({
        id,
        ...(described === undefined ? {} : { 'aria-describedby': described }),
        ...(problem ? { 'aria-invalid': true } : {}),
      })}
      {problem ? (
        <span class="problem" id={`${id}-p`}>
          {problem}
        </span>
      ) : (
        hint && (
          <span class="hint" id={`${id}-h`}>
            {hint}
          </span>
        )
      )}
    </div>
  );
}

/** What went wrong, said at once to who does not see it. */
export function Problem({ error }: { error: unknown }) {
  if (error === undefined || error === null) return null;
  return (
    <p class="note bad" role="alert">
      {errorText(error)}
    </p>
  );
}

/** A modal dialog: the browser's own, with its focus and its Escape key. */
export function Dialog(props: { title: string; broad?: boolean; onClose: () => void; children: ComponentChildren }) {
  const ref = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const dialog = ref.current;
    dialog?.showModal();
    return () => dialog?.close();
  }, []);
  return (
    <dialog
      ref={ref}
      class={props.broad ? 'dialog broad' : 'dialog'}
      aria-labelledby={id}
      onCancel={(event) => {
        event.preventDefault();
        props.onClose();
      }}
    >
      <div class="dialog-head">
        <h2 id={id}>{props.title}</h2>
        <button type="button" class="button plain slim" onClick={props.onClose}>
          Close
        </button>
      </div>
      <div class="dialog-body">{props.children}</div>
    </dialog>
  );
}

/** Puts a text on the clipboard and says so. */
export function CopyButton({ text, label = 'Copy' }: { text: string; label?: string }) {
  const [copied, setCopied] = useState(false);
  useEffect(() => {
    if (!copied) return;
    const timer = setTimeout(() => setCopied(false), 2_000);
    return () => clearTimeout(timer);
  }, [copied]);
  return (
    <button
      type="button"
      class="button slim"
      onClick={() => void navigator.clipboard.writeText(text).then(() => setCopied(true))}
    >
      <span aria-live="polite">{copied ? 'Copied' : label}</span>
    </button>
  );
}

/** A command to run in a terminal of one's own. */
export function Command({ text }: { text: string }) {
  return (
    <div class="command">
      <code>{text}</code>
      <CopyButton text={text} />
    </div>
  );
}

/** Labels of a resource, without those of the program itself. */
export function Labels(props: { labels: Readonly<Record<string, string>>; onPick?: (label: string) => void }) {
  const entries = Object.entries(props.labels).filter(([key]) => !/^teleport\.(dev|internal)\//.test(key));
  if (entries.length === 0) return null;
  const { onPick } = props;
  return (
    <ul class="tags" aria-label="Labels">
      {entries.map(([key, value]) => {
        const label = `${key}=${value}`;
        return (
          <li key={label}>
            {onPick === undefined ? (
              <span class="tag">{label}</span>
            ) : (
              <button type="button" class="tag" title={`Show only ${label}`} onClick={() => onPick(label)}>
                {label}
              </button>
            )}
          </li>
        );
      })}
    </ul>
  );
}

/** The head of a page; its title is also the document's. */
export function PageHead(props: { title: string; about?: ComponentChildren; children?: ComponentChildren }) {
  useEffect(() => {
    document.title = `${props.title} · Nightlatch`;
  }, [props.title]);
  return (
    <header class="page-head">
      <div>
        <h1>{props.title}</h1>
        {props.about && <p>{props.about}</p>}
      </div>
      {props.children && <div class="row no-print">{props.children}</div>}
    </header>
  );
}

/** What stands where nothing is there to show yet, or ever. */
export function Empty({ children }: { children: ComponentChildren }) {
  return <p class="empty">{children}</p>;
}
