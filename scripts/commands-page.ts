import type { Command, Option } from 'commander';
import { nightlatchProgram } from '../src/cli/nightlatch/program.ts';
import { tctlProgram } from '../src/cli/tctl/program.ts';
import { tshProgram } from '../src/cli/tsh/program.ts';

const NOTE = '<!-- Written by scripts/generate-reference.ts from the command lines; change those, then run it. -->\n\n';

const INTRODUCTION = `Three programs: \`nightlatch\` is the daemon, \`tctl\` administers it, \`tsh\` is what everybody signs in and works with. Their commands, options and messages
are those of Teleport's \`tctl\` and \`tsh\`, for the part that is implemented.

- An error is one line on standard error that begins with \`ERROR:\`, and exit status 1. \`tsh ssh\`, \`tsh scp\`, \`tsh db connect\` and \`tsh kubectl\` exit as the program does that they run.
- \`tctl\` uses the daemon's socket on the same machine (found by \`-c\`, \`--data-dir\`, \`NIGHTLATCH_CONFIG_FILE\`, \`/etc/nightlatch.yaml\`, \`/etc/teleport.yaml\`), and elsewhere the certificate of \`tsh login\`, as far as your roles allow.
- \`tsh\` keeps keys and certificates in \`~/.tsh\` (or \`NIGHTLATCH_HOME\`, \`TELEPORT_HOME\`), readable by you alone.
- Secrets come from the terminal or from a file descriptor (\`--password-fd 3 3<file\`; through \`npx\`, which passes the standard streams only, \`--password-fd 0 <file\`), never from an argument or the environment.
- The first sign-in compares the cluster's CA with \`--ca-pin\`, or with the CAs of your system, or asks you to. \`SSL_CERT_FILE\` and \`NODE_EXTRA_CA_CERTS\` add CAs.
- Durations are written as in the configuration: \`15m\`, \`1h30m\`, \`7d\`.

`;

/** docs/reference/commands.md: every command with its options. */
export function commandsPage(): string {
  const programs = [nightlatchProgram(async () => {}), tctlProgram, tshProgram];
  return ['# The commands\n\n', NOTE, INTRODUCTION, ...programs.map(programText)].join('');
}

function programText(program: Command): string {
  const commands = leaves(program);
  return [
    `## ${program.name()}\n\n${program.description()}\n\n`,
    optionsText(program),
    '| command | what for |\n| --- | --- |\n',
    ...commands.map(
      (command) => `| [\`${fullName(command)}\`](#${anchor(command)}) | ${cell(command.description())} |\n`,
    ),
    '\n',
    ...commands.map(commandText),
  ].join('');
}

/** Commands that do something; those that only gather others are left out, as is help. */
function leaves(command: Command): Command[] {
  return command.commands.flatMap((child) => (child.commands.length > 0 ? leaves(child) : [child]));
}

function fullName(command: Command): string {
  return command.parent === null ? command.name() : `${fullName(command.parent)} ${command.name()}`;
}

function anchor(command: Command): string {
  return fullName(command).replaceAll(' ', '-');
}

function commandText(command: Command): string {
  const words = command.registeredArguments.map((argument) => {
    const name = argument.variadic ? `${argument.name()}...` : argument.name();
    return argument.required ? `<${name}>` : `[${name}]`;
  });
  const hasOptions = command.options.length > 0;
  const usage = [fullName(command), ...(hasOptions ? ['[options]'] : []), ...words].join(' ');
  const aliases = command.aliases().length === 0 ? '' : ` Also: \`${command.aliases().join('`, `')}\`.`;
  const details = command.registeredArguments
    .filter((argument) => argument.description !== '')
    .map((argument) => `- \`${argument.name()}\`: ${argument.description}\n`);
  return [
    `### ${fullName(command)}\n\n`,
    `\`${usage}\`\n\n${command.description()}${aliases}\n\n`,
    details.length === 0 ? '' : `${details.join('')}\n`,
    optionsText(command),
  ].join('');
}

function optionsText(command: Command): string {
  const rows = command.options
    .filter((option) => !option.hidden)
    .map((option) => `| \`${option.flags}\` | ${optionText(option)} |\n`);
  return rows.length === 0 ? '' : `| option | meaning |\n| --- | --- |\n${rows.join('')}\n`;
}

function optionText(option: Option): string {
  const { defaultValue } = option as { defaultValue?: unknown };
  const shown = defaultValue === undefined || defaultValue === false || defaultValue === '' || defaultValue === 0;
  return cell(
    option.description +
      (option.mandatory ? ' Required.' : '') +
      (shown ? '' : ` Default: \`${String(defaultValue)}\`.`),
  );
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('<', '&lt;');
}
