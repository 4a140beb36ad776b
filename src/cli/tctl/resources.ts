import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { errorMessage, NightlatchError } from '../../core/errors.ts';
import type { Resource } from '../../resources/index.ts';
import type {
  ResourceMessage,
  WriteMode,
  WriteResourceRequest,
  WriteResourceResponse,
} from '../../wire/api/messages.ts';
import type { ApiClient } from '../common/api-client.ts';
import { readIfThere, readUserFile, writeFileAtomic } from '../common/files.ts';
import { printable } from '../common/output.ts';
import { formatResources, type ResourceFormat } from './resource-format.ts';
import { deletedText, writtenText } from './resource-text.ts';

/** `KIND` or `KIND/NAME`. */
export interface ResourceRef {
  readonly kind: string;
  readonly name?: string;
}

/** All kinds, in the order of `tctl get all`. */
const ALL_KINDS = ['cap', 'cnc', 'role', 'user', 'node', 'db', 'kube_cluster', 'windows_desktop', 'lock'];

/** `cap`, `role/x`, `roles,users`, `all`. @throws {NightlatchError} `bad_parameter` */
export function parseRefs(text: string): ResourceRef[] {
  if (text === 'all') return ALL_KINDS.map((kind) => ({ kind }));
  return text.split(',').map(parseRef);
}

export function parseRef(text: string): ResourceRef {
  const slash = text.indexOf('/');
  const [kind, name] = slash < 0 ? [text, ''] : [text.slice(0, slash), text.slice(slash + 1)];
  if (!/^[\w-]+$/.test(kind)) {
    throw new NightlatchError(
      'bad_parameter',
      `${JSON.stringify(text)} is no resource; expected KIND or KIND/NAME, e.g. role/access`,
    );
  }
  return name === '' ? { kind } : { kind, name };
}

/** The resources a reference means. */
export async function fetchResources(api: ApiClient, ref: ResourceRef): Promise<ResourceMessage[]> {
  const path = `/v1/resources/${encodeURIComponent(ref.kind)}${ref.name === undefined ? '' : `/${encodeURIComponent(ref.name)}`}`;
  return (await api.get<{ resources: ResourceMessage[] }>(path)).resources;
}

/** `tctl get`. */
export async function get(api: ApiClient, text: string, format: ResourceFormat): Promise<void> {
  const refs = parseRefs(text);
  if (refs.length > 1 && format === 'text') {
    throw new NightlatchError('bad_parameter', 'mixed resource types only support YAML and JSON formatting');
  }
  const resources: ResourceMessage[] = [];
  for (const ref of refs) resources.push(...(await fetchResources(api, ref)));
  process.stdout.write(await formatResources(resources, format));
}

/** The resources of a file, or of standard input where `path` is undefined or `-`; what is wrong is told by file, line and key. */
export async function readResourceFile(path: string | undefined): Promise<Resource[]> {
  const fromStdin = path === undefined || path === '-';
  const text = fromStdin ? readFileSync(0, 'utf8') : readUserFile(path);
  if (text.trim() === '') throw new NightlatchError('bad_parameter', 'no resources found, empty input?');
  const { readResources } = await import('../../resources/resource-file.ts');
  return readResources(text, fromStdin ? 'stdin' : path);
}

/** `tctl create [-f]`. */
export async function create(
  api: ApiClient,
  path: string | undefined,
  options: { force: boolean; confirm: boolean },
): Promise<void> {
  for (const resource of await readResourceFile(path)) {
    await write(api, resource, options.force ? 'upsert' : 'create', options.confirm);
  }
}

async function write(api: ApiClient, resource: unknown, mode: WriteMode, confirm: boolean): Promise<void> {
  try {
    const request: WriteResourceRequest = { resource, mode, confirm };
    const response = await api.post<WriteResourceResponse>('/v1/resources', request);
    process.stdout.write(`${writtenText(response, mode)}\n`);
    for (const warning of response.warnings) process.stderr.write(`WARNING: ${printable(warning)}\n`);
  } catch (error) {
    if (!(error instanceof NightlatchError) || error.code !== 'already_exists') throw error;
    throw new NightlatchError('already_exists', `${error.message}, use -f or --force flag to overwrite`, {
      cause: error,
    });
  }
}

/** `tctl rm`. */
export async function remove(api: ApiClient, text: string): Promise<void> {
  const { kind, name } = parseRef(text);
  const path = `/v1/resources/${encodeURIComponent(kind)}${name === undefined ? '' : `/${encodeURIComponent(name)}`}`;
  const deleted = await api.delete<{ kind: string; name: string }>(path);
  process.stdout.write(`${deletedText(deleted.kind, deleted.name)}\n`);
}

/** `tctl edit`: the resource in an editor, then written back only if it has not changed meanwhile. */
export async function edit(api: ApiClient, text: string, options: { confirm: boolean }): Promise<void> {
  const ref = parseRef(text);
  const found = await fetchResources(api, ref);
  if (found.length !== 1) throw new NightlatchError('bad_parameter', `name the ${ref.kind} to edit: ${ref.kind}/NAME`);
  const dir = mkdtempSync(join(tmpdir(), 'nightlatch-resource-'));
  const file = join(dir, 'resource.yaml');
  const before = await formatResources(found, 'yaml');
  writeFileAtomic(file, before);
  // While the editor is open nothing here would see that the server has closed the kept connection.
  api.close();
  try {
    runEditor(file);
    if (readUserFile(file) === before) process.stdout.write('edit canceled, no changes made\n');
    else await writeEdited(api, file, found[0]!, options.confirm);
  } catch (error) {
    if (readIfThere(file) !== before) throw withKeptFile(error, file);
    rmSync(dir, { recursive: true, force: true });
    throw error;
  }
  rmSync(dir, { recursive: true, force: true });
}

async function writeEdited(api: ApiClient, file: string, found: ResourceMessage, confirm: boolean): Promise<void> {
  const [resource, ...more] = await readResourceFile(file);
  if (more.length > 0) throw new NightlatchError('bad_parameter', 'one resource is edited at a time');
  if (resource?.kind !== found.kind || resource.metadata.name !== found.metadata.name) {
    throw new NightlatchError('bad_parameter', 'renaming resources is not supported with tctl edit');
  }
  await write(api, resource, 'update', confirm);
}

/** What was wrong with an edit, and where its text is. */
function withKeptFile(error: unknown, file: string): NightlatchError {
  return new NightlatchError(
    error instanceof NightlatchError ? error.code : 'internal',
    `${errorMessage(error)}\nyour changes are kept in ${file}; correct them, then tctl create -f ${file}`,
    { cause: error },
  );
}

/** `EDITOR` may carry arguments, e.g. `code --wait`. */
function runEditor(file: string): void {
  const editor = [process.env.TELEPORT_EDITOR, process.env.VISUAL, process.env.EDITOR, 'vi'].find(Boolean)!;
  const [program, ...args] = editor.trim().split(/\s+/);
  const { error, status, signal } = spawnSync(program!, [...args, file], { stdio: 'inherit' });
  if (error !== undefined) {
    throw new NightlatchError('bad_parameter', `could not start editor ${editor}: ${error.message}`, { cause: error });
  }
  if (status !== 0) {
    throw new NightlatchError(
      'bad_parameter',
      `skipping resource update, editor did not complete successfully: ${signal === null ? `exit status ${status}` : signal}`,
    );
  }
}
