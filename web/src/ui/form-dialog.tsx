import type { ComponentChildren } from 'preact';
import { useAction } from './load.ts';
import { Dialog, Problem } from './parts.tsx';

/** A dialog that does something: what is to be filled in or read, then Cancel and the button that does it. */
export function FormDialog(props: {
  title: string;
  /** Text of the button. */
  action: string;
  /** Whether what it does takes something away. */
  danger?: boolean;
  broad?: boolean;
  /** Whether it can be done as things stand. */
  valid?: boolean;
  onClose: () => void;
  run: () => Promise<void>;
  children: ComponentChildren;
}) {
  const { title, danger = false, broad = false, valid = true, onClose, run } = props;
  const action = useAction();
  return (
    <Dialog title={title} broad={broad} onClose={onClose}>
      <form
        class="stack"
        onSubmit={(event) => {
          event.preventDefault();
          if (valid && !action.busy) action.run(run);
        }}
      >
        {props.children}
        <Problem error={action.error} />
        <div class="row end">
          <button type="button" class="button" onClick={onClose}>
            Cancel
          </button>
          <button type="submit" class={danger ? 'button danger' : 'button primary'} disabled={action.busy || !valid}>
            {props.action}
          </button>
        </div>
      </form>
    </Dialog>
  );
}

/** Asks before something that cannot be taken back. */
export function ConfirmDialog(props: {
  title: string;
  text: string;
  action: string;
  onClose: () => void;
  run: () => Promise<void>;
}) {
  const { text, ...rest } = props;
  return (
    <FormDialog {...rest} danger>
      <p>{text}</p>
    </FormDialog>
  );
}
