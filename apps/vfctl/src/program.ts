import { Argument, Command, CommanderError } from 'commander';
import { VfError, VfRefusal } from '#client';
import { seconds } from './arguments.js';
import { askCommands } from './commands/ask.js';
import { auditCommands } from './commands/audit.js';
import { deadCommands, eventCommands } from './commands/events.js';
import { hostCommands } from './commands/host.js';
import { netCommands } from './commands/net.js';
import { pfCommands } from './commands/pf.js';
import { vfCommands } from './commands/vf.js';
import { vmCommands } from './commands/vm.js';
import { completionScript } from './completion.js';
import { Ended, EXIT, EXIT_HELP, exitCodeOf, UsageError } from './exit-codes.js';
import type { Run } from './run.js';
import { Session, type GlobalOptions } from './session.js';
import type { Terminal } from './terminal.js';

const EXAMPLES = `
Where it asks: --server, else VFCTL_NATS_URL and VFCTL_HTTP_URL, else nats://127.0.0.1:4222 and http://127.0.0.1:8080.
Which cluster: --cluster, else VFCTL_CLUSTER, else default.

Examples:
  vfctl pf ls                                   what there is
  vfctl pf split host-1 em2 32                  split a PF
  vfctl vm start vm-7 --nic nic-0=em2           take a VF for a VM
  vfctl vm show vm-7 --libvirt                  what libvirt needs
  vfctl vm explain vm-33                        why a start failed
  vfctl vf who host-1 0000:82:10.1 --at 2026-11-24T09:30:00Z
  vfctl pf restore host-1 em2 --dry-run         who would lose a VF
  vfctl events --follow                         what is decided

${EXIT_HELP}
`;

/**
 * Runs vfctl.
 *
 * @param words what was typed after the name.
 * @returns the exit code.
 */
export async function runVfctl(words: readonly string[], terminal: Terminal, version = ''): Promise<number> {
  const program = new Command('vfctl');
  let session: Session | undefined;
  const run: Run =
    (action) =>
    async (...args) => {
      // Commander gives the arguments, the options, and the command.
      const options = args.at(-2);
      session = new Session(terminal, program.opts<GlobalOptions>());
      await action(session, args.slice(0, -2) as string[], options as never);
    };
  program
    .description('See and command the VF scheduler: who has which VF, who had it, and why')
    .version(version, '-V, --version')
    .option(
      '-s, --server <url>',
      'nats://… or http://…; can be said for each',
      (url: string, before: readonly string[] = []) => [...before, url],
    )
    .option('-c, --cluster <name>', 'the cluster; default')
    .option('--creds <file>', 'NATS credentials')
    .option('--timeout <seconds>', 'how long to wait for an answer', seconds, 10)
    .option('--json', 'print JSON, for programs')
    .showHelpAfterError('(add --help for what there is)')
    .showSuggestionAfterError()
    .addHelpText('after', EXAMPLES);
  pfCommands(program, run);
  vfCommands(program, run);
  vmCommands(program, run);
  hostCommands(program, run);
  netCommands(program, run);
  askCommands(program, run);
  auditCommands(program, run);
  eventCommands(program, run);
  deadCommands(program, run);
  program
    .command('completion')
    .description('print a script that completes commands')
    .addArgument(new Argument('<shell>').choices(['bash', 'zsh']))
    .addHelpText(
      'after',
      '\nExamples:\n  source <(vfctl completion bash)\n  vfctl completion zsh > ~/.zfunc/_vfctl',
    )
    .action((shell: 'bash' | 'zsh') => terminal.out(completionScript(shell, program)));
  // It must be known before the words are read: what is wrong with them is JSON too.
  const json = wantsJson(words);
  configure(program, terminal, json);
  try {
    if (words.every((word) => word === '--json')) {
      if (json) say(new UsageError(NO_COMMAND), terminal, json);
      else program.outputHelp();
      return EXIT.usage;
    }
    await program.parseAsync([...words], { from: 'user' });
    return EXIT.ok;
  } catch (error) {
    if (error instanceof CommanderError) {
      // Help that was asked for is no mistake.
      const asked = error.code === 'commander.helpDisplayed' || error.code === 'commander.version';
      if (asked || error.exitCode === 0) return EXIT.ok;
      if (json) say(new UsageError(sentenceOf(error)), terminal, json);
      return EXIT.usage;
    }
    say(error, terminal, json);
    return exitCodeOf(error);
  } finally {
    await session?.close();
  }
}

/** Every command writes where the terminal is, throws instead of ending the process, and takes global options anywhere. */
function configure(command: Command, terminal: Terminal, json: boolean): void {
  command.exitOverride().configureOutput({
    writeOut: (text) => terminal.out(text),
    writeErr: (text) => {
      if (!json) terminal.err(text);
    },
  });
  for (const one of command.commands) {
    if (one.commands.length > 0) {
      const names = one.commands.map((below) => below.name());
      one.addHelpText(
        'after',
        `\nExamples:\n${names.map((name) => `  vfctl ${one.name()} ${name} --help`).join('\n')}`,
      );
    }
    configure(one, terminal, json);
  }
}

const NO_COMMAND = 'say a command: --help tells which there are';

const wantsJson = (words: readonly string[]): boolean => {
  const end = words.indexOf('--');
  return (end === -1 ? words : words.slice(0, end)).includes('--json');
};

/** What commander found wrong, without its own prefix; help that it showed instead is no sentence. */
const sentenceOf = ({ code, message }: CommanderError): string =>
  code === 'commander.help' ? NO_COMMAND : message.replace(/^error: /, '');

function say(error: unknown, terminal: Terminal, json: boolean): void {
  if (error instanceof Ended) return;
  if (json) {
    const message = error instanceof Error ? error.message : String(error);
    const said =
      error instanceof VfError
        ? { code: error.code, message, facts: error.facts }
        : { code: error instanceof UsageError ? 'USAGE' : 'DEFECT', message };
    terminal.err(`${JSON.stringify({ error: said })}\n`);
    return;
  }
  if (error instanceof UsageError) {
    terminal.err(`vfctl: ${error.message}\n`);
    return;
  }
  if (error instanceof VfRefusal) {
    terminal.err(`vfctl: refused, ${error.code}: ${error.message}\n`);
    for (const { vmId, nicId, vf } of error.facts.holders ?? [])
      terminal.err(`  held by ${vmId}, ${nicId}${vf === undefined ? '' : ` (${vf})`}\n`);
    return;
  }
  if (error instanceof VfError) {
    terminal.err(`vfctl: ${error.message}${/[.!?]$/.test(error.message) ? '' : ` (${error.code})`}\n`);
    return;
  }
  terminal.err(
    `vfctl: a defect, please report it: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
  );
}
