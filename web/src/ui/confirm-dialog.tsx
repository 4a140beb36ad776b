import { useAction } from './load.ts';
import { Dialog, Problem } from './parts.tsx';

/** Asks before something that cannot be taken back. */
export function ConfirmDialog(props: {
  title: string;
  text: string;
  action: string;
  onClose: () => void;
  run: () => Promise<void>;
}) {
  const action = useAction();
  return (
    <Dialog title={props.title} onClose={props.onClose}>
      <p>{props.text}</p>
      <Problem error={action.error} />
      <div class="row end">
        <button type="button" class="button" onClick={props.onClose}>
          Cancel
        </button>
        <button type="button" class="button danger" disabled={action.busy} onClick={() => action.run(props.run)}>
          {props.action}
        </button>
      </div>
    </Dialog>
  );
}
