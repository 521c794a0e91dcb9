import { Option, type Command } from 'commander';
import { VfError, type NicSpec, type OutgoingEvent, type VmView } from '#client';
import { wholeNumber } from '../arguments.js';
import { Ended, EXIT, UsageError } from '../exit-codes.js';
import { interfaceXml } from '../libvirt.js';
import type { Run } from '../run.js';
import type { Session } from '../session.js';
import { plannedRow } from '../tables.js';
import { oneLine, table } from '../terminal.js';

interface VmRow extends VmView {
  readonly tenant?: string;
}

const nicLines = (vm: VmView, session: Session): readonly string[] =>
  table(
    ['NIC', 'TYPE', 'STATE', 'MAC', 'NETWORK', 'VF', 'VLAN', 'GUEST SLOT', 'ALLOCATION'],
    vm.nics.map((nic) => [
      nic.nicId,
      nic.type,
      nic.state,
      nic.mac,
      nic.networkId ?? nic.physicalNetwork,
      nic.vf,
      nic.vlanId,
      nic.guestSlot,
      nic.allocationId,
    ]),
    session.paint,
  );

const severalNics = (text: string, before: readonly NicSpec[] = []): readonly NicSpec[] => [
  ...before,
  ...text.split(',').map(nicOf),
];

/** `nic-0`, `nic-0=network:net-9`, `nic-1=em2`. */
function nicOf(text: string): NicSpec {
  const [, nicId = '', kind, network] = /^([A-Za-z0-9_-]{1,64})(?:=(network:)?(.+))?$/.exec(text) ?? [];
  if (nicId === '')
    throw new UsageError(`a NIC is not '${text}': say a name, name=physical-network or name=network:id`);
  if (network === undefined) return { nicId };
  return kind === undefined ? { nicId, physicalNetwork: network } : { nicId, networkId: network };
}

export function vmCommands(program: Command, run: Run): void {
  const vm = program.command('vm').description('virtual machines: list, show, explain, start, stop');

  vm.command('ls')
    .description('list VMs')
    .option('--host <host>', 'only those on one host')
    .option('--tenant <tenant>', 'only those of one tenant')
    .addOption(
      new Option('--state <state>', 'only those in this state').choices(['pending', 'running', 'stopped']),
    )
    .option('--at <moment>', 'as it was: a position, or a time')
    .option('--limit <n>', 'at most so many', wholeNumber, 1000)
    .addHelpText('after', '\nExamples:\n  vfctl vm ls --host host-1\n  vfctl vm ls --state pending --json')
    .action(
      run(
        async (
          session,
          _,
          options: { host?: string; tenant?: string; state?: string; at?: string; limit: number },
        ) => {
          const { host, tenant, state, at, limit } = options;
          const { items, more, reply } = await session.list<VmRow>(
            'vms',
            { hostId: host, tenant, state, at },
            limit,
          );
          session.print({ ...reply, vms: items }, () => [
            ...table(
              ['VM', 'STATE', 'HOST', 'TENANT', 'VFS', 'NICS', 'MIGRATABLE'],
              items.map((one) => [
                one.vmId,
                one.state,
                one.hostId,
                one.tenant,
                one.nics.filter((nic) => nic.vf !== undefined).length,
                one.nics.length,
                one.migratable ? 'yes' : 'no',
              ]),
              session.paint,
            ),
            ...(more ? ['… and more: raise --limit'] : []),
          ]);
        },
      ),
    );

  vm.command('show')
    .description('show a VM and its NICs')
    .argument('<vm>')
    .option('--at <moment>', 'as it was: a position, or a time')
    .option('--libvirt', "print the <interface type='hostdev'> of each NIC that holds a VF")
    .addHelpText(
      'after',
      '\nExamples:\n  vfctl vm show vm-7\n  vfctl vm show vm-7 --libvirt\n  vfctl vm show vm-7 --at 1200',
    )
    .action(
      run(async (session, [vmId], { at, libvirt }: { at?: string; libvirt?: boolean }) => {
        const reply = await session.query<{ vm: VmView }>('vm', { vmId, at });
        const { vm: found } = reply;
        if (libvirt === true) {
          const interfaces = found.nics.flatMap((nic) => {
            const xml = interfaceXml(nic);
            return xml === undefined ? [] : [{ nicId: nic.nicId, xml }];
          });
          if (interfaces.length === 0 && session.options.json !== true)
            session.note(`${vmId} holds no VF: there is nothing for libvirt`);
          session.print({ vmId, interfaces }, () => interfaces.map(({ xml }) => xml));
          return;
        }
        session.print(reply, () => [
          `${found.vmId}: ${found.state}${found.hostId === undefined ? '' : ` on ${found.hostId}`}` +
            `${found.tenant === undefined ? '' : `, tenant ${found.tenant}`}` +
            `, memory ${found.memoryPinned ? 'pinned' : 'not pinned'}, ${found.migratable ? 'can' : 'cannot'} migrate live`,
          ...(found.overdueSince === undefined ? [] : [`not reported started since ${found.overdueSince}`]),
          ...(found.nics.length === 0 ? [] : nicLines(found, session)),
        ]);
      }),
    );

  vm.command('explain')
    .description('why the last start of a VM had the outcome that it had')
    .argument('[vm]')
    .option('--id <id>', 'explain this request instead, by its id')
    .addHelpText(
      'after',
      '\nExit code 7 when the same decider decides otherwise now.\n\nExamples:\n  vfctl vm explain vm-33\n  vfctl vm explain --id start-vm-33',
    )
    .action(
      run(async (session, [vmId], { id }: { id?: string }) => {
        if ((vmId === undefined) === (id === undefined)) throw new UsageError('say a VM, or --id');
        const request = id ?? (await lastStart(session, vmId as string));
        const reply = await session.query<Explanation>('explain', { id: request });
        session.print(reply, () => explained(reply, session));
        if (ALARMING.has(reply.again?.code ?? '')) throw new Ended(EXIT.damaged);
      }),
    );

  vm.command('start')
    .description('take a VF for each VF NIC, all on one host, or none (VM-1)')
    .argument('<vm>')
    .addOption(
      new Option(
        '--nic <nic>',
        'a NIC: name, name=physical-network, or name=network:id; several times',
      ).argParser(severalNics),
    )
    .option('--host <host>', 'on this host only')
    .option('--tenant <tenant>')
    .option('--id <id>', 'the id of the request: the same again has the same outcome')
    .addHelpText(
      'after',
      '\nWithout --nic a VM that was there before starts with the NICs it had.' +
        '\n\nExamples:\n  vfctl vm start vm-7 --nic nic-0=em2\n  vfctl vm start vm-7 --nic nic-0=network:net-9 --host host-1',
    )
    .action(
      run(
        async (
          session,
          [vmId],
          {
            nic,
            host,
            tenant,
            id,
          }: { nic?: readonly NicSpec[]; host?: string; tenant?: string; id?: string },
        ) => {
          const client = await session.client();
          const started = await client.startVm(
            vmId as string,
            {
              ...(nic !== undefined && { nics: nic }),
              ...(host !== undefined && { hostId: host }),
              ...(tenant !== undefined && { tenant }),
            },
            { ...(id !== undefined && { id }), signal: session.terminal.signal },
          );
          session.print(started, () => [
            `${vmId} may start on ${started.hostId} (position ${started.position})`,
            ...started.allocations.map(
              ({ nicId, vf, mac, vlanId }) =>
                `  ${nicId}: ${vf}, MAC ${mac}${vlanId === undefined ? '' : `, VLAN ${vlanId}`}`,
            ),
            ...(started.warnings ?? []).map((warning) => `Warning: ${warning}`),
          ]);
        },
      ),
    );

  vm.command('stop')
    .description('say that a VM has stopped: its VFs are released (VM-3)')
    .argument('<vm>')
    .option('--reason <text>')
    .addHelpText(
      'after',
      '\nIt stops no VM: it tells the scheduler.\n\nExample:\n  vfctl vm stop vm-7 --reason maintenance',
    )
    .action(
      run(async (session, [vmId], { reason }: { reason?: string }) => {
        const client = await session.client();
        session.granted(await client.stopVm(vmId as string, reason), `${vmId} has stopped`);
      }),
    );

  vm.command('attach')
    .description('attach a NIC (VM-6)')
    .argument('<vm>')
    .argument('<nic>', 'name, name=physical-network, or name=network:id')
    .addHelpText('after', '\nExample:\n  vfctl vm attach vm-7 nic-1=em2')
    .action(
      run(async (session, [vmId, nic]) => {
        const client = await session.client();
        const granted = await client.attachNic(vmId as string, nicOf(nic as string));
        const { allocation } = granted;
        session.granted(
          granted,
          allocation === undefined ? 'Attached' : `Attached: ${allocation.vf}, MAC ${allocation.mac}`,
        );
      }),
    );

  vm.command('detach')
    .description('detach a NIC: its VF is released (VM-7)')
    .argument('<vm>')
    .argument('<nic>')
    .addHelpText('after', '\nExample:\n  vfctl vm detach vm-7 nic-1')
    .action(
      run(async (session, [vmId, nicId]) => {
        const client = await session.client();
        session.granted(await client.detachNic(vmId as string, nicId as string), 'Detached');
      }),
    );
}

/** The log, or what decides, is not what it was. */
const ALARMING: ReadonlySet<string> = new Set(['DECISION_DIFFERS', 'INPUT_DIFFERS']);

/** The id of the request behind the last outcome of a VM's starts. */
async function lastStart(session: Session, vmId: string): Promise<string> {
  const { items } = await session.list<OutgoingEvent>(
    'history',
    { vmId, types: ['VmStartAccepted', 'VmStartFailed'] },
    100_000,
  );
  const last = items.at(-1);
  if (last === undefined) throw new VfError('NOT_FOUND', `VM '${vmId}' was never asked to start`);
  return last.causationid;
}

interface Explanation {
  readonly id: string;
  readonly decided?: { readonly position: string; readonly time: string; readonly decider: string };
  readonly dead?: { readonly reason: string };
  readonly again?: { readonly same: boolean; readonly code?: string; readonly message?: string };
  readonly because?: readonly {
    readonly position: string;
    readonly input?: { readonly type?: string; readonly source?: string; readonly time?: string };
  }[];
  readonly events?: readonly OutgoingEvent[];
  readonly outcome?: OutgoingEvent;
}

interface Considered {
  readonly hostId: string;
  readonly pf?: string;
  readonly reason: string;
  readonly total?: number;
  readonly free?: number;
}

/** Why a request had its outcome, for people: what was decided, what was looked at, what led to it. */
function explained(said: Explanation, session: Session): readonly string[] {
  if (said.dead !== undefined) return [`'${said.id}' was put aside: ${oneLine(said.dead.reason)}`];
  const { decided, again, because = [], events = [], outcome } = said;
  const { considered = [], why } = (outcome?.data ?? {}) as {
    considered?: readonly Considered[];
    why?: { strategy: string; score: number; candidates: number };
  };
  return [
    `'${said.id}', decided at position ${decided?.position} (${decided?.time}) by version ${decided?.decider} of the decider:`,
    ...events.map(plannedRow),
    ...(why === undefined
      ? []
      : [`The host was chosen by '${why.strategy}' out of ${why.candidates}; its score is ${why.score}.`]),
    ...(considered.length === 0
      ? []
      : [
          'What was looked at, nearest first:',
          ...table(
            ['HOST', 'PF', 'REASON', 'FREE/TOTAL'],
            considered.map(({ hostId, pf, reason, free, total }) => [
              hostId,
              pf,
              reason,
              total === undefined ? undefined : `${free}/${total}`,
            ]),
            session.paint,
          ).map((line) => `  ${line}`),
        ]),
    'What led to it:',
    ...because.map(
      ({ position, input }) =>
        `  position ${position}: ${oneLine(`${input?.type ?? 'an input'} from ${input?.source ?? 'nobody'} at ${input?.time ?? '-'}`)}`,
    ),
    again?.same === true
      ? 'Decided again, it is the same.'
      : ALARMING.has(again?.code ?? '')
        ? `DECIDED AGAIN, IT IS NOT THE SAME: ${again?.message}`
        : `It cannot be compared with the same decided again: ${again?.message}`,
  ];
}
