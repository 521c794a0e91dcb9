import type { PfView } from '#domain';
import type { OutgoingEvent } from '#wire';

/** The table of PFs with the columns of OUT-5. */
export function pfTable(pfs: readonly PfView[]): readonly string[] {
  const rows = [
    ['NAME', 'MODEL', 'LINK', 'SPEED', 'VIRTUALIZATION', 'AVAILABLE/TOTAL'],
    ...pfs.map((pf) => [
      pf.ifname,
      pf.model ?? '-',
      pf.link,
      pf.speedMbps === undefined ? '-' : `${pf.speedMbps} Mbps`,
      pf.state,
      pf.total === '-' ? '-' : `${pf.free}/${pf.total}`,
    ]),
  ];
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}

type Data = Readonly<Record<string, unknown>>;

/** What a person wants to know of an event, beside its name. */
function gist(type: string, data: Data): string {
  const { message, reason, vf, hostId, numVfs, pfs, nics, forced, mac } = data;
  switch (type) {
    case 'HostRegistered':
      return `${(pfs as unknown[]).length} PFs`;
    case 'PfVirtualizationOrdered':
      return `into ${numVfs as number} VFs`;
    case 'PfVirtualized':
      return `${(data['vfs'] as unknown[]).length} VFs`;
    case 'VfAllocated':
      return `${vf as string} on ${hostId as string}, MAC ${mac as string}`;
    case 'VfReleased':
      return `${vf as string}: ${reason as string}${forced === true ? ', forced' : ''}`;
    case 'VmStartAccepted':
      return `on ${hostId as string}, ${(nics as unknown[]).length} NIC`;
    case 'VmStartFailed':
      return `${reason as string}: ${message as string}`;
    default:
      return '';
  }
}

/** One line of the time line: position, time, name, what it is about. */
export const timelineRow = ({ position, time, type, subject, data }: OutgoingEvent): string =>
  `${position.padStart(4)}  ${time.slice(11, 23)}  ${type.padEnd(23)} ${subject.padEnd(12)} ${gist(type, data as Data)}`.trimEnd();
