// The commands of nightlatch. The daemon itself is passed in: only the entry point knows the server.
import type { Command } from 'commander';
import { createCommand } from '../common/program.ts';

export interface StartOptions {
  readonly config?: string;
  readonly dataDir?: string;
  readonly ignoreUnsupported: boolean;
}

export function nightlatchProgram(start: (options: StartOptions) => Promise<void>): Command {
  const program = createCommand('nightlatch', 'An access gateway that closes behind people who have walked away.');

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
      const { sampleConfig } = await import('../../resources/index.ts');
      process.stdout.write(sampleConfig());
    });

  program
    .command('version')
    .description('Print the version.')
    .action(async () => {
      const { versionLine } = await import('../common/version.ts');
      process.stdout.write(`${versionLine()}\n`);
    });

  return program;
}
