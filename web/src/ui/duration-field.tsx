import { formatDuration, parseDuration } from '../../../src/resources/duration.ts';
import { TextField } from './fields.tsx';

/** Why a text is no duration, in the words of the gateway; undefined where it is one, or empty. */
export function durationProblem(text: string): string | undefined {
  if (text.trim() === '') return undefined;
  try {
    if (parseDuration(text.trim()) < 0) return 'A limit cannot be negative.';
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** A duration as it is written in resources: `15m`, `1h30m`, `never`; empty for "not set here". */
export function DurationField(props: {
  label: string;
  hint?: string;
  value: string;
  disabled?: boolean;
  onInput: (value: string) => void;
}) {
  const { label, hint, value, disabled = false, onInput } = props;
  const problem = durationProblem(value);
  const read = problem === undefined && value.trim() !== '' ? parseDuration(value.trim()) : undefined;
  // The placeholder says of an empty field that it is not set.
  const meaning = read === undefined ? [] : [read === 0 ? 'never' : formatDuration(read)];
  const about = [...(hint === undefined ? [] : [hint]), ...meaning].join(' · ');
  return (
    <TextField
      label={label}
      hint={about}
      problem={problem}
      verbatim
      mono
      placeholder="not set"
      disabled={disabled}
      value={value}
      onInput={onInput}
    />
  );
}
