import { Option, type Command } from 'commander';
import type { L2Type, L3Kind } from '#client';
import { wholeNumber } from '../arguments.js';
import type { Run } from '../run.js';
import { orNotFound } from '../session.js';
import { table } from '../terminal.js';

type Network = Readonly<Record<string, unknown>>;

const L2: Readonly<Record<string, L2Type>> = {
  novlan: 'L2NoVlanNetwork',
  vlan: 'L2VlanNetwork',
  vxlan: 'VxlanNetwork',
};

export function netCommands(program: Command, run: Run): void {
  const net = program.command('net').description('networks: list, define, remove');

  net
    .command('ls')
    .description('list L2 and L3 networks')
    .option('--at <moment>', 'as it was: a position, or a time')
    .option('--limit <n>', 'at most so many', wholeNumber, 10_000)
    .addHelpText('after', '\nExample:\n  vfctl net ls')
    .action(
      run(async (session, _, { at, limit }: { at?: string; limit: number }) => {
        const { items, more, reply } = await session.list<Network>('networks', { at }, limit);
        session.print({ ...reply, networks: items }, () => [
          ...table(
            ['ID', 'LAYER', 'KIND', 'ON', 'VLAN', 'SR-IOV'],
            items.map((one) => [
              one['id'],
              `L${String(one['layer'])}`,
              one['type'] ?? one['kind'],
              one['physicalInterface'] ?? one['l2Id'],
              one['vlanId'],
              one['sriov'] === true ? 'yes' : 'no',
            ]),
            session.paint,
          ),
          ...(more ? ['… and more: raise --limit'] : []),
        ]);
      }),
    );

  net
    .command('l2')
    .description('define an L2 network, or define it anew (NET-1)')
    .argument('<id>')
    .argument('<interface>', 'physical network or bond of the PFs that serve it')
    .addOption(new Option('--type <type>', 'of which kind it is').choices(Object.keys(L2)))
    .option('--vlan <id>', 'its VLAN', wholeNumber)
    .option('--no-sriov', 'without SR-IOV: the next start of a VF NIC on it fails (NET-7)')
    .addHelpText(
      'after',
      '\nExamples:\n  vfctl net l2 l2-9 em2 --vlan 42\n  vfctl net l2 l2-9 em2 --vlan 42 --no-sriov',
    )
    .action(
      run(
        async (
          session,
          [l2Id, physicalInterface],
          options: { type?: string; vlan?: number; sriov: boolean },
        ) => {
          const { vlan: vlanId, sriov, type = vlanId === undefined ? 'novlan' : 'vlan' } = options;
          const client = await session.client();
          const granted = await client.ask('L2NetworkDefined', {
            l2Id: l2Id as string,
            physicalInterface: physicalInterface as string,
            type: L2[type] as L2Type,
            ...(vlanId !== undefined && { vlanId }),
            sriov,
          });
          session.granted(granted, `L2 network ${l2Id} is defined`);
        },
      ),
    );

  net
    .command('l3')
    .description('define an L3 network, or define it anew (NET-2)')
    .argument('<id>')
    .argument('<l2>', 'the L2 network that it is on')
    .addOption(
      new Option('--kind <kind>', 'of which kind it is')
        .choices(['public', 'flat', 'vrouter', 'vpc'])
        .makeOptionMandatory(),
    )
    .option('--no-sriov', 'without SR-IOV')
    .addHelpText('after', '\nExample:\n  vfctl net l3 net-9 l2-9 --kind flat')
    .action(
      run(async (session, [l3Id, l2Id], { kind, sriov }: { kind: string; sriov: boolean }) => {
        const client = await session.client();
        const granted = await client.ask('L3NetworkDefined', {
          l3Id: l3Id as string,
          l2Id: l2Id as string,
          kind: kind as L3Kind,
          sriov,
        });
        session.granted(granted, `L3 network ${l3Id} is defined`);
      }),
    );

  net
    .command('rm')
    .description('remove an L2 or L3 network (NET-8)')
    .argument('<id>')
    .addHelpText('after', '\nExample:\n  vfctl net rm net-9')
    .action(
      run(async (session, [id]) => {
        const client = await session.client();
        session.granted(
          await orNotFound('NETWORK_UNKNOWN', client.ask('NetworkRemovalRequested', { id: id as string })),
          `${id} is removed`,
        );
      }),
    );
}
