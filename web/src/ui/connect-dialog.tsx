import type { TargetMessage } from '../../../src/wire/api/messages.ts';
import type { WebSessionResponse } from '../../../src/wire/api/web-messages.ts';
import { limit } from '../core/format.ts';
import { Command, Dialog } from './parts.tsx';

/** The commands that reach a target with a client of one's own. */
export function ConnectDialog(props: { target: TargetMessage; session: WebSessionResponse; onClose: () => void }) {
  const { target, session, onClose } = props;
  const { timeoutMs, timeoutSource } = session.policy;
  return (
    <Dialog title={`Connect to ${target.displayName}`} onClose={onClose}>
      <div class="stack">
        <div class="stack tight">
          <h3>Sign in once</h3>
          <Command text={`tsh login --proxy=${session.publicAddr} --user=${session.user}`} />
        </div>
        <div class="stack tight">
          <h3>Connect</h3>
          {commandsFor(target).map((text) => (
            <Command key={text} text={text} />
          ))}
        </div>
        <p class="quiet small">
          {timeoutMs === 0
            ? 'Sessions do not end for inactivity.'
            : `A session ends after ${limit(timeoutMs)} without activity (${timeoutSource}).`}
        </p>
      </div>
    </Dialog>
  );
}

function commandsFor(target: TargetMessage): string[] {
  const { kind, displayName, name, logins } = target;
  const login = logins.find((one) => one !== '*') ?? 'LOGIN';
  switch (kind) {
    case 'node':
      return [`tsh ssh ${login}@${displayName}`, `tsh scp FILE ${login}@${displayName}:`];
    case 'db':
      return [`tsh db connect ${name} --db-user=${login}`];
    case 'kube_cluster':
      return [`tsh kube login ${name}`, 'kubectl get pods'];
    case 'windows_desktop':
      return [`tsh desktop open ${name}`];
  }
}
