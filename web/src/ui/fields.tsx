import type { ComponentChildren, Ref } from 'preact';
import { Field } from './parts.tsx';

interface Labelled {
  readonly label: string;
  readonly hint?: ComponentChildren;
  /** What is wrong with the value; shown instead of the hint. */
  readonly problem?: string | undefined;
  readonly disabled?: boolean;
  /** Takes the room that is left in a row of filters. */
  readonly grow?: boolean;
}

/** A line of text. */
export function TextField(
  props: Labelled & {
    value: string;
    onInput: (value: string) => void;
    type?: 'text' | 'password' | 'search' | 'date';
    /** A name, a path, an id: the browser neither corrects nor capitalizes it. */
    verbatim?: boolean;
    mono?: boolean;
    required?: boolean;
    placeholder?: string;
    autocomplete?: string;
    inputMode?: 'numeric';
    maxLength?: number;
    inputRef?: Ref<HTMLInputElement>;
  },
) {
  const {
    label,
    hint,
    problem,
    grow = false,
    onInput,
    verbatim = false,
    mono = false,
    type = 'text',
    inputRef,
    ...input
  } = props;
  return (
    <Field label={label} hint={hint} grow={grow} {...(problem === undefined ? {} : { problem })}>
      {(ids) => (
        <input
          {...ids}
          {...input}
          // Its type is one of a union by literals, all of which take what is given here.
          type={type as 'text'}
          {...(verbatim ? { autocapitalize: 'none', spellcheck: false } : {})}
          ref={inputRef ?? null}
          class={mono ? 'input mono' : 'input'}
          onInput={(event) => onInput(event.currentTarget.value)}
        />
      )}
    </Field>
  );
}

/** The code that an authenticator shows now. Spaces may stand in it as they do in many applications. */
export function CodeField(props: { value: string; onInput: (value: string) => void; required: boolean }) {
  return (
    <TextField
      label="Code of your authenticator"
      mono
      inputMode="numeric"
      autocomplete="one-time-code"
      maxLength={16}
      {...props}
    />
  );
}

/** One of several values; `choices` says what the page calls each. */
export function SelectField<T extends string>(
  props: Labelled & {
    value: T;
    choices: readonly (readonly [value: T, text: string])[];
    onChange: (value: T) => void;
  },
) {
  const { label, hint, grow = false, value, choices, disabled = false, onChange } = props;
  return (
    <Field label={label} hint={hint} grow={grow}>
      {(ids) => (
        <select
          {...ids}
          class="input"
          disabled={disabled}
          value={value}
          onChange={(event) => onChange(event.currentTarget.value as T)}
        >
          {choices.map(([one, text]) => (
            <option key={one} value={one}>
              {text}
            </option>
          ))}
        </select>
      )}
    </Field>
  );
}

/** What a page shows less by. With `onShow` it takes hold when the user says so, else at once. */
export function Filters({ onShow, children }: { onShow?: () => void; children: ComponentChildren }) {
  if (onShow === undefined) return <search class="filters no-print">{children}</search>;
  return (
    <search class="no-print">
      <form
        class="filters"
        onSubmit={(event) => {
          event.preventDefault();
          onShow();
        }}
      >
        {children}
        <button type="submit" class="button primary filter-go">
          Show
        </button>
      </form>
    </search>
  );
}
