import { Option, type Command } from 'commander';
import type { HostView } from '#client';
import { wholeNumber } from '../arguments.js';
import type { Run } from '../run.js';
import { orNotFound } from '../session.js';
import { pfTable } from '../tables.js';
import { table } from '../terminal.js';

interface HostRow {
  readonly hostId: string;
  readonly state: string;
  readonly vms: number;
  readonly pfs: number;
  readonly free: number;
  readonly total: number;
  readonly drifts: number;
}

export function hostCommands(program: Command, run: Run): void {
  const host = program.command('host').description('hosts: list, show, cordon, fence, remove');

  host
    .command('ls')
    .description('list hosts')
    .addOption(
      new Option('--state <state>', 'only those in this state').choices([
        'ready',
        'not-ready',
        'cordoned',
        'lost',
        'fenced',
      ]),
    )
    .option('--at <moment>', 'as it was: a position, or a time')
    .option('--limit <n>', 'at most so many', wholeNumber, 10_000)
    .addHelpText('after', '\nExamples:\n  vfctl host ls\n  vfctl host ls --state lost --json')
    .action(
      run(async (session, _, { state, at, limit }: { state?: string; at?: string; limit: number }) => {
        const { items, more, reply } = await session.list<HostRow>('hosts', { state, at }, limit);
        session.print({ ...reply, hosts: items }, () => [
          ...table(
            ['HOST', 'STATE', 'VMS', 'PFS', 'AVAILABLE/TOTAL', 'DRIFTS'],
            items.map((one) => [
              one.hostId,
              one.state,
              one.vms,
              one.pfs,
              `${one.free}/${one.total}`,
              one.drifts,
            ]),
            session.paint,
          ),
          ...(more ? ['… and more: raise --limit'] : []),
        ]);
      }),
    );

  host
    .command('show')
    .description('show a host with its PFs, VMs, and what is not as it should be')
    .argument('<host>')
    .option('--at <moment>', 'as it was: a position, or a time')
    .addHelpText('after', '\nExample:\n  vfctl host show host-1')
    .action(
      run(async (session, [hostId], { at }: { at?: string }) => {
        const reply = await session.query<{ host: HostView }>('host', { hostId, at });
        const { host: found } = reply;
        const { enabled, ready } = found.iommu;
        session.print(reply, () => [
          `${found.hostId}: ${found.state}, boot ${found.bootId}, IOMMU ${enabled ? (ready ? 'ready' : 'enabled, not ready') : 'off'}`,
          `last report: seq ${found.lastSeq}, ${found.lastReportAt}`,
          `VMs: ${found.vms.length === 0 ? '-' : found.vms.join(' ')}`,
          ...pfTable(found.pfs, session.paint),
          ...found.drifts.map((drift) => `drift: ${JSON.stringify(drift)}`),
        ]);
      }),
    );

  host
    .command('cordon')
    .description('keep a host from new allocations (HOST-6)')
    .argument('<host>')
    .option('--off', 'let it serve again')
    .addHelpText('after', '\nExamples:\n  vfctl host cordon host-1\n  vfctl host cordon host-1 --off')
    .action(
      run(async (session, [hostId], { off }: { off?: boolean }) => {
        const client = await session.client();
        const granted = await client.cordonHost(hostId as string, off !== true);
        session.granted(granted, off === true ? `${hostId} serves again` : `${hostId} is cordoned`);
      }),
    );

  host
    .command('fence')
    .description('declare that nothing runs on a host any more (HOST-5): its allocations are released')
    .argument('<host>')
    .option('-y, --yes', 'do not ask')
    .addHelpText('after', '\nExample:\n  vfctl host fence host-1')
    .action(
      run(async (session, [hostId], { yes }: { yes?: boolean }) => {
        const { host: found } = await session.query<{ host: HostView }>('host', { hostId });
        const held =
          found.vms.length === 0 ? 'It has no VMs.' : `Its VMs lose their VFs: ${found.vms.join(' ')}.`;
        await session.confirm(
          `Fencing ${hostId} says that it is off or cut off for certain. ${held} If one still runs, two VMs may use one VF.`,
          yes,
        );
        const client = await session.client();
        session.granted(await client.ask('HostFenced', { hostId: hostId as string }), `${hostId} is fenced`);
      }),
    );

  host
    .command('rm')
    .description('remove a host (HOST-8)')
    .argument('<host>')
    .addHelpText(
      'after',
      '\nIt is refused while VFs are held there, with who holds them.\n\nExample:\n  vfctl host rm host-1',
    )
    .action(
      run(async (session, [hostId]) => {
        const client = await session.client();
        session.granted(
          await orNotFound('HOST_UNKNOWN', client.ask('HostRemovalRequested', { hostId: hostId as string })),
          `${hostId} is removed`,
        );
      }),
    );

  program
    .command('release')
    .description('end an allocation that nobody else ends (VM-17)')
    .argument('<host>')
    .argument('<allocation>', 'its id, as `vm show` tells it')
    .requiredOption('--reason <text>', 'why: it is kept')
    .option('-y, --yes', 'do not ask')
    .addHelpText(
      'after',
      "\nExample:\n  vfctl release host-1 a12-9f3c2b1e --reason 'VM was lost with its disk'",
    )
    .action(
      run(async (session, [hostId, allocationId], { reason, yes }: { reason: string; yes?: boolean }) => {
        const request = { hostId: hostId as string, allocationId: allocationId as string, reason };
        if (yes !== true) await session.plan('AllocationReleaseRequested', request);
        await session.confirm(
          `The VF of allocation ${allocationId} on ${hostId} goes to somebody else. If its VM still runs, two VMs may use one VF.`,
          yes,
        );
        const client = await session.client();
        session.granted(await client.releaseAllocation(request), 'Released');
      }),
    );
}
