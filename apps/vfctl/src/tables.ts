import type { OutgoingEvent, PfView } from '#client';
import { oneLine, table, type Paint } from './terminal.js';

/** The columns of OUT-5. */
const OUT_5 = ['NAME', 'MODEL', 'LINK', 'SPEED', 'VIRTUALIZATION', 'AVAILABLE/TOTAL'];

const out5 = (pf: PfView): readonly unknown[] => [
  pf.ifname,
  pf.model,
  pf.link,
  pf.speedMbps === undefined ? undefined : `${pf.speedMbps} Mbps`,
  pf.state,
  pf.total === '-' ? undefined : `${pf.free}/${pf.total}`,
];

/** PFs with the columns of OUT-5. */
export const pfTable = (pfs: readonly PfView[], paint?: Paint): readonly string[] =>
  table(OUT_5, pfs.map(out5), paint);

/** The same of several hosts, with what a command must name, and why a PF serves nothing. */
export const fleetTable = (pfs: readonly PfView[], paint?: Paint): readonly string[] =>
  table(
    ['HOST', 'ADDRESS', ...OUT_5, 'NOTE'],
    pfs.map((pf) => [pf.hostId, pf.pf, ...out5(pf), noteOf(pf)]),
    paint,
  ).map((line) => line.replace(/ +-$/, ''));

/** Why it serves nothing, where the state does not say it already. */
const noteOf = ({ obstacle, cordoned }: PfView): string =>
  obstacle === undefined || obstacle.startsWith('PF_NOT_VIRTUALIZ')
    ? cordoned
      ? 'PF_CORDONED'
      : ''
    : obstacle;

type Data = Readonly<Record<string, unknown>>;

/** An event that nobody has decided: what it would be, and about whom. */
export function plannedRow({ type, data }: { readonly type: string; readonly data: unknown }): string {
  const { vmId, hostId, l3Id, l2Id, id } = data as Record<string, string | undefined>;
  const network = l3Id ?? l2Id ?? id;
  const about =
    vmId !== undefined
      ? `vm/${vmId}`
      : hostId !== undefined
        ? `host/${hostId}`
        : network === undefined
          ? ''
          : `network/${network}`;
  return `  ${type.padEnd(25)} ${about.padEnd(16)} ${gist(type, data as Data)}`.trimEnd();
}

/** What a person wants to know of an event, beside its name. */
export function gist(type: string, data: Data): string {
  const { message, reason, vf, hostId, numVfs, pfs, nics, forced, mac } = data;
  const counted = (things: unknown, name: string): string => {
    const count = Array.isArray(things) ? things.length : 0;
    return `${count} ${name}${count === 1 ? '' : 's'}`;
  };
  const said = (() => {
    switch (type) {
      case 'HostRegistered':
        return counted(pfs, 'PF');
      case 'PfVirtualizationOrdered':
        return `${data['pf'] as string} into ${numVfs as number} VFs`;
      case 'PfVirtualized':
        return counted(data['vfs'], 'VF');
      case 'VfAllocated':
        return `${vf as string} on ${hostId as string}, MAC ${mac as string}`;
      case 'VfReleased':
        return `${vf as string}: ${reason as string}${forced === true ? ', forced' : ''}`;
      case 'VmStartAccepted':
        return `on ${hostId as string}, ${counted(nics, 'NIC')}`;
      case 'InputIgnored':
        return `${data['type'] as string}: ${reason as string}`;
      case 'HostCordoned':
      case 'PfCordoned':
        return data['cordoned'] === true ? 'cordoned' : 'serves again';
      case 'DriftDetected':
      case 'DriftResolved':
        return data['kind'] as string;
      default:
        if (message !== undefined) return `${reason as string}: ${message as string}`;
        return typeof reason === 'string' ? reason : ((data['pf'] as string | undefined) ?? '');
    }
  })();
  return oneLine(said ?? '');
}

/** One line of the time line: position, time, name, what it is about. */
export const timelineRow = ({ position, time, type, subject, data }: OutgoingEvent): string =>
  `${position.padStart(6)}  ${time.slice(11, 23)}  ${type.padEnd(23)} ${subject.padEnd(14)} ${gist(type, data as Data)}`.trimEnd();
