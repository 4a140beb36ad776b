// The commands of tsh. What a command needs is loaded when it runs, so that help is at once there.
import type { Command } from 'commander';
import { createCommand, oneOf, wholeNumber } from '../common/program.ts';
import type { GlobalOptions } from './sign-in.ts';

const program = createCommand('tsh', 'Sign in to a Nightlatch cluster and reach what your roles allow.')
  .option('--proxy <host:port>', 'Address of the cluster; without it, the one you signed in to last.')
  .option('--user <name>', 'Your user name; without it, your name on this computer.')
  .option('-i, --identity <file>', 'Identity file made with tctl auth sign, instead of a sign-in.')
  .option('--insecure', 'Do not check the certificate of the server.')
  .enablePositionalOptions();

const globals = (): GlobalOptions => program.opts<GlobalOptions>();

/** Options that stand before or after the command's name. */
function own(options: GlobalOptions): GlobalOptions {
  return { ...globals(), ...options };
}

function connection(command: Command): Command {
  return command
    .option('--proxy <host:port>', 'Address of the cluster.')
    .option('--user <name>', 'Your user name.')
    .option('--insecure', 'Do not check the certificate of the server.');
}

function format(command: Command): Command {
  return command.option('-f, --format <format>', 'Output format: text, json.', oneOf('text', 'json'), 'text');
}

connection(program.command('login'))
  .description('Sign in and keep short-lived certificates.')
  .option('--ttl <duration>', 'How long the certificates are to last; roles shorten it. A bare number is minutes.')
  .option('--ca-pin <pin>', 'Pin of the cluster’s CA, as tctl status prints it: sha256:…')
  .option('--password-fd <n>', 'Read the password from this file descriptor.', wholeNumber)
  .option('--otp-fd <n>', 'Read the one-time code from this file descriptor.', wholeNumber)
  .action(async (options) => {
    const { login, parseTtl } = await import('./login.ts');
    const { ttl, ...rest } = options as GlobalOptions & { ttl?: string };
    await login({ ...own(rest), ...(ttl === undefined ? {} : { ttlMs: parseTtl(ttl) }) });
  });

program
  .command('logout')
  .description('Forget certificates: of one cluster with --proxy, else of all.')
  .option('--proxy <host:port>', 'Address of the cluster.')
  .action(async (options) => (await import('./login.ts')).logout(own(options)));

format(connection(program.command('status')))
  .description('Show who you are signed in as, until when, and the idle timeout that applies to you.')
  .action(async (options) => (await import('./status.ts')).status(own(options)));

format(connection(program.command('ls')))
  .description('List the SSH servers you may reach.')
  .argument('[labels]', 'Only those with these labels: env=prod,team=db.')
  .action(async (labels, options) => {
    const { listTargets } = await import('./targets.ts');
    await listTargets(own(options), 'nodes', { ...options, labels });
  });

// The arguments of ssh and scp are theirs: taken apart by tsh/ssh-arguments.ts as they were typed, a `--` among them.
function passThrough(name: string, description: string, run: (args: readonly string[]) => Promise<void>): void {
  program
    .command(name)
    .description(description)
    .argument('[args...]')
    .helpOption(false)
    .allowUnknownOption()
    .passThroughOptions()
    .action(() => run(program.args.slice(1)));
}

passThrough('ssh', 'Run a shell or a command on a node: tsh ssh [flags of ssh] [login@]node [command].', async (args) =>
  (await import('./ssh.ts')).ssh(globals(), args),
);

passThrough('scp', 'Copy files to or from a node: tsh scp [flags of scp] source... destination.', async (args) =>
  (await import('./ssh.ts')).scp(globals(), args),
);

connection(program.command('config'))
  .description('Print what to append to ~/.ssh/config, so that plain ssh reaches NODE.CLUSTER.')
  .action(async (options) => (await import('./ssh.ts')).config(own(options)));

const proxy = program.command('proxy').description('Carry connections of other programs to a target.');
connection(proxy.command('ssh'))
  .description('Standard input and output become the SSH stream to a node (ProxyCommand).')
  .argument('<target>', '[LOGIN@]NODE[:PORT], as ssh fills it in: %r@%h:%p')
  .option('--cluster <name>', 'Name of the cluster, refused where you are signed in to another one.')
  .action(async (target, options) => (await import('./proxy-ssh.ts')).proxySsh(own(options), target, options.cluster));

function database(command: Command): Command {
  return connection(command)
    .option('--db-user <name>', 'Database user; without it, the only one your roles allow.')
    .option('--db-name <name>', 'Database on the server.');
}

database(proxy.command('db <name>'))
  .description('Open a port on this computer for programs that know nothing of tsh.')
  .option('--tunnel', 'Bring the certificate along: programs connect without TLS and password.', false)
  .option('-p, --port <n>', 'Port on 127.0.0.1; a free one without it.', wholeNumber, 0)
  .action(async (name, options) => (await import('./database-commands.ts')).proxyDb(own(options), name, options));

const db = program.command('db').description('Databases.');
format(connection(db.command('ls')))
  .description('List the databases you may reach.')
  .argument('[labels]', 'Only those with these labels: env=prod,team=db.')
  .action(async (labels, options) => {
    const { listTargets } = await import('./targets.ts');
    await listTargets(own(options), 'databases', { ...options, labels });
  });
database(db.command('login <name>'))
  .description('Get a certificate for a database, and write what its clients need to find it.')
  .action(async (name, options) => (await import('./database-commands.ts')).dbLogin(own(options), name, options));
connection(db.command('logout [name]'))
  .description('Forget the certificate for a database, or for all.')
  .action(async (name, options) => (await import('./database-commands.ts')).dbLogout(own(options), name));
database(db.command('connect <name> [args...]'))
  .description('Run psql, mariadb or redis-cli; what stands behind -- goes to it.')
  .action(async (name, args, options) =>
    (await import('./database-commands.ts')).dbConnect(own(options), name, options, args),
  );
database(db.command('env <name>'))
  .description('Print variables for a shell: eval "$(tsh db env NAME)".')
  .action(async (name, options) => (await import('./database-commands.ts')).dbEnv(own(options), name, options));
database(db.command('config <name>'))
  .description('Print what to type into a graphical client.')
  .option('-f, --format <format>', 'Output format: text, json, cmd.', oneOf('text', 'json', 'cmd'), 'text')
  .action(async (name, options) => (await import('./database-commands.ts')).dbConfig(own(options), name, options));

const kube = program.command('kube').description('Kubernetes clusters.');
format(connection(kube.command('ls')))
  .description('List the Kubernetes clusters you may reach.')
  .argument('[labels]', 'Only those with these labels: env=prod,team=db.')
  .action(async (labels, options) => {
    const { listTargets } = await import('./targets.ts');
    await listTargets(own(options), 'kube-clusters', { ...options, labels });
  });
connection(kube.command('login <cluster>'))
  .description('Make kubectl reach a cluster: adds a context to your kubeconfig.')
  .option('-n, --kube-namespace <name>', 'Namespace of the context.')
  .action(async (cluster, options) => (await import('./kube.ts')).kubeLogin(own(options), cluster, options));
connection(kube.command('logout'))
  .description('Remove what tsh kube login has added to your kubeconfig.')
  .action(async (options) => (await import('./kube.ts')).kubeLogout(own(options)));
connection(kube.command('credentials'))
  .description('Print credentials for kubectl, which calls this by itself.')
  .requiredOption('--kube-cluster <name>', 'Name of the cluster.')
  .action(async (options) => (await import('./kube.ts')).kubeCredentials(own(options), options.kubeCluster));
kube
  .command('exec')
  .description('As kubectl exec.')
  .argument('[args...]')
  .helpOption(false)
  .allowUnknownOption()
  .action(async () => (await import('./kube.ts')).kubectl(program.args.slice(1)));

passThrough('kubectl', 'Run kubectl: tsh kubectl [arguments of kubectl].', async (args) =>
  (await import('./kube.ts')).kubectl(args),
);

const desktop = program.command('desktop').description('Desktops.');
format(connection(desktop.command('ls')))
  .description('List the desktops you may reach.')
  .argument('[labels]', 'Only those with these labels: env=prod,team=db.')
  .action(async (labels, options) => {
    const { listTargets } = await import('./targets.ts');
    await listTargets(own(options), 'desktops', { ...options, labels });
  });

connection(desktop.command('open <name>'))
  .description('Open a desktop in the browser, signed in as you are here.')
  .option('-l, --login <name>', 'Login on the desktop; without it, the only one your roles allow.')
  .option('--print', 'Print the address instead of opening it; it is good for a minute, once.', false)
  .action(async (name, options) => (await import('./desktop.ts')).openDesktop(own(options), name, options));

const sessions = program.command('sessions').description('Your own live sessions.');
format(connection(sessions.command('ls')))
  .description('List your live sessions, and when each ends.')
  .action(async (options) => (await import('./sessions.ts')).listSessions(own(options), options.format));

program
  .command('invite <url>')
  .description('Accept an invitation: set a password and a second factor.')
  .option('--insecure', 'Do not check the certificate of the server.')
  .option('--ca-pin <pin>', 'Pin of the cluster’s CA, as tctl status prints it: sha256:…')
  .option('--password-fd <n>', 'Read the new password from this file descriptor.', wholeNumber)
  .option('--otp-fd <n>', 'Print the otpauth URI, and read the first code from this file descriptor.', wholeNumber)
  .action(async (url, options) => (await import('./invite.ts')).invite(url, { ...globals(), ...options }));

program
  .command('version')
  .description('Print the version.')
  .action(async () => {
    const { versionLine } = await import('../common/version.ts');
    process.stdout.write(`${versionLine()}\n`);
  });

export { program as tshProgram };
