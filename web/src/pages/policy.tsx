import { useState } from 'preact/hooks';
import type { ResourceMessage } from '../../../src/wire/api/messages.ts';
import type { MatrixRow } from '../../../src/wire/api/web-messages.ts';
import { api } from '../core/api.ts';
import { policyRevision } from '../core/live.ts';
import { getResources, getSingleton } from '../core/resources.ts';
import { session } from '../core/session.ts';
import { useLoad } from '../ui/load.ts';
import { PageHead, Problem } from '../ui/parts.tsx';
import { AuthForm, NetworkingForm, RoleOptionsDialog } from '../ui/policy-forms.tsx';
import { PolicyMatrix } from '../ui/policy-matrix.tsx';
import { RoleLimits } from '../ui/role-limits.tsx';

/** The idle policy: what is set where, and what comes of it for each user. */
export function PolicyPage() {
  const loaded = useLoad(
    async () => ({
      networking: await getSingleton('cluster_networking_config'),
      auth: await getSingleton('cluster_auth_preference'),
      roles: await getResources('role'),
      rows: (await api<{ rows: MatrixRow[] }>('GET', '/web/matrix')).rows,
    }),
    [policyRevision.value],
  );
  const [role, setRole] = useState<ResourceMessage | undefined>(undefined);
  const { permissions } = session.value!;
  const { data } = loaded;
  return (
    <div class="page">
      <PageHead
        title="Idle policy"
        about="The shortest limit among the cluster's settings and all roles of a user applies. A change reaches open sessions at once."
      />
      <Problem error={loaded.error} />
      {data !== undefined && (
        <>
          <NetworkingForm
            key={`n${data.networking.metadata.revision ?? ''}`}
            resource={data.networking}
            editable={permissions.editPolicy}
            onApplied={loaded.reload}
          />
          <AuthForm
            key={`a${data.auth.metadata.revision ?? ''}`}
            resource={data.auth}
            editable={permissions.editPolicy}
            onApplied={loaded.reload}
          />
          <RoleLimits roles={data.roles} editable={permissions.editRoles} onEdit={setRole} />
          <PolicyMatrix rows={data.rows} />
        </>
      )}
      {role !== undefined && (
        <RoleOptionsDialog
          role={role}
          onClose={() => setRole(undefined)}
          onApplied={() => {
            setRole(undefined);
            loaded.reload();
          }}
        />
      )}
    </div>
  );
}
