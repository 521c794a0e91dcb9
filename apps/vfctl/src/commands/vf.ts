import { Option, type Command } from 'commander';
import { wholeNumber } from '../arguments.js';
import type { VfView } from '#client';
import type { Run } from '../run.js';
import { addressOf } from '../session.js';
import { table } from '../terminal.js';

interface Tenant {
  readonly vmId: string;
  readonly nicId: string;
  readonly tenant?: string;
  readonly mac: string;
  readonly from: string;
  readonly to?: string;
  readonly reason?: string;
}

export function vfCommands(program: Command, run: Run): void {
  const vf = program.command('vf').description('virtual functions: list, who holds one, who ever held it');

  vf.command('ls')
    .description('list the VFs of a host')
    .argument('<host>')
    .option('--pf <pf>', 'only those of one PF')
    .addOption(
      new Option('--state <state>', 'only those in this state').choices([
        'free',
        'pending',
        'allocated',
        'scrubbing',
        'quarantined',
        'unavailable',
        'unknown',
      ]),
    )
    .option('--at <moment>', 'as it was: a position, or a time')
    .option('--limit <n>', 'at most so many', wholeNumber, 1000)
    .addHelpText('after', '\nExamples:\n  vfctl vf ls host-1\n  vfctl vf ls host-1 --pf em2 --state free')
    .action(
      run(async (session, [hostId], options: { pf?: string; state?: string; at?: string; limit: number }) => {
        const { pf, state, at, limit } = options;
        const address = pf === undefined ? undefined : await session.pf(hostId as string, pf);
        const { items, more, reply } = await session.list<VfView>(
          'vfs',
          { hostId, pf: address, state, at },
          limit,
        );
        session.print({ ...reply, vfs: items }, () => [
          ...table(
            ['VF', 'PF', 'STATE', 'VM', 'NIC', 'MAC', 'VLAN'],
            items.map((one) => [
              one.vf,
              one.pf,
              one.state,
              one.holder?.vmId,
              one.holder?.nicId,
              one.mac,
              one.vlanId,
            ]),
            session.paint,
          ),
          ...(more ? [`… and more: raise --limit`] : []),
        ]);
      }),
    );

  vf.command('who')
    .description('who holds a VF, now or at a moment')
    .argument('<host>')
    .argument('<vf>', 'its PCI address in any form')
    .option('--at <moment>', 'as it was: a position, or a time')
    .addHelpText(
      'after',
      '\nExamples:\n  vfctl vf who host-1 0000:82:10.1\n  vfctl vf who host-1 pci_0000_82_10_1 --at 2026-11-24T09:30:00Z',
    )
    .action(
      run(async (session, [hostId, text], { at }: { at?: string }) => {
        const reply = await session.query<{ vf: VfView }>('vf', {
          hostId,
          vf: addressOf(text as string),
          at,
        });
        const { state, holder, mac, vlanId } = reply.vf;
        session.print(reply, () => [
          holder === undefined
            ? `${reply.vf.vf} on ${hostId}: ${state}, nobody holds it`
            : `${reply.vf.vf} on ${hostId}: ${holder.vmId}, ${holder.nicId} (${state}, MAC ${mac}${vlanId === undefined ? '' : `, VLAN ${vlanId}`}, allocation ${holder.allocationId})`,
        ]);
      }),
    );

  vf.command('history')
    .description('every holder that a VF ever had')
    .argument('<host>')
    .argument('<vf>', 'its PCI address in any form')
    .addHelpText('after', '\nExample:\n  vfctl vf history host-1 0000:82:10.1')
    .action(
      run(async (session, [hostId, text]) => {
        const reply = await session.query<{ tenants: readonly Tenant[] }>('tenants', {
          hostId,
          vf: addressOf(text as string),
        });
        session.print(reply, () =>
          table(
            ['VM', 'NIC', 'TENANT', 'MAC', 'FROM', 'TO', 'REASON'],
            reply.tenants.map((one) => [
              one.vmId,
              one.nicId,
              one.tenant,
              one.mac,
              one.from,
              one.to,
              one.reason,
            ]),
            session.paint,
          ),
        );
      }),
    );
}
