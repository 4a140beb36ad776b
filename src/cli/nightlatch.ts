// nightlatch: the daemon's command line.
import { basename } from 'node:path';
import { readIfThere, readUserFile } from './common/files.ts';
import { runProgram } from './common/program.ts';
import { nightlatchProgram, type StartOptions } from './nightlatch/program.ts';

async function start({ config: named, dataDir, ignoreUnsupported }: StartOptions): Promise<void> {
  const [{ parseConfigFile }, { CONFIG_FILES }] = await Promise.all([
    import('../resources/index.ts'),
    import('../wire/api/messages.ts'),
  ]);
  const path = named ?? CONFIG_FILES.find((candidate) => readIfThere(candidate) !== undefined);
  const text = path === undefined ? '' : readUserFile(path);
  const { config, warnings, errorAt } = parseConfigFile(text, path ?? 'the defaults', { ignoreUnsupported });
  const { runDaemon } = await import('../server/run.ts');
  const drained = await runDaemon({
    config: dataDir === undefined ? config : { ...config, teleport: { ...config.teleport, data_dir: dataDir } },
    warnings,
    configErrorAt: errorAt,
    ...(path === undefined ? {} : { configFileName: basename(path) }),
  });
  if (!drained) process.exit(1);
}

await runProgram(nightlatchProgram(start));
