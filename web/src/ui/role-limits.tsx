import type { ResourceMessage } from '../../../src/wire/api/messages.ts';
import { textOf } from '../core/resources.ts';
import { ACTIONS, RowButton, TablePanel } from './table-panel.tsx';

/** Roles and the limits that each of them sets. */
export function RoleLimits(props: {
  roles: readonly ResourceMessage[];
  editable: boolean;
  onEdit: (role: ResourceMessage) => void;
}) {
  const { roles, editable, onEdit } = props;
  return (
    <TablePanel
      label="Roles"
      head={<span class="quiet small">A role tightens, and never loosens what another place sets.</span>}
      columns={[
        'Role',
        'Ends after',
        'Warning',
        'Activity',
        'Longest session',
        'Expired certificate',
        editable && ACTIONS,
      ]}
      rows={roles}
      empty="There are no roles."
    >
      {(role) => {
        const { name } = role.metadata;
        const { options } = role.spec;
        const cell = (field: string) => textOf(options, field) || <span class="quiet">not set</span>;
        const ends = (options as Record<string, unknown> | undefined)?.['disconnect_expired_cert'] === true;
        return (
          <tr key={name}>
            <th scope="row">
              <span>{name}</span>
            </th>
            <td data-label="Ends after">{cell('client_idle_timeout')}</td>
            <td data-label="Warning">{cell('client_idle_warning')}</td>
            <td data-label="Activity">{cell('client_idle_activity')}</td>
            <td data-label="Longest session">{cell('max_session_ttl')}</td>
            <td data-label="Expired certificate">{ends ? 'ends' : <span class="quiet">not set</span>}</td>
            {editable && (
              <td>
                <div class="row end">
                  <RowButton text="Edit" about={`the limits of ${name}`} onClick={() => onEdit(role)} />
                </div>
              </td>
            )}
          </tr>
        );
      }}
    </TablePanel>
  );
}
