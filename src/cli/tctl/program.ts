// The commands of tctl. What a command needs is loaded when it runs, so that help is at once there.
import type { Command } from 'commander';
import type { ApiClient } from '../common/api-client.ts';
import { createCommand, oneOf, wholeNumber } from '../common/program.ts';
import type { ServerOptions } from '../common/server-connection.ts';

const program = createCommand('tctl', 'Administration of a Nightlatch cluster.')
  .option('-c, --config <file>', 'Configuration file of the daemon on this machine; says where its data directory is.')
  .option('--data-dir <dir>', 'Data directory of the daemon on this machine.')
  .option('--auth-server <host:port>', 'Address of the cluster, with the certificate of tsh login.')
  .option('-i, --identity <file>', 'Identity file made with tctl auth sign; needs --auth-server.')
  .option('--insecure', 'Do not check the certificate of the server.');

/** Runs a command with the API of the cluster that the global options name. */
async function onServer(work: (api: ApiClient) => Promise<void>): Promise<void> {
  const { withServer } = await import('../common/server-connection.ts');
  await withServer(program.opts<ServerOptions>(), work);
}

function formats<const T extends string>(command: Command, fallback: T, ...others: T[]): Command {
  const all = [fallback, ...others];
  return command.option('--format <format>', `Output format: ${all.join(', ')}.`, oneOf(...all), fallback);
}

formats(
  program.command('status').description('Report cluster status, and the CA pin for tsh login.'),
  'text',
  'json',
).action((options) => onServer(async (api) => (await import('./status.ts')).status(api, options.format)));

formats(
  program
    .command('get <resources>')
    .description("Print a YAML declaration of resources: 'KIND', 'KIND/NAME', several with commas, or 'all'.")
    .addHelpText(
      'after',
      '\nKinds: cap (cluster_auth_preference), cnc (cluster_networking_config), role, user, node, db, kube_cluster, windows_desktop, lock.\n' +
        '\nExamples:\n  $ tctl get cap > cap.yaml\n  $ tctl get role/access\n  $ tctl get roles,users --format=json\n',
    ),
  'yaml',
  'json',
  'text',
).action((refs, options) => onServer(async (api) => (await import('./resources.ts')).get(api, refs, options.format)));

program
  .command('create [filename]')
  .description('Create or update resources from a YAML file; from standard input without a file name.')
  .option('-f, --force', 'Overwrite the resource if it already exists.', false)
  .option('--confirm', 'Confirm an update of a resource that the configuration file sets.', false)
  .action((file, options) => onServer(async (api) => (await import('./resources.ts')).create(api, file, options)));

program
  .command('edit <resource>')
  .description("Edit a resource ('KIND/NAME') with $EDITOR.")
  .option('--confirm', 'Confirm an update of a resource that the configuration file sets.', false)
  .action((ref, options) => onServer(async (api) => (await import('./resources.ts')).edit(api, ref, options)));

program
  .command('rm <resource>')
  .alias('del')
  .description("Delete a resource ('KIND/NAME'); cap and cnc are reset to defaults.")
  .action((ref) => onServer(async (api) => (await import('./resources.ts')).remove(api, ref)));

const users = program.command('users').description('Manage user accounts.');

function traitOptions(command: Command, prefix: string): Command {
  return command
    .option(`--${prefix}logins <names>`, 'Logins on SSH servers (trait logins).')
    .option(`--${prefix}db-users <names>`, 'Database users.')
    .option(`--${prefix}db-names <names>`, 'Database names.')
    .option(`--${prefix}kubernetes-users <names>`, 'Kubernetes users.')
    .option(`--${prefix}kubernetes-groups <names>`, 'Kubernetes groups.')
    .option(`--${prefix}windows-logins <names>`, 'Logins on desktops.');
}

formats(
  traitOptions(users.command('add <account>'), '')
    .description('Create a user and print an invitation link.')
    .requiredOption('--roles <names>', 'Roles of the user, with commas.')
    .option('--ttl <duration>', 'How long the link is good (default 1h, at most 168h).'),
  'text',
  'json',
).action((name, options) => onServer(async (api) => (await import('./users.ts')).addUser(api, name, options)));

formats(users.command('ls').description('List all user accounts.'), 'text', 'json').action((options) =>
  onServer(async (api) => (await import('./users.ts')).listUsers(api, options.format)),
);

formats(
  users
    .command('reset <account>')
    .description('Forget password and second factors of a user and print a link to set new ones.')
    .option('--ttl <duration>', 'How long the link is good (default 1h, at most 168h).'),
  'text',
  'json',
).action((name, options) => onServer(async (api) => (await import('./users.ts')).resetUser(api, name, options)));

users
  .command('rm <logins>')
  .alias('del')
  .description('Delete user accounts, with commas.')
  .action((names) => onServer(async (api) => (await import('./users.ts')).removeUsers(api, names)));

traitOptions(users.command('update <account>'), 'set-')
  .description('Update roles and traits of a user.')
  .option('--set-roles <names>', 'Roles of the user, with commas.')
  .action((name, options) =>
    onServer(async (api) => {
      const { updateUser, withoutSetPrefix } = await import('./users.ts');
      await updateUser(api, name, withoutSetPrefix(options));
    }),
  );

program
  .command('lock')
  .description('Create a lock: end matching sessions at once and bar new ones.')
  .option('--user <name>', 'A user.')
  .option('--role <name>', 'Everybody with a role.')
  .option('--login <name>', 'A login on any target.')
  .option('--server-id <name>', 'A node, by its name.')
  .option('--session <id>', 'One session.')
  .option('--windows-desktop <name>', 'A desktop.')
  .option('--message <text>', 'Message to those who are locked out.')
  .option('--expires <time>', 'When the lock ends (RFC 3339).')
  .option('--ttl <duration>', 'How long the lock lasts.')
  .action((options) => onServer(async (api) => (await import('./lock.ts')).lock(api, options)));

const sessions = program.command('sessions').description('Live sessions.');
formats(sessions.command('ls').description('List live sessions, and when each ends.'), 'text', 'json').action(
  (options) => onServer(async (api) => (await import('./sessions.ts')).listSessions(api, options.format)),
);
sessions
  .command('kill <id>')
  .description('End a session; the user is told the message.')
  .option('--message <text>', 'Why, for the user and the audit log.', '')
  .action((id, options) =>
    onServer(async (api) => (await import('./sessions.ts')).killSession(api, id, options.message)),
  );

const idle = program.command('idle').description('Explain, rehearse and prove the idle policy.');
formats(
  idle
    .command('explain')
    .description('What idle timeout applies to a user, and why.')
    .option('--user <name>', 'The user; yourself without it.')
    .option('--role <name...>', 'As if the user had these roles too.')
    .option('--resource <kind/name>', 'A target.'),
  'text',
  'json',
).action((options) => onServer(async (api) => (await import('./idle.ts')).explain(api, options)));
formats(
  idle
    .command('rehearse')
    .description('What applying a file would do to the sessions that are open. Changes nothing.')
    .requiredOption('-f, --file <file>', 'Resources as for tctl create.'),
  'text',
  'json',
).action((options) => onServer(async (api) => (await import('./idle.ts')).rehearse(api, options)));
formats(
  idle
    .command('report')
    .description(
      'The evidence: sessions, limits, longest idle stretch, how late cuts were, settings and their changes.',
    )
    .option('--from <time>', 'Date, time (RFC 3339) or how long ago; default 30 days.')
    .option('--to <time>', 'Date, time (RFC 3339) or how long ago; default now.'),
  'text',
  'json',
  'csv',
).action((options) => onServer(async (api) => (await import('./idle.ts')).report(api, options)));

const auth = program.command('auth').description('Certificates for machines, and what targets must trust.');
auth
  .command('sign')
  .description('Make an identity for a machine, a host or a database server.')
  .option('--user <name>', 'User of the identity.')
  .option(
    '--host <names>',
    'Names of the database server (--format=db) or of the host (--format=openssh), with commas.',
  )
  .requiredOption('-o, --out <path>', 'Where to write it.')
  .option(
    '--format <format>',
    'file, openssh, tls, db or kubernetes.',
    oneOf('file', 'openssh', 'tls', 'db', 'kubernetes'),
    'file',
  )
  .option('--ttl <duration>', 'How long it is good.', '12h')
  .option('--kube-cluster-name <name>', 'Cluster that a kubeconfig is for.')
  .option('--proxy <host:port>', 'Address that a kubeconfig names; the public one without it.')
  .option('--overwrite', 'Replace files that are there.', false)
  .action((options) => onServer(async (api) => (await import('./auth.ts')).sign(api, options)));
auth
  .command('export')
  .description('Print public keys of the certificate authorities.')
  .option(
    '--type <type>',
    'user, host, openssh, tls-user, tls-host, db or db-client; the last four with -der at the end: DER in base64.',
    'user',
  )
  .action((options) => onServer(async (api) => (await import('./auth.ts')).exportAuthority(api, options.type)));

formats(
  program
    .command('nodes')
    .description('SSH servers.')
    .command('ls')
    .description('List SSH servers.')
    .argument('[labels]', 'Only those with these labels: env=prod,team=db.'),
  'text',
  'json',
).action((labels, options) =>
  onServer(async (api) => (await import('../common/targets.ts')).printTargets(api, 'nodes', { ...options, labels })),
);

const passwords = program
  .command('desktop')
  .description('Desktops.')
  .command('password')
  .description('Passwords that the gateway keeps for desktops, and puts in on the way.');
passwords
  .command('set <desktop>')
  .description(
    'Keep a password, so that the users of a login need not know it; it is good for the address that the desktop has now.',
  )
  .requiredOption('--login <name>', 'Login on the desktop.')
  .option('--password-fd <n>', 'Read the password from this file descriptor.', wholeNumber)
  .action((desktop, options) =>
    onServer(async (api) => (await import('./desktop-passwords.ts')).keepPassword(api, desktop, options)),
  );
passwords
  .command('rm <desktop>')
  .alias('del')
  .description('Forget a password that is kept.')
  .requiredOption('--login <name>', 'Login on the desktop.')
  .action((desktop, options) =>
    onServer(async (api) => (await import('./desktop-passwords.ts')).forgetPassword(api, desktop, options.login)),
  );
formats(passwords.command('ls').description('List for whom a password is kept; none is shown.'), 'text', 'json').action(
  (options) => onServer(async (api) => (await import('./desktop-passwords.ts')).listPasswords(api, options.format)),
);

formats(
  program
    .command('audit')
    .description('The audit log.')
    .command('query')
    .description('Search the audit log, newest events last.')
    .option('--from <time>', 'Date, time (RFC 3339) or how long ago.')
    .option('--to <time>', 'Date, time (RFC 3339) or how long ago.')
    .option('--event <names>', 'Names of events, with commas.')
    .option('--user <name>', 'Events about a user.')
    .option('--session <id>', 'Events about a session.')
    .option('--limit <n>', 'At most so many, the newest (default 100).', wholeNumber),
  'text',
  'json',
).action((options) => onServer(async (api) => (await import('./audit.ts')).queryAudit(api, options)));

program
  .command('version')
  .description('Print the version.')
  .action(async () => {
    const { versionLine } = await import('../common/version.ts');
    process.stdout.write(`${versionLine()}\n`);
  });

export { program as tctlProgram };
