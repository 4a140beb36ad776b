import type { ResourceMessage } from '../../../src/wire/api/messages.ts';
import { textOf } from '../core/resources.ts';

/** Roles and the limits that each of them sets. */
export function RoleLimits(props: {
  roles: readonly ResourceMessage[];
  editable: boolean;
  onEdit: (role: ResourceMessage) => void;
}) {
  const { roles, editable, onEdit } = props;
  return (
    <section class="panel" aria-labelledby="roles">
      <div class="panel-head">
        <h2 id="roles">Roles</h2>
        <span class="quiet small">A role tightens, and never loosens what another place sets.</span>
      </div>
      <table class="cards">
        <thead>
          <tr>
            <th scope="col">Role</th>
            <th scope="col">Ends after</th>
            <th scope="col">Warning</th>
            <th scope="col">Activity</th>
            <th scope="col">Longest session</th>
            <th scope="col">Expired certificate</th>
            {editable && (
              <th scope="col">
                <span class="visually-hidden">Action</span>
              </th>
            )}
          </tr>
        </thead>
        <tbody>
          {roles.map((role) => {
            const { options } = role.spec;
            const cell = (field: string) => textOf(options, field) || <span class="quiet">not set</span>;
            const ends = (options as Record<string, unknown> | undefined)?.['disconnect_expired_cert'] === true;
            return (
              <tr key={role.metadata.name}>
                <th scope="row">
                  <span>{role.metadata.name}</span>
                </th>
                <td data-label="Ends after">{cell('client_idle_timeout')}</td>
                <td data-label="Warning">{cell('client_idle_warning')}</td>
                <td data-label="Activity">{cell('client_idle_activity')}</td>
                <td data-label="Longest session">{cell('max_session_ttl')}</td>
                <td data-label="Expired certificate">{ends ? 'ends' : <span class="quiet">not set</span>}</td>
                {editable && (
                  <td>
                    <button type="button" class="button slim" onClick={() => onEdit(role)}>
                      Edit<span class="visually-hidden"> the limits of {role.metadata.name}</span>
                    </button>
                  </td>
                )}
              </tr>
            );
          })}
        </tbody>
      </table>
    </section>
  );
}
