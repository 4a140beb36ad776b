import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';
import type { ResourceMessage } from '../../../src/wire/api/messages.ts';
import { originOf, textOf, withFields } from '../core/resources.ts';
import { DurationField, durationProblem } from './duration-field.tsx';
import { Dialog, Field } from './parts.tsx';
import { ReviewDialog } from './review-dialog.tsx';

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

/** The cluster-wide idle settings. */
export function NetworkingForm({ resource, editable, onApplied }: FormProps) {
  const { spec } = resource;
  const [timeout, setTimeoutText] = useState(textOf(spec, 'client_idle_timeout'));
  const [warning, setWarning] = useState(textOf(spec, 'client_idle_warning'));
  const [activity, setActivity] = useState(textOf(spec, 'client_idle_activity'));
  const [web, setWeb] = useState(textOf(spec, 'web_idle_timeout'));
  const [message, setMessage] = useState(textOf(spec, 'idle_timeout_message'));
  const changed = () =>
    withFields(spec, {
      client_idle_timeout: timeout.trim(),
      client_idle_warning: warning.trim(),
      client_idle_activity: activity,
      web_idle_timeout: web.trim(),
      idle_timeout_message: message.trim(),
    });
  return (
    <SettingsPanel
      title="Sessions"
      resource={resource}
      editable={editable}
      valid={[timeout, warning, web].every((text) => durationProblem(text) === undefined)}
      changed={changed}
      onApplied={onApplied}
    >
      <DurationField
        label="End a session after"
        hint="client_idle_timeout"
        value={timeout}
        disabled={!editable}
        onInput={setTimeoutText}
      />
      <DurationField
        label="Warn before the end"
        hint="client_idle_warning"
        value={warning}
        disabled={!editable}
        onInput={setWarning}
      />
      <ActivityField value={activity} disabled={!editable} onChange={setActivity} />
      <DurationField
        label="Sign a browser out after"
        hint="web_idle_timeout"
        value={web}
        disabled={!editable}
        onInput={setWeb}
      />
      <Field label="Your own words at the end" hint="idle_timeout_message">
        {(ids) => (
          <input
            {...ids}
            class="input"
            disabled={!editable}
            value={message}
            onInput={(event) => setMessage(event.currentTarget.value)}
          />
        )}
      </Field>
    </SettingsPanel>
  );
}

/** What the auth preference has to say about sessions. */
export function AuthForm({ resource, editable, onApplied }: FormProps) {
  const { spec } = resource;
  const options = (spec['options'] ?? {}) as Readonly<Record<string, unknown>>;
  const [timeout, setTimeoutText] = useState(textOf(options, 'client_idle_timeout'));
  const [expired, setExpired] = useState(
    spec['disconnect_expired_cert'] === true || options['disconnect_expired_cert'] === true,
  );
  const [locking, setLocking] = useState(textOf(spec, 'locking_mode') || 'best_effort');
  const changed = () => {
    const inner = withFields(options, {
      client_idle_timeout: timeout.trim(),
      disconnect_expired_cert: undefined,
    });
    return withFields(spec, {
      options: Object.keys(inner).length === 0 ? undefined : inner,
      disconnect_expired_cert: expired || undefined,
      locking_mode: locking,
    });
  };
  return (
    <SettingsPanel
      title="Sign-in and certificates"
      resource={resource}
      editable={editable}
      valid={durationProblem(timeout) === undefined}
      changed={changed}
      onApplied={onApplied}
    >
      <DurationField
        label="End a session after"
        hint="options.client_idle_timeout"
        value={timeout}
        disabled={!editable}
        onInput={setTimeoutText}
      />
      <Field label="Locks that may be out of date" hint="locking_mode">
        {(ids) => (
          <select
            {...ids}
            class="input"
            disabled={!editable}
            value={locking}
            onChange={(event) => setLocking(event.currentTarget.value)}
          >
            <option value="best_effort">sessions go on (best_effort)</option>
            <option value="strict">sessions end (strict)</option>
          </select>
        )}
      </Field>
      <label class="check">
        <input
          type="checkbox"
          disabled={!editable}
          checked={expired}
          onChange={(event) => setExpired(event.currentTarget.checked)}
        />
        <span>
          End sessions when the certificate expires <span class="quiet small">disconnect_expired_cert</span>
        </span>
      </label>
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

function ActivityField(props: { value: string; disabled?: boolean; onChange: (value: string) => void }) {
  return (
    <Field label="What counts as activity" hint="client_idle_activity">
      {(ids) => (
        <select
          {...ids}
          class="input"
          disabled={props.disabled ?? false}
          value={props.value}
          onChange={(event) => props.onChange(event.currentTarget.value)}
        >
          <option value="">not set (auto)</option>
          <option value="input">input: what a person does</option>
          <option value="auto">auto: also work under way</option>
          <option value="traffic">traffic: also output</option>
        </select>
      )}
    </Field>
  );
}

/** The options of one role that bear on idleness. */
export function RoleOptionsDialog(props: { role: ResourceMessage; onClose: () => void; onApplied: () => void }) {
  const { role, onClose, onApplied } = props;
  const options = (role.spec['options'] ?? {}) as Readonly<Record<string, unknown>>;
  const [timeout, setTimeoutText] = useState(textOf(options, 'client_idle_timeout'));
  const [warning, setWarning] = useState(textOf(options, 'client_idle_warning'));
  const [activity, setActivity] = useState(textOf(options, 'client_idle_activity'));
  const [ttl, setTtl] = useState(textOf(options, 'max_session_ttl'));
  const [expired, setExpired] = useState(options['disconnect_expired_cert'] === true);
  const [reviewing, setReviewing] = useState<ResourceMessage | undefined>(undefined);
  const valid = [timeout, warning, ttl].every((text) => durationProblem(text) === undefined);
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
    <Dialog title={`Limits of the role ${role.metadata.name}`} onClose={onClose}>
      <form
        class="stack"
        onSubmit={(event) => {
          event.preventDefault();
          if (!valid) return;
          const changed = withFields(options, {
            client_idle_timeout: timeout.trim(),
            client_idle_warning: warning.trim(),
            client_idle_activity: activity,
            max_session_ttl: ttl.trim(),
            disconnect_expired_cert: expired || undefined,
          });
          setReviewing({ ...role, spec: { ...role.spec, options: changed } });
        }}
      >
        <div class="settings">
          <DurationField
            label="End a session after"
            hint="client_idle_timeout"
            value={timeout}
            onInput={setTimeoutText}
          />
          <DurationField label="Warn before the end" hint="client_idle_warning" value={warning} onInput={setWarning} />
          <ActivityField value={activity} onChange={setActivity} />
          <DurationField label="Longest session" hint="max_session_ttl" value={ttl} onInput={setTtl} />
        </div>
        <label class="check">
          <input type="checkbox" checked={expired} onChange={(event) => setExpired(event.currentTarget.checked)} />
          End sessions when the certificate expires
        </label>
        <div class="row end">
          <button type="button" class="button" onClick={onClose}>
            Cancel
          </button>
          <button type="submit" class="button primary" disabled={!valid}>
            Review the change
          </button>
        </div>
      </form>
    </Dialog>
  );
}
