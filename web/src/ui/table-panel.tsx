import type { ComponentChildren } from 'preact';
import { useId } from 'preact/hooks';
import { Empty } from './parts.tsx';

/** A column by its heading; figures are set right; that of the rows' buttons is headed for screen readers only. */
type Column = string | { readonly figures: string } | { readonly buttons: string };

/** The column of a row's buttons. */
export const ACTIONS: Column = { buttons: 'Actions' };

/** A panel with a table, whose rows are cards on small screens; or what stands there instead. */
export function TablePanel<T>(props: {
  label: string;
  /** Shown beside the label, which is a heading then. */
  head?: ComponentChildren;
  /** Those that are false are left out. */
  columns: readonly (Column | false)[];
  /** Undefined while they are fetched. */
  rows: readonly T[] | undefined;
  empty: string;
  /** May be broken between pages when it is printed. */
  long?: boolean;
  foot?: ComponentChildren;
  /** One row: `<tr key>`, with a heading and cells that name their column in `data-label`. */
  children: (row: T) => ComponentChildren;
}) {
  const id = useId();
  const { label, head, rows, empty, long = false, foot, children } = props;
  const columns = props.columns.filter((column) => column !== false);
  return (
    <section
      class={long ? 'panel long' : 'panel'}
      {...(head === undefined ? { 'aria-label': label } : { 'aria-labelledby': id })}
    >
      {head !== undefined && (
        <div class="panel-head">
          <h2 id={id}>{label}</h2>
          {head}
        </div>
      )}
      {rows === undefined || rows.length === 0 ? (
        <Empty>{rows === undefined ? 'Loading…' : empty}</Empty>
      ) : (
        <div class="scroll">
          <table class="cards">
            <thead>
              <tr>
                {columns.map((column) => (
                  <Heading key={titleOf(column)} column={column} />
                ))}
              </tr>
            </thead>
            <tbody>{rows.map(children)}</tbody>
          </table>
        </div>
      )}
      {foot}
    </section>
  );
}

function titleOf(column: Column): string {
  return typeof column === 'string' ? column : 'figures' in column ? column.figures : column.buttons;
}

function Heading({ column }: { column: Column }) {
  const title = titleOf(column);
  const [figures, buttons] = [
    typeof column === 'object' && 'figures' in column,
    typeof column === 'object' && 'buttons' in column,
  ];
  return (
    <th scope="col" {...(figures ? { class: 'number' } : {})}>
      {buttons ? <span class="visually-hidden">{title}</span> : title}
    </th>
  );
}

/** A button of a row; `about` says to screen readers which row it is. */
export function RowButton(props: {
  text: string;
  about: string;
  danger?: boolean;
  disabled?: boolean;
  onClick: () => void;
}) {
  const { text, about, danger = false, disabled = false, onClick } = props;
  return (
    <button type="button" class={danger ? 'button slim danger' : 'button slim'} disabled={disabled} onClick={onClick}>
      {text}
      <span class="visually-hidden"> {about}</span>
    </button>
  );
}

/** Numbers that say how things stand. */
export function Figures(props: {
  items: readonly (readonly [name: string, value: ComponentChildren, tone?: 'warn' | 'bad' | ''])[];
}) {
  return (
    <dl class="figures">
      {props.items.map(([name, value, tone = '']) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd class={tone}>{value}</dd>
        </div>
      ))}
    </dl>
  );
}
