import { useState } from 'preact/hooks';
import { CSRF_HEADER } from '../../../src/wire/api/web-messages.ts';
import { ApiError } from '../core/api.ts';
import { TextField } from '../ui/fields.tsx';
import { useAction } from '../ui/load.ts';
import { Dialog, Field, Problem } from '../ui/parts.tsx';

/** Files to and from the node, by sftp within the terminal's own session. */
export function TransferDialog({ sessionId, onClose }: { sessionId: string; onClose: () => void }) {
  const [download, setDownload] = useState('');
  const [folder, setFolder] = useState('');
  const [file, setFile] = useState<File | undefined>(undefined);
  const [sent, setSent] = useState('');
  const action = useAction();
  const fileUrl = (path: string) =>
    `/v1/web/terminals/${encodeURIComponent(sessionId)}/file?${new URLSearchParams({ path })}`;

  const fetchFile = () =>
    action.run(async () => {
      const response = await fetch(fileUrl(download));
      if (!response.ok) throw await problemOf(response);
      const link = document.createElement('a');
      link.href = URL.createObjectURL(await response.blob());
      link.download = download.replace(/^.*\//, '');
      link.click();
      URL.revokeObjectURL(link.href);
    });
  const sendFile = () =>
    action.run(async () => {
      if (file === undefined) return;
      const path = `${folder === '' || folder.endsWith('/') ? folder : `${folder}/`}${file.name}`;
      const response = await fetch(fileUrl(path), { method: 'PUT', headers: { [CSRF_HEADER]: '1' }, body: file });
      if (!response.ok) throw await problemOf(response);
      setSent(path);
    });

  return (
    <Dialog title="Files" onClose={onClose}>
      <form
        class="stack"
        onSubmit={(event) => {
          event.preventDefault();
          fetchFile();
        }}
      >
        <TextField
          label="Download"
          hint="Path on the server; without a leading slash from the home folder"
          verbatim
          mono
          required
          value={download}
          onInput={setDownload}
        />
        <div class="row end">
          <button type="submit" class="button" disabled={action.busy}>
            Download
          </button>
        </div>
      </form>
      <form
        class="stack"
        onSubmit={(event) => {
          event.preventDefault();
          sendFile();
        }}
      >
        <Field label="Upload">
          {(ids) => (
            <input
              {...ids}
              class="input"
              type="file"
              required
              onChange={(event) => setFile(event.currentTarget.files?.[0])}
            />
          )}
        </Field>
        <TextField
          label="Into the folder"
          hint="Empty for the home folder"
          verbatim
          mono
          value={folder}
          onInput={setFolder}
        />
        <div class="row end">
          <button type="submit" class="button" disabled={action.busy || file === undefined}>
            Upload
          </button>
        </div>
      </form>
      {sent !== '' && (
        <p class="note good" role="status">
          {sent} was uploaded.
        </p>
      )}
      <Problem error={action.error} />
    </Dialog>
  );
}

async function problemOf(response: Response): Promise<ApiError> {
  const body = (await response.json().catch(() => undefined)) as
    | { error?: { code: string; message: string } }
    | undefined;
  return new ApiError(
    body?.error?.code ?? 'internal',
    body?.error?.message ?? `answered ${response.status}`,
    response.status,
  );
}
