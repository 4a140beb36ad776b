import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';
import type { ResourceMessage } from '../../../src/wire/api/messages.ts';
import { originOf, withFields } from '../core/resources.ts';
import { TextField } from './fields.tsx';
import { FormDialog } from './form-dialog.tsx';
import { ReviewDialog } from './review-dialog.tsx';
import { ActivitySetting, ChoiceSetting, DurationSetting, ExpiryCheck, useSettings } from './settings.tsx';

interface FormProps {
  readonly resource: ResourceMessage;
  readonly editable: boolean;
  readonly onApplied: () => void;
}

const ORIGINS = {
  defaults: 'nothing set yet',
  'config-file': 'set by the configuration file',
  dynamic: 'set here or by tctl',
} as const;

const NETWORKING_SETTINGS = [
  'client_idle_timeout',
  'client_idle_warning',
  'client_idle_activity',
  'web_idle_timeout',
  'idle_timeout_message',
] as const;

/** The cluster-wide idle settings. */
export function NetworkingForm({ resource, editable, onApplied }: FormProps) {
  const { spec } = resource;
  const settings = useSettings(spec, NETWORKING_SETTINGS, editable);
  return (
    <SettingsPanel
      title="Sessions"
      resource={resource}
      editable={editable}
      valid={settings.valid}
      changed={() => withFields(spec, settings.all())}
      onApplied={onApplied}
    >
      <DurationSetting settings={settings} name="client_idle_timeout" />
      <DurationSetting settings={settings} name="client_idle_warning" />
      <ActivitySetting settings={settings} />
      <DurationSetting settings={settings} name="web_idle_timeout" />
      <TextField
        label="Your own words at the end"
        hint="idle_timeout_message"
        disabled={!editable}
        value={settings.text('idle_timeout_message')}
        onInput={(text) => settings.set('idle_timeout_message', text)}
      />
    </SettingsPanel>
  );
}

const LOCKING_CHOICES = [
  ['best_effort', 'sessions go on (best_effort)'],
  ['strict', 'sessions end (strict)'],
] as const;

/** What the auth preference has to say about sessions. */
export function AuthForm({ resource, editable, onApplied }: FormProps) {
  const { spec } = resource;
  const options = (spec['options'] ?? {}) as Readonly<Record<string, unknown>>;
  const limits = useSettings(options, ['client_idle_timeout'], editable);
  const locking = useSettings({ locking_mode: 'best_effort', ...spec }, ['locking_mode'], editable);
  const [expired, setExpired] = useState(
    spec['disconnect_expired_cert'] === true || options['disconnect_expired_cert'] === true,
  );
  const changed = () => {
    const inner = withFields(options, { ...limits.all(), disconnect_expired_cert: undefined });
    return withFields(spec, {
      ...locking.all(),
      options: Object.keys(inner).length === 0 ? undefined : inner,
      disconnect_expired_cert: expired || undefined,
    });
  };
  return (
    <SettingsPanel
      title="Sign-in and certificates"
      resource={resource}
      editable={editable}
      valid={limits.valid}
      changed={changed}
      onApplied={onApplied}
    >
      <DurationSetting settings={limits} name="client_idle_timeout" within="options" />
      <ChoiceSetting
        settings={locking}
        name="locking_mode"
        label="Locks that may be out of date"
        choices={LOCKING_CHOICES}
      />
      <ExpiryCheck checked={expired} editable={editable} onChange={setExpired} />
    </SettingsPanel>
  );
}

function SettingsPanel(props: {
  title: string;
  resource: ResourceMessage;
  editable: boolean;
  valid: boolean;
  changed: () => Record<string, unknown>;
  onApplied: () => void;
  children: ComponentChildren;
}) {
  const { title, resource, editable, valid, changed, onApplied, children } = props;
  const [reviewing, setReviewing] = useState<ResourceMessage | undefined>(undefined);
  const origin = originOf(resource);
  const id = `settings-${resource.kind}`;
  return (
    <form
      class="panel"
      aria-labelledby={id}
      onSubmit={(event) => {
        event.preventDefault();
        if (valid) setReviewing({ ...resource, spec: changed() });
      }}
    >
      <div class="panel-head">
        <h2 id={id}>{title}</h2>
        <span class="row">
          <code class="quiet">{resource.kind}</code>
          <span class={origin === 'config-file' ? 'tag warn' : 'tag'}>{ORIGINS[origin]}</span>
        </span>
      </div>
      <div class="panel-body">
        <div class="settings">{children}</div>
        {editable && (
          <div class="row end">
            <button type="submit" class="button primary" disabled={!valid}>
              Review the change
            </button>
          </div>
        )}
      </div>
      {reviewing !== undefined && (
        <ReviewDialog
          title="Change this setting?"
          before={resource}
          resource={reviewing}
          mode="update"
          onClose={() => setReviewing(undefined)}
          onApplied={() => {
            setReviewing(undefined);
            onApplied();
          }}
        />
      )}
    </form>
  );
}

const ROLE_SETTINGS = [
  'client_idle_timeout',
  'client_idle_warning',
  'client_idle_activity',
  'max_session_ttl',
] as const;

/** The options of one role that bear on idleness. */
export function RoleOptionsDialog(props: { role: ResourceMessage; onClose: () => void; onApplied: () => void }) {
  const { role, onClose, onApplied } = props;
  const options = (role.spec['options'] ?? {}) as Readonly<Record<string, unknown>>;
  const settings = useSettings(options, ROLE_SETTINGS, true);
  const [expired, setExpired] = useState(options['disconnect_expired_cert'] === true);
  const [reviewing, setReviewing] = useState<ResourceMessage | undefined>(undefined);
  if (reviewing !== undefined) {
    return (
      <ReviewDialog
        title={`Change the role ${role.metadata.name}?`}
        before={role}
        resource={reviewing}
        mode="update"
        onClose={() => setReviewing(undefined)}
        onApplied={onApplied}
      />
    );
  }
  return (
    <FormDialog
      title={`Limits of the role ${role.metadata.name}`}
      action="Review the change"
      valid={settings.valid}
      onClose={onClose}
      run={async () => {
        const changed = withFields(options, { ...settings.all(), disconnect_expired_cert: expired || undefined });
        setReviewing({ ...role, spec: { ...role.spec, options: changed } });
      }}
    >
      <div class="settings">
        <DurationSetting settings={settings} name="client_idle_timeout" />
        <DurationSetting settings={settings} name="client_idle_warning" />
        <ActivitySetting settings={settings} />
        <DurationSetting settings={settings} name="max_session_ttl" />
      </div>
      <ExpiryCheck checked={expired} editable onChange={setExpired} />
    </FormDialog>
  );
}
