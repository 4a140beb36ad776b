import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { NightlatchError } from '../../core/errors.ts';
import { ADMIN_SOCKET_NAME, CONFIG_FILES, DEFAULT_DATA_DIR } from '../../wire/api/messages.ts';
import { openSignIn } from '../tsh/sign-in.ts';
import { ApiClient } from './api-client.ts';
import { readIfThere, readUserFile } from './files.ts';

/** Options of every `tctl` command that say which cluster is meant. */
export interface ServerOptions {
  readonly config?: string;
  readonly dataDir?: string;
  readonly authServer?: string;
  readonly identity?: string;
  readonly insecure?: boolean;
}

/** Runs `work` with the API of the cluster that the options name, and closes it. */
export async function withServer<T>(options: ServerOptions, work: (api: ApiClient) => Promise<T>): Promise<T> {
  const { api, dispose } = await openServer(options);
  try {
    return await work(api);
  } finally {
    api.close();
    dispose();
  }
}

/** On the daemon's machine its socket, elsewhere (or with `--auth-server`, `--identity`) the certificate of `tsh login`. */
async function openServer(options: ServerOptions): Promise<{ api: ApiClient; dispose: () => void }> {
  const remote = options.authServer !== undefined || options.identity !== undefined;
  const named = options.config !== undefined || options.dataDir !== undefined;
  if (!remote) {
    const socket = join(await dataDirOf(options), ADMIN_SOCKET_NAME);
    if (existsSync(socket)) return { api: new ApiClient({ kind: 'socket', path: socket }), dispose: () => {} };
    if (named) {
      throw new NightlatchError(
        'unavailable',
        `there is no socket ${socket}: is nightlatch running there, with this data directory?`,
      );
    }
  }
  const signIn = await openRemote(options);
  return { api: new ApiClient(signIn.endpoint), dispose: signIn.dispose };
}

async function openRemote(options: ServerOptions) {
  try {
    return await openSignIn({
      ...(options.authServer === undefined ? {} : { proxy: options.authServer }),
      ...(options.identity === undefined ? {} : { identity: options.identity }),
      ...(options.insecure === undefined ? {} : { insecure: options.insecure }),
    });
  } catch (error) {
    if (!(error instanceof NightlatchError) || error.code !== 'unauthenticated') throw error;
    throw new NightlatchError(
      'unauthenticated',
      `${error.message} Or run tctl on the machine where nightlatch runs, with -c FILE or --data-dir if it does not use the default places.`,
      { cause: error },
    );
  }
}

/** The data directory: as given, or as the configuration file says, or where it is by default. */
async function dataDirOf(options: ServerOptions): Promise<string> {
  if (options.dataDir !== undefined) return options.dataDir;
  const fromEnvironment = process.env.NIGHTLATCH_CONFIG_FILE || process.env.TELEPORT_CONFIG_FILE;
  const named = options.config ?? fromEnvironment;
  const text =
    named === undefined ? CONFIG_FILES.map(tryRead).find((found) => found !== undefined) : readUserFile(named);
  // The common file leaves it at the default, and a YAML parser takes time to load.
  if (text === undefined || !text.includes('data_dir')) return DEFAULT_DATA_DIR;
  const { parse } = await import('yaml');
  // Only this one setting is wanted; the daemon is the one that checks the file.
  const config = parse(text, { logLevel: 'silent' }) as { teleport?: { data_dir?: unknown } | null } | null;
  const dataDir = config?.teleport?.data_dir;
  return typeof dataDir === 'string' ? dataDir : DEFAULT_DATA_DIR;
}

/** A configuration file that somebody else may own: unreadable is as good as absent. */
function tryRead(path: string): string | undefined {
  try {
    return readIfThere(path);
  } catch {
    return undefined;
  }
}
