import { useState } from 'preact/hooks';
import { textOf } from '../core/resources.ts';
import { DurationField, durationProblem } from './duration-field.tsx';
import { SelectField } from './fields.tsx';

/** Settings that are durations, and what the page calls them. */
const DURATIONS = {
  client_idle_timeout: 'End a session after',
  client_idle_warning: 'Warn before the end',
  max_session_ttl: 'Longest session',
  web_idle_timeout: 'Sign a browser out after',
} as const;

/** Settings of one part of a resource, as a form holds them: texts, '' for what is not set. */
interface Settings {
  readonly editable: boolean;
  readonly valid: boolean;
  text(name: string): string;
  set(name: string, text: string): void;
  /** All of them, without the spaces around them. */
  all(): Readonly<Record<string, string>>;
}

/** The settings `names` of a spec, for a form to change. */
export function useSettings(spec: unknown, names: readonly string[], editable: boolean): Settings {
  const [texts, setTexts] = useState<Readonly<Record<string, string>>>(() =>
    Object.fromEntries(names.map((name) => [name, textOf(spec, name)])),
  );
  return {
    editable,
    valid: names.every((name) => !(name in DURATIONS) || durationProblem(texts[name]!) === undefined),
    text: (name) => texts[name]!,
    set: (name, text) => setTexts((before) => ({ ...before, [name]: text })),
    all: () => Object.fromEntries(Object.entries(texts).map(([name, text]) => [name, text.trim()])),
  };
}

/** One duration; `within` is the mapping that it is written in, where that is not the spec itself. */
export function DurationSetting(props: { settings: Settings; name: keyof typeof DURATIONS; within?: string }) {
  const { settings, name, within } = props;
  return (
    <DurationField
      label={DURATIONS[name]}
      hint={within === undefined ? name : `${within}.${name}`}
      value={settings.text(name)}
      disabled={!settings.editable}
      onInput={(text) => settings.set(name, text)}
    />
  );
}

/** One setting that is one of several words. */
export function ChoiceSetting(props: {
  settings: Settings;
  name: string;
  label: string;
  choices: readonly (readonly [value: string, text: string])[];
}) {
  const { settings, name, label, choices } = props;
  return (
    <SelectField
      label={label}
      hint={name}
      disabled={!settings.editable}
      value={settings.text(name)}
      choices={choices}
      onChange={(value) => settings.set(name, value)}
    />
  );
}

const ACTIVITY_CHOICES = [
  ['', 'not set (auto)'],
  ['input', 'input: what a person does'],
  ['auto', 'auto: also work under way'],
  ['traffic', 'traffic: also output'],
] as const;

/** What counts as activity. */
export function ActivitySetting({ settings }: { settings: Settings }) {
  return (
    <ChoiceSetting
      settings={settings}
      name="client_idle_activity"
      label="What counts as activity"
      choices={ACTIVITY_CHOICES}
    />
  );
}

/** Whether sessions end with the certificate. */
export function ExpiryCheck(props: { checked: boolean; editable: boolean; onChange: (checked: boolean) => void }) {
  return (
    <label class="check">
      <input
        type="checkbox"
        disabled={!props.editable}
        checked={props.checked}
        onChange={(event) => props.onChange(event.currentTarget.checked)}
      />
      <span>
        End sessions when the certificate expires <span class="quiet small">disconnect_expired_cert</span>
      </span>
    </label>
  );
}
