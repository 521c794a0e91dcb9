import { emptyState, step, type Input, type Inputs, type InputType, type State } from '#domain';

/** VFs of a PF. */
export const VFS = 64;

/**
 * A fleet in memory, and the inputs that move it. Inputs are made before the clock starts: making them is the
 * edge's work.
 */
export class Fleet {
  readonly state: State = emptyState('bench');
  private count = 0;

  constructor(hosts: number, pfs: number, vfs = VFS) {
    this.take('L2NetworkDefined', {
      l2Id: 'l2',
      type: 'L2VlanNetwork',
      physicalInterface: 'physA',
      vlanId: 7,
      sriov: true,
    });
    this.take('L3NetworkDefined', { l3Id: 'net', l2Id: 'l2', kind: 'flat', sriov: true });
    for (let host = 0; host < hosts; host++) this.report(`host-${host}`, pfs, vfs);
  }

  report(hostId: string, pfs: number, vfs: number): void {
    const report = {
      hostId,
      bootId: `boot-${hostId}`,
      seq: 1,
      iommu: { enabled: true, ready: true },
      interruptRemapping: true,
      pfs: Array.from({ length: pfs }, (_, pf) => ({
        pciAddress: address(pf, 0),
        ifname: `ens${pf}`,
        model: 'ConnectX-6',
        driver: 'mlx5_core',
        link: 'up',
        speedMbps: 25_000,
        totalVfs: vfs,
        physicalNetwork: pf === 0 ? 'physA' : `phys${pf}`,
        vfs: Array.from({ length: vfs }, (_, vf) => ({
          pciAddress: address(pf, vf + 1),
          index: vf,
          mac: '00:00:00:00:00:00',
          iommuGroup: 100 + pf * vfs + vf,
        })),
      })),
    };
    // Through JSON, as it comes over the wire: every text is a text of its own.
    this.take('HostReported', JSON.parse(JSON.stringify(report)) as Inputs['HostReported']);
  }

  input<T extends InputType>(type: T, data: Inputs[T]): Input {
    const count = ++this.count;
    return {
      id: `01JABCDEFGHJKMNPQRSTVWXYZ${count}`,
      type,
      data,
      time: 1_750_000_000_000 + count,
      digest: count.toString(16).padStart(16, '0'),
    } as unknown as Input;
  }

  take<T extends InputType>(type: T, data: Inputs[T]): void {
    this.run([this.input(type, data)]);
  }

  /** @returns milliseconds that the inputs took together. */
  run(inputs: readonly Input[]): number {
    const source = { stream: 's', sequence: 1 };
    const start = process.hrtime.bigint();
    for (const input of inputs) step(this.state, input, source);
    return Number(process.hrtime.bigint() - start) / 1e6;
  }

  starts(count: number, name = 'vm'): Input[] {
    return Array.from({ length: count }, (_, i) =>
      this.input('VmStartRequested', {
        vmId: `${name}-${i}`,
        nics: [{ nicId: 'nic-0', networkId: 'net', guestSlot: 5 }],
        tenant: 'red',
      }),
    );
  }

  ends(count: number, type: 'VmStopped' | 'VmDestroyed', name = 'vm'): Input[] {
    return Array.from({ length: count }, (_, i) => this.input(type, { vmId: `${name}-${i}` }));
  }

  /** Starts VMs with 16 VFs each, on one network after the other. */
  fill(vms: number, networks: readonly string[]): void {
    for (let vm = 0; vm < vms; vm++) {
      this.take('VmStartRequested', {
        vmId: `full-${networks[0]}-${vm}`,
        nics: Array.from({ length: 16 }, (_, i) => ({
          nicId: `nic-${i}`,
          physicalNetwork: networks[vm % networks.length],
        })),
      });
    }
  }
}

const address = (pf: number, fn: number): string => {
  const device = (fn >> 3).toString(16).padStart(2, '0');
  return `${pf.toString(16).padStart(4, '0')}:82:${device}.${fn & 7}`;
};
