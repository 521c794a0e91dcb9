import type { Availability, Inputs, PfReport } from '#domain';
import type { OutgoingEvent } from '#wire';
import { Conversation } from './conversation.js';
import { pfTable, timelineRow } from './print.js';

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

const STARTED = ['VmStartAccepted', 'VmStartFailed'];

/** A small fleet from its first report to the restore of a PF in use, told as it happens. */
export async function tellStory(natsUrl: string, print: (line: string) => void): Promise<void> {
  const conversation = await Conversation.open(natsUrl);
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
  await conversation.ask('HostReported', inventory, ['HostRegistered']);
  tell();
  await table();

  chapter(`2. An operator splits em2 into ${SPLIT_INTO} VFs; the host does it and reports them`);
  await conversation.ask('PfVirtualizeRequested', { hostId: HOST, pf: EM2, numVfs: SPLIT_INTO }, [
    'PfVirtualizationOrdered',
  ]);
  await conversation.ask('PfVirtualized', { hostId: HOST, pf: EM2, vfs: vfsOfEm2 }, ['PfVirtualized']);
  tell();
  await table();

  chapter('3. VMs start, each with one VF NIC on em2, until none is left');
  let vm = 0;
  let outcome: OutgoingEvent;
  do {
    const vmId = `vm-${++vm}`;
    outcome = await conversation.ask(
      'VmStartRequested',
      { vmId, nics: [{ nicId: 'nic-0', physicalNetwork: 'em2' }] },
      STARTED,
    );
    if (outcome.type === 'VmStartAccepted')
      await conversation.ask('VmStarted', { vmId, hostId: HOST }, ['VmStarted']);
  } while (outcome.type === 'VmStartAccepted');
  const refused = `vm-${vm}`;
  tell(({ subject }) => [`vm/vm-1`, `vm/${refused}`].includes(subject));
  await table();

  chapter(`4. vm-7 stops, and ${refused}, which was refused, starts with its VF`);
  await conversation.ask('VmStopped', { vmId: 'vm-7' }, ['VmStopped']);
  await conversation.ask(
    'VmStartRequested',
    { vmId: refused, nics: [{ nicId: 'nic-0', physicalNetwork: 'em2' }] },
    STARTED,
  );
  tell();

  chapter('5. em2 is restored while its VFs are in use: the VMs are told, then the host is');
  await conversation.ask('PfRestoreRequested', { hostId: HOST, pf: EM2 }, ['PfRestoreOrdered']);
  await conversation.ask('PfRestored', { hostId: HOST, pf: EM2 }, ['PfRestored']);
  tell(({ type, subject }) => type !== 'VfReleased' || ['vm/vm-1', 'vm/vm-2'].includes(subject));
  await table();

  chapter('6. The log remembers');
  const { events, ok } = await conversation.query<{ events: number; ok: boolean }>('verify', {});
  print(`  ${events} events in the log, hash chain ${ok ? 'good' : 'BROKEN'}`);
  await conversation.close();
}
