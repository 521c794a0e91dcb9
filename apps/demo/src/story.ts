import type { Availability, Inputs, OutgoingEvent, PfReport } from '#client';
import { pfTable, timelineRow } from '#vfctl';
import { Conversation } from './conversation.js';

const HOST = 'host-1';
const EM2 = '0000:82:00.1';
const SPLIT_INTO = 32;

const port = (index: number, fields: Partial<PfReport>): PfReport => ({
  pciAddress: `0000:82:00.${index}`,
  ifname: `em${index + 1}`,
  link: 'up',
  totalVfs: 0,
  vfs: [],
  ...fields,
});

/**
 * The host of the ZStack manual's table: two ports that can be split, two that cannot, one of them not
 * connected.
 */
const inventory: Inputs['HostReported'] = {
  hostId: HOST,
  bootId: 'boot-1',
  seq: 1,
  iommu: { enabled: true, ready: true },
  interruptRemapping: true,
  pfs: [
    port(0, { model: 'Dell 82599ES', speedMbps: 10_000, totalVfs: 63 }),
    port(1, { model: 'Dell 82599ES', speedMbps: 10_000, totalVfs: 63 }),
    port(2, { model: 'I350', speedMbps: 1000 }),
    port(3, { model: 'I350', link: 'down' }),
  ],
};

/**
 * The VFs of em2, as the host finds them: their addresses interleave with the other port's (82:10.1, 82:10.3
 * …).
 */
const vfsOfEm2 = Array.from({ length: SPLIT_INTO }, (_, index) => {
  const slot = 2 * index + 1;
  const device = (0x10 + (slot >> 3)).toString(16);
  return { pciAddress: `0000:82:${device}.${slot & 7}`, index };
});

/** A small fleet from its first report to the restore of a PF in use, told as it happens. */
export async function tellStory(natsUrl: string, print: (line: string) => void): Promise<void> {
  const conversation = await Conversation.open(natsUrl);
  try {
    await converse(conversation, print);
  } finally {
    await conversation.close();
  }
}

async function converse(conversation: Conversation, print: (line: string) => void): Promise<void> {
  let told = 0;
  const tell = (keep: (event: OutgoingEvent) => boolean = () => true): void => {
    const events = conversation.timeline.slice(told);
    told = conversation.timeline.length;
    const shown = events.filter(keep);
    for (const event of shown) print(`  ${timelineRow(event)}`);
    if (shown.length < events.length) print(`  … and ${events.length - shown.length} more like these`);
  };
  const table = async (): Promise<void> => {
    const { pfs } = await conversation.query<Availability>('availability', { hostId: HOST });
    for (const line of pfTable(pfs)) print(`  ${line}`);
  };
  const chapter = (title: string): void => {
    print('');
    print(title);
  };

  chapter(`1. ${HOST} reports what it has`);
  const report = await conversation.publish('HostReported', inventory);
  await conversation.until((event) => event.causationid === report);
  tell();
  await table();

  chapter(`2. An operator splits em2 into ${SPLIT_INTO} VFs; the host does it and reports them`);
  await conversation.ask('PfVirtualizeRequested', { hostId: HOST, pf: EM2, numVfs: SPLIT_INTO });
  await conversation.ask('PfVirtualized', { hostId: HOST, pf: EM2, vfs: vfsOfEm2 });
  tell();
  await table();

  chapter('3. VMs start, each with one VF NIC on em2, until none is left');
  let vm = 0;
  let outcome: OutgoingEvent;
  do {
    const vmId = `vm-${++vm}`;
    outcome = await conversation.ask('VmStartRequested', {
      vmId,
      nics: [{ nicId: 'nic-0', physicalNetwork: 'em2' }],
    });
    if (outcome.type === 'VmStartAccepted') await conversation.ask('VmStarted', { vmId, hostId: HOST });
  } while (outcome.type === 'VmStartAccepted');
  const refused = `vm-${vm}`;
  tell(({ subject }) => [`vm/vm-1`, `vm/${refused}`].includes(subject));
  await table();

  chapter(`4. vm-7 stops, and ${refused}, which was refused, starts with its VF`);
  const { data: taken } = conversation.timeline.find(
    ({ type, subject }) => type === 'VfAllocated' && subject === 'vm/vm-7',
  ) as OutgoingEvent;
  const { vf: vfOf7 } = taken as { vf: string };
  await conversation.ask('VmStopped', { vmId: 'vm-7' });
  await conversation.ask('VmStartRequested', {
    vmId: refused,
    nics: [{ nicId: 'nic-0', physicalNetwork: 'em2' }],
  });
  tell();

  chapter('5. em2 is restored while its VFs are in use: the VMs are told, then the host is');
  await conversation.ask('PfRestoreRequested', { hostId: HOST, pf: EM2 });
  await conversation.ask('PfRestored', { hostId: HOST, pf: EM2 });
  tell(({ type, subject }) => type !== 'VfReleased' || ['vm/vm-1', 'vm/vm-2'].includes(subject));
  await table();

  chapter('6. Who had the VF of vm-7, and when?');
  const [first, second] = conversation.timeline.filter(
    ({ type, data }) => type === 'VfAllocated' && (data as { vf: string }).vf === vfOf7,
  );
  const { tenants } = await conversation.query<{ tenants: readonly Tenant[] }>('tenants', {
    hostId: HOST,
    vf: vfOf7,
  });
  for (const { vmId, from, to, reason } of tenants)
    print(
      `  ${vfOf7}  ${vmId.padEnd(6)} ${from.slice(11, 23)} to ${to?.slice(11, 23) ?? 'now'}  ${reason ?? ''}`,
    );

  chapter('7. The past: who had it while vm-7 ran, and how much was free then?');
  for (const { position } of [first, second] as OutgoingEvent[]) {
    const { vf } = await conversation.query<{ vf: { state: string; holder?: { vmId: string } } }>('vf', {
      hostId: HOST,
      vf: vfOf7,
      at: position,
    });
    const { free, total } = await conversation.query<Availability>('availability', { at: position });
    print(`  at position ${position.padStart(3)}  held by ${vf.holder?.vmId}, ${free} of ${total} VFs free`);
  }

  chapter(`8. Why did ${refused} not start at first?`);
  const no = conversation.timeline.find(({ type }) => type === 'VmStartFailed') as OutgoingEvent;
  const why = await conversation.query<{ message: string; again: { same: boolean } }>('explain', {
    id: no.causationid,
  });
  print(`  ${why.message}`);
  print(`  decided again from the log: ${why.again.same ? 'the same' : 'ANOTHER ANSWER'}`);

  chapter('9. The log remembers');
  const { events, ok } = await conversation.query<{ events: number; ok: boolean }>('verify', {});
  print(`  ${events} events in the log, hash chain ${ok ? 'good' : 'BROKEN'}`);
}

interface Tenant {
  readonly vmId: string;
  readonly from: string;
  readonly to?: string;
  readonly reason?: string;
}
