import { Option, type Command } from 'commander';
import type { HolderRef, PfView } from '#client';
import type { Run } from '../run.js';
import { wholeNumber } from '../arguments.js';
import { fleetTable, pfTable, plannedRow } from '../tables.js';

interface Impact {
  readonly position: string;
  readonly vms: readonly {
    readonly vmId: string;
    readonly nicIds: readonly string[];
    readonly hosts?: readonly (string | { readonly hostId: string })[];
  }[];
}

export function pfCommands(program: Command, run: Run): void {
  const pf = program.command('pf').description('physical functions: list, split, restore');

  pf.command('ls')
    .description('list PFs: name, model, link, speed, virtualization, available/total')
    .argument('[host]', 'only those of one host')
    .option('--network <name>', 'only those of a physical network or bond')
    .option('--at <moment>', 'as it was: a position, or a time such as 2026-11-24T09:30:00Z')
    .addHelpText(
      'after',
      '\nExamples:\n  vfctl pf ls\n  vfctl pf ls host-1 --json\n  vfctl pf ls --at 2026-11-24T09:30:00Z',
    )
    .action(
      run(async (session, [hostId], { network, at }: { network?: string; at?: string }) => {
        const reply = await session.query<{ pfs: readonly PfView[] }>('availability', {
          hostId,
          physicalNetwork: network,
          at,
        });
        session.print(reply, () =>
          hostId === undefined ? fleetTable(reply.pfs, session.paint) : pfTable(reply.pfs, session.paint),
        );
      }),
    );

  pf.command('split')
    .description('order the split of a PF into VFs (PF-2)')
    .argument('<host>')
    .argument('<pf>', 'its name on the host, or its PCI address in any form')
    .argument('<vfs>', 'how many VFs', wholeNumber)
    .option('--dry-run', 'say what it would lead to, and order nothing; exit code 3 when it would be refused')
    .addHelpText(
      'after',
      '\nExamples:\n  vfctl pf split host-1 em2 32\n  vfctl pf split host-1 0000:82:00.1 32 --dry-run',
    )
    .action(
      run(async (session, [hostId, named, numVfs], { dryRun }: { dryRun?: boolean }) => {
        const address = await session.pf(hostId as string, named as string);
        const data = { hostId: hostId as string, pf: address, numVfs: numVfs as unknown as number };
        if (dryRun === true) {
          const events = await session.plan('PfVirtualizeRequested', data);
          session.print({ events }, () => ['Nothing was done. It would lead to:', ...events.map(plannedRow)]);
          return;
        }
        const client = await session.client();
        const { event, ...granted } = await client.splitPf(data.hostId, address, data.numVfs);
        session.print({ ...granted, outcome: event }, () => [
          `Ordered: ${named} of ${hostId} is to be split into ${data.numVfs} VFs (position ${granted.position}). The host does it.`,
          ...(event.data.warnings ?? []).map((warning) => `Warning: ${warning}`),
        ]);
      }),
    );

  pf.command('restore')
    .description('order the VFs of a PF away (PF-4); VMs that use them lose them')
    .argument('<host>')
    .argument('<pf>', 'its name on the host, or its PCI address in any form')
    .option('--dry-run', 'say who would lose a VF, and order nothing; exit code 3 when it would be refused')
    .addOption(
      new Option('--on-busy <what>', 'reject: refuse when VFs are in use; else what the policy says').choices(
        ['unload', 'reject'],
      ),
    )
    .option('-y, --yes', 'do not ask, also when VFs are in use')
    .addHelpText(
      'after',
      '\nWith VFs in use it lists who loses them and asks first. Without a terminal it refuses, unless --yes is said.' +
        '\n\nExamples:\n  vfctl pf restore host-1 em2 --dry-run\n  vfctl pf restore host-1 em2\n  vfctl pf restore host-1 em2 --yes',
    )
    .action(
      run(
        async (
          session,
          [hostId, named],
          { dryRun, onBusy, yes }: { dryRun?: boolean; onBusy?: 'unload' | 'reject'; yes?: boolean },
        ) => {
          const address = await session.pf(hostId as string, named as string);
          const request = { hostId: hostId as string, pf: address, onBusy };
          // `reject` takes nothing from anybody.
          const asks = yes !== true && onBusy !== 'reject';
          // Nobody is told of victims, or asked, where it would be refused.
          const events = dryRun === true || asks ? await session.plan('PfRestoreRequested', request) : [];
          const impact = await session.query<Impact>('restore-impact', request);
          const victims = impact.vms.map(victim);
          if (dryRun === true) {
            session.print({ ...impact, events }, () =>
              victims.length === 0
                ? ['Nothing was done. No VM would lose a VF.']
                : [`Nothing was done. ${sentence(victims.length)}:`, ...victims],
            );
            return;
          }
          if (victims.length > 0 && asks) {
            await session.confirm(`${sentence(victims.length)}:\n${victims.join('\n')}`, yes);
          }
          const client = await session.client();
          const { event, ...granted } = await client.restorePf(hostId as string, address, { onBusy });
          const decided = await client.decision(granted).catch(() => []);
          const released = decided
            .filter(({ type }) => type === 'VfReleased')
            .map(({ data }) => data as HolderRef);
          session.print({ ...granted, outcome: event, events: decided }, () => [
            `Ordered: the VFs of ${named} on ${hostId} are to go (position ${granted.position}). The host does it.`,
            ...released.map(({ vmId, nicId, vf }) => `  ${vmId} has lost ${vf} (${nicId})`),
          ]);
        },
      ),
    );

  pf.command('cordon')
    .description('keep a PF from new allocations (HOST-6)')
    .argument('<host>')
    .argument('<pf>', 'its name on the host, or its PCI address in any form')
    .option('--off', 'let it serve again')
    .addHelpText('after', '\nExamples:\n  vfctl pf cordon host-1 em2\n  vfctl pf cordon host-1 em2 --off')
    .action(
      run(async (session, [hostId, named], { off }: { off?: boolean }) => {
        const address = await session.pf(hostId as string, named as string);
        const data = { hostId: hostId as string, pf: address, cordoned: off !== true };
        session.granted(
          await (await session.client()).ask('PfCordoned', data),
          off === true ? 'It serves again' : 'Cordoned',
        );
      }),
    );

  pf.command('accept')
    .description('accept other hardware at a known address (PF-9)')
    .argument('<host>')
    .argument('<pf>', 'its name on the host, or its PCI address in any form')
    .addHelpText('after', '\nExample:\n  vfctl pf accept host-1 em2')
    .action(
      run(async (session, [hostId, named]) => {
        const data = { hostId: hostId as string, pf: await session.pf(hostId as string, named as string) };
        session.granted(await (await session.client()).ask('PfAccepted', data), 'Accepted');
      }),
    );
}

const sentence = (count: number): string =>
  count === 1 ? 'One VM loses its VFs there' : `${count} VMs lose their VFs there`;

const victim = ({ vmId, nicIds, hosts = [] }: Impact['vms'][number]): string => {
  const names = hosts.map((host) => (typeof host === 'string' ? host : host.hostId));
  const where =
    names.length === 0 ? 'no other host could take it' : `could go to ${names.slice(0, 5).join(', ')}`;
  return `  ${vmId}: ${nicIds.join(', ')} (${where})`;
};
