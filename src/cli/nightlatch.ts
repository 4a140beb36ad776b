// nightlatch: the daemon's command line.
import { basename } from 'node:path';
import { readIfThere, readUserFile } from './common/files.ts';
import { createCommand, runProgram } from './common/program.ts';

const program = createCommand('nightlatch', 'An access gateway that closes behind people who have walked away.');

interface StartOptions {
  readonly config?: string;
  readonly dataDir?: string;
  readonly ignoreUnsupported: boolean;
}

program
  .command('start')
  .description('Run the gateway until a signal ends it.')
  .option(
    '-c, --config <file>',
    'Configuration file; without it /etc/nightlatch.yaml, else /etc/teleport.yaml, else defaults.',
  )
  .option('--data-dir <dir>', 'Where everything is kept, instead of what the file says.')
  .option(
    '--ignore-unsupported',
    'Warn about settings of Teleport’s that are not supported here, instead of stopping.',
    false,
  )
  .action(start);

program
  .command('configure')
  .description('Print a commented sample configuration.')
  .action(async () => {
    const { sampleConfig } = await import('../resources/index.ts');
    process.stdout.write(sampleConfig());
  });

program
  .command('version')
  .description('Print the version.')
  .action(async () => {
    const { versionLine } = await import('./common/version.ts');
    process.stdout.write(`${versionLine()}\n`);
  });

async function start(options: StartOptions): Promise<void> {
  const [{ parseConfigFile }, { CONFIG_FILES }] = await Promise.all([
    import('../resources/index.ts'),
    import('../wire/api/messages.ts'),
  ]);
  const path = options.config ?? CONFIG_FILES.find((candidate) => readIfThere(candidate) !== undefined);
  const text = path === undefined ? '' : readUserFile(path);
  const { ignoreUnsupported } = options;
  const { config, warnings } = parseConfigFile(text, path ?? 'the defaults', { ignoreUnsupported });
  const { runDaemon } = await import('../server/run.ts');
  await runDaemon({
    config:
      options.dataDir === undefined
        ? config
        : { ...config, teleport: { ...config.teleport, data_dir: options.dataDir } },
    warnings,
    ...(path === undefined ? {} : { configFileName: basename(path) }),
  });
}

await runProgram(program);
