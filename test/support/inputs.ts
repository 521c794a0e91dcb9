import { randomUUID } from 'node:crypto';

/** A CloudEvent and where it is published. Written out here and not by the project's own code: the tests are another program. */
export interface Input {
  readonly cluster: string;
  readonly subject: string;
  readonly event: {
    readonly specversion: '1.0';
    readonly id: string;
    readonly source: string;
    readonly type: string;
    readonly time: string;
    readonly data: Readonly<Record<string, unknown>>;
    readonly [extension: string]: unknown;
  };
}

export interface InputOptions {
  readonly id?: string;
  readonly cluster?: string;
  /** More attributes of the CloudEvent. */
  readonly attributes?: Readonly<Record<string, unknown>>;
}

/** An input of a type of wire.md. */
export function input(
  type: string,
  data: Readonly<Record<string, unknown>>,
  { id = randomUUID(), cluster = 'default', attributes }: InputOptions = {},
): Input {
  const [kind, name] =
    'vmId' in data
      ? ['vm', data['vmId']]
      : 'hostId' in data
        ? ['host', data['hostId']]
        : 'l3Id' in data || 'l2Id' in data || 'id' in data
          ? ['network', data['l3Id'] ?? data['l2Id'] ?? data['id']]
          : ['cluster', cluster];
  return {
    cluster,
    subject: `vf.in.${cluster}.${kind}.${String(name)}.${type}`,
    event: {
      specversion: '1.0',
      id,
      source: '/e2e/control-plane',
      type,
      time: new Date().toISOString(),
      ...attributes,
      data,
    },
  };
}

export const PF = '0000:82:00.0';

/** Address of the VF with an index of {@link PF}: they need not be neighbours (PF-7). */
export const vfAddress = (index: number): string =>
  `0000:82:${(0x10 + (index >> 2)).toString(16)}.${(index & 3) * 2}`;

/** A host with one port that is split into `vfs` VFs. */
export const hostReported = (
  hostId: string,
  vfs: number,
  { seq = 1, ...options }: InputOptions & { readonly seq?: number } = {},
): Input =>
  input(
    'HostReported',
    {
      hostId,
      bootId: 'boot-1',
      seq,
      iommu: { enabled: true, ready: true },
      interruptRemapping: true,
      pfs: [
        {
          pciAddress: PF,
          ifname: 'em1',
          model: '82599ES 10-Gigabit SFI/SFP+ Network Connection',
          driver: 'ixgbe',
          link: 'up',
          speedMbps: 10_000,
          totalVfs: 63,
          vfs: vfList(vfs),
        },
      ],
    },
    options,
  );

/** VFs as a host reports them. */
export const vfList = (count: number): ReadonlyArray<{ pciAddress: string; index: number }> =>
  Array.from({ length: count }, (_, index) => ({ pciAddress: vfAddress(index), index }));

/** A start of a VM with VF NICs on `em1`. */
export const vmStart = (
  vmId: string,
  {
    nics = 1,
    hostId,
    ...options
  }: InputOptions & { readonly nics?: number; readonly hostId?: string | undefined } = {},
): Input =>
  input(
    'VmStartRequested',
    {
      vmId,
      ...(hostId === undefined ? undefined : { hostId }),
      nics: Array.from({ length: nics }, (_, index) => ({ nicId: `eth${index}`, physicalNetwork: 'em1' })),
    },
    options,
  );
