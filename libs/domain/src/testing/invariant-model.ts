import type { Events, PlacedEvent, StartedNic, VfAllocated, VfReleased } from '../events.js';
import type { Input, Inputs, InputType, NicSpec, PfReport, VfReport } from '../inputs.js';

/**
 * What rules.md and wire.md say, told again from the inputs and the emitted events alone: plain maps, plain
 * searches, nothing of the domain's code. It says where a history breaks a rule, by the rule's id.
 */

export interface Violation {
  readonly rule: string;
  readonly message: string;
}

interface MVf {
  readonly address: string;
  index: number;
  /** In the host's last word, and known to be there. */
  present: boolean;
  /** HOST-3: shares its IOMMU group, or the host uses it. */
  tied: boolean;
  /** HOST-7. */
  stranger: boolean;
  /** SCRUB-1: waits for the clean report of this allocation. */
  scrubFor?: string;
  /** SCRUB-2. */
  quarantinedFor?: string;
}
interface MPf {
  readonly address: string;
  names: string[];
  physicalNetwork: string;
  totalVfs: number;
  link: string;
  work?: 'virtualizing' | 'restoring';
  /** Driver gone, or not reported. */
  lost: boolean;
  cordoned: boolean;
  identity: Record<string, string>;
  reported: Record<string, string>;
  vfs: Map<string, MVf>;
}
interface MHost {
  readonly id: string;
  bootId: string;
  readonly earlierBoots: Set<string>;
  bootedAt?: number;
  seq: number;
  heardAt: number;
  ready: boolean;
  scrubs: boolean;
  cordoned: boolean;
  fenced: boolean;
  lost: boolean;
  pfs: Map<string, MPf>;
}
interface MNic {
  readonly nicId: string;
  type: 'vf' | 'vnic';
  networkId?: string;
  physicalNetwork?: string;
  onExhaustion: 'fail' | 'fallback';
  mac?: string;
}
interface MVm {
  state: 'pending' | 'running' | 'stopped';
  hostId: string;
  bootId?: string;
  tenant?: string;
  overdue: boolean;
  /** Reports in a row that show it unused since it was overdue. */
  proofs: number;
  nics: Map<string, MNic>;
}
interface MAllocation extends VfAllocated {
  readonly at: number;
}
interface Need {
  readonly nicId: string;
  readonly name: string;
  readonly fallback: boolean;
}

const OUTCOMES: { readonly [T in InputType]: readonly (keyof Events)[] } = {
  VmStartRequested: ['VmStartAccepted', 'VmStartFailed'],
  VmNicAttachRequested: ['VmNicAttached', 'VmNicAttachFailed'],
  VmNicDetachRequested: ['VmNicDetached', 'VmNicDetachFailed'],
  VmNicTypeChangeRequested: ['VmNicTypeChanged', 'VmNicTypeChangeRejected'],
  VmMigrationRequested: ['VmMigrationAllowed', 'VmMigrationRejected'],
  HostRemovalRequested: ['HostRemoved', 'HostRemovalRejected'],
  PfVirtualizeRequested: ['PfVirtualizationOrdered', 'PfVirtualizationRejected'],
  PfRestoreRequested: ['PfRestoreOrdered', 'PfRestoreRejected'],
  AllocationReleaseRequested: ['AllocationReleaseDone', 'AllocationReleaseRejected'],
  L2NetworkDefined: ['L2NetworkAccepted', 'L2NetworkRejected'],
  L3NetworkDefined: ['L3NetworkAccepted', 'L3NetworkRejected'],
  NetworkRemovalRequested: ['NetworkRemoved', 'NetworkRemovalRejected'],
  VmStarted: ['VmStarted', 'InputIgnored', 'InputRejected'],
  VmStartAborted: ['VmStartAborted', 'InputIgnored', 'InputRejected'],
  VmStopped: ['VmStopped', 'InputIgnored', 'InputRejected'],
  VmDestroyed: ['VmDestroyed', 'InputIgnored', 'InputRejected'],
  VmRebooted: ['VmRebooted', 'InputIgnored', 'InputRejected'],
  VmMigrated: ['VmMigrated', 'InputIgnored', 'InputRejected'],
  VmAdopted: ['VmAdopted', 'InputIgnored', 'InputRejected'],
  HostCordoned: ['HostCordoned', 'InputIgnored', 'InputRejected'],
  HostFenced: ['HostFenced', 'InputIgnored', 'InputRejected'],
  PfVirtualized: ['PfVirtualized', 'InputIgnored', 'InputRejected'],
  PfVirtualizationFailed: ['PfVirtualizationFailed', 'InputIgnored', 'InputRejected'],
  PfRestored: ['PfRestored', 'InputIgnored', 'InputRejected'],
  PfRestoreFailed: ['PfRestoreFailed', 'InputIgnored', 'InputRejected'],
  PfDriverLost: ['PfDriverLost', 'InputIgnored', 'InputRejected'],
  PfLinkChanged: ['PfLinkChanged', 'InputIgnored', 'InputRejected'],
  PfCordoned: ['PfCordoned', 'InputIgnored', 'InputRejected'],
  PfAccepted: ['PfAccepted', 'InputIgnored', 'InputRejected'],
  VfScrubbed: ['VfScrubbed', 'VfQuarantined', 'InputIgnored', 'InputRejected'],
  ClusterPolicyChanged: ['ClusterPolicyChanged', 'InputIgnored', 'InputRejected'],
  HostReported: [],
  HostSeen: [],
  Tick: [],
};

/** Codes with which a search for a place ends. */
const PLACEMENT_CODES = new Set([
  'VF_EXHAUSTED',
  'HOST_UNKNOWN',
  'HOST_NOT_READY',
  'HOST_LOST',
  'HOST_CORDONED',
  'PF_UNKNOWN',
  'PF_NOT_VIRTUALIZABLE',
  'PF_NOT_VIRTUALIZED',
  'PF_BUSY',
  'PF_LINK_DOWN',
  'PF_CORDONED',
  'PF_RESTORING',
  'PF_LOST',
  'PF_IDENTITY_CHANGED',
  'SEPARATE_PFS_IMPOSSIBLE',
]);

const PASS_THROUGH = ['vfio-pci', 'pci-stub', 'uio_pci_generic', 'igb_uio'];

const nicKey = (vmId: string, nicId: string): string => `${vmId}/${nicId}`;
const vfKey = (hostId: string, vf: string): string => `${hostId} ${vf}`;

const identityOf = (pf: PfReport): Record<string, string> =>
  Object.fromEntries(
    (['vendorId', 'deviceId', 'serial', 'permanentMac'] as const).flatMap((field) =>
      pf[field] === undefined ? [] : [[field, pf[field]]],
    ),
  );

export class InvariantModel {
  readonly violations: Violation[] = [];
  private position = 0;
  private clock = 0;
  private readonly ids = new Map<string, string>();
  private readonly hosts = new Map<string, MHost>();
  private readonly vms = new Map<string, MVm>();
  private readonly allocations = new Map<string, MAllocation>();
  private readonly everAllocated = new Set<string>();
  private readonly holders = new Map<string, string>();
  private readonly nicHolds = new Map<string, string>();
  private readonly macs = new Map<string, string>();
  private readonly l2 = new Map<string, Inputs['L2NetworkDefined']>();
  private readonly l3 = new Map<string, Inputs['L3NetworkDefined']>();
  private readonly generations = new Map<string, number>();
  /** Allocations whose VF a host was told to scrub. */
  private readonly scrubAsked = new Set<string>();
  /** Degraded NICs, oldest first. */
  private readonly degraded = new Map<string, { vmId: string; nicId: string }>();
  private quotas: Readonly<Record<string, number>> = {};
  private promotion = true;
  private startTimeout = 300;
  private hostTimeout = 90;

  /** What is known of an id: the pipeline asks before it decides (EX-6). */
  expectRecall(input: Input, recalled: string): void {
    const digest = this.ids.get(input.id);
    const expected = digest === undefined ? 'new' : digest === input.digest ? 'repeat' : 'conflict';
    this.check(
      'EX-6',
      recalled === expected,
      `input ${input.id} is ${expected}, and is taken as ${recalled}`,
    );
  }

  /** A new leader has begun: what was observed and is not in the log is forgotten (HOST-5). */
  tookOver(now: number): void {
    for (const host of this.hosts.values()) host.heardAt = Math.max(host.heardAt, now);
    for (const vm of this.vms.values()) vm.proofs = 0;
  }

  took(input: Input, events: readonly PlacedEvent[]): void {
    const time = Math.max(input.time, this.clock);
    this.order(input, events, time);
    this.outcome(input, events);
    this.refusals(input, events, time);
    const news = this.isNews(input);
    if (input.type === 'HostReported') this.observeReport(input.data, events, news, time);
    else if (input.type === 'HostSeen' && news === 'same-boot') this.heard(input.data, time);
    for (const event of events) this.fold(input, event, events);
    if (events.length > 0) this.ids.set(input.id, input.digest);
    if (input.type === 'Tick') this.afterTick(time);
    this.standing();
  }

  private check(rule: string, holds: boolean, message: string): void {
    if (!holds) this.violations.push({ rule, message });
  }

  // --- the decision as a whole
  // -------------------------------------------------------------------------------------

  private order(input: Input, events: readonly PlacedEvent[], time: number): void {
    for (const event of events) {
      this.check(
        'OUT-3',
        event.position === this.position + 1,
        `position ${event.position} after ${this.position}`,
      );
      this.check('OUT-3', event.at === time, `an event of ${event.at} in a decision of ${time}`);
      this.check(
        'OUT-3',
        event.cause.id === input.id,
        `the cause of an event of ${input.id} is ${event.cause.id}`,
      );
      this.position = event.position;
    }
    if (events.length > 0) this.clock = time;
  }

  private outcome(input: Input, events: readonly PlacedEvent[]): void {
    const kinds = OUTCOMES[input.type];
    const names = events.map((event) => event.type).join(', ');
    if (kinds.length === 0) {
      this.check(
        'OUT-1',
        !events.some((event) => event.type === 'InputIgnored' || event.type === 'InputRejected'),
        `${input.type} led to ${names}`,
      );
      return;
    }
    this.check('EX-6', events.length > 0, `${input.type} left no event`);
    const own = events.filter(
      (event) =>
        kinds.includes(event.type) &&
        // An operator's word frees a VF by the same event as a host's.
        !(event.type === 'VfScrubbed' && input.type !== 'VfScrubbed'),
    );
    this.check('OUT-1', own.length === 1 && own[0] === events.at(-1), `${input.type} led to ${names}`);
    const outcome = own[0];
    if (outcome === undefined) return;
    if (outcome.type === 'InputIgnored' || outcome.type === 'InputRejected') {
      this.check(
        'OUT-1',
        outcome.data.type === input.type,
        `${input.type} came out as that of ${outcome.data.type}`,
      );
    }
    for (const id of ['vmId', 'hostId', 'pf', 'nicId', 'allocationId', 'l2Id', 'l3Id', 'id'] as const) {
      const asked = (input.data as Record<string, unknown>)[id];
      const told = (outcome.data as unknown as Record<string, unknown>)[id];
      if (id === 'hostId' && (input.type === 'VmStarted' || input.type === 'VmStartRequested')) continue;
      if (asked !== undefined && told !== undefined)
        this.check(
          'OUT-1',
          asked === told,
          `${input.type} of ${id} ${String(asked)} came out as of ${String(told)}`,
        );
    }
    // VM-13
    if ('vmId' in input.data) {
      const { vmId, generation } = input.data;
      const newest = this.generations.get(vmId);
      if (generation !== undefined && newest !== undefined && generation < newest) {
        const { reason } = outcome.data as { reason?: string };
        this.check(
          'VM-13',
          events.length === 1 && (reason === 'GENERATION_STALE' || reason === 'stale'),
          `${input.type} of generation ${generation} after ${newest} led to ${names} (${reason})`,
        );
      }
      if (generation !== undefined) this.generations.set(vmId, Math.max(generation, newest ?? 0));
    }
  }

  // --- what hosts say
  // ----------------------------------------------------------------------------------------------

  /** HOST-9, HOST-4. */
  private isNews(input: Input): 'first' | 'same-boot' | 'new-boot' | 'stale' {
    if (input.type !== 'HostReported' && input.type !== 'HostSeen') return 'stale';
    const { hostId, bootId, seq } = input.data;
    const host = this.hosts.get(hostId);
    if (host === undefined) return input.type === 'HostReported' ? 'first' : 'stale';
    if (bootId === host.bootId) return seq > host.seq ? 'same-boot' : 'stale';
    if (input.type === 'HostSeen' || host.earlierBoots.has(bootId)) return 'stale';
    const bootedAt = input.data.bootedAt === undefined ? undefined : Date.parse(input.data.bootedAt);
    return bootedAt !== undefined && host.bootedAt !== undefined && bootedAt < host.bootedAt
      ? 'stale'
      : 'new-boot';
  }

  private heard({ hostId, seq }: { hostId: string; seq: number }, time: number): void {
    const host = this.hosts.get(hostId);
    if (host === undefined) return;
    host.seq = seq;
    host.heardAt = time;
  }

  private observeReport(
    data: Inputs['HostReported'],
    events: readonly PlacedEvent[],
    news: 'first' | 'same-boot' | 'new-boot' | 'stale',
    time: number,
  ): void {
    const released = events.filter((event) => event.type === 'VfReleased') as PlacedEvent<'VfReleased'>[];
    if (news === 'stale') {
      this.check('HOST-9', events.length === 0, `a stale report of ${data.hostId} led to ${events[0]?.type}`);
      return;
    }
    const inUseBy = new Map(data.pfs.flatMap((pf) => pf.vfs.map((vf) => [vf.pciAddress, vf] as const)));
    for (const { data: release } of released) {
      const reasonable = news === 'new-boot' ? 'host-rebooted' : 'proved-unused';
      this.check(
        'EX-7',
        release.reason === reasonable,
        `a ${news} report released ${release.vf}: ${release.reason}`,
      );
      this.check(
        'EX-7',
        release.hostId === data.hostId,
        `a report of ${data.hostId} released on ${release.hostId}`,
      );
    }
    if (news === 'new-boot') {
      for (const { data: release } of released) {
        const vm = this.vms.get(release.vmId);
        const shown = inUseBy.get(release.vf)?.usedByVmId === release.vmId;
        this.check(
          'HOST-4',
          !shown && vm?.bootId !== data.bootId,
          `${release.vf} was released by the reboot, and its holder ${release.vmId} lives in the new boot`,
        );
      }
    }
    // VM-12: two in a row, both later than the overdue report.
    for (const [vmId, vm] of this.vms) {
      if (!vm.overdue || vm.hostId !== data.hostId) continue;
      const unused =
        data.vms !== undefined &&
        !data.vms.includes(vmId) &&
        this.heldBy(vmId).every(({ vf }) => {
          const report = inUseBy.get(vf);
          return report !== undefined && report.usedByVmId === undefined && !bound(report);
        });
      vm.proofs = unused ? vm.proofs + 1 : 0;
      const ended = released.some(({ data: release }) => release.vmId === vmId);
      if (news === 'same-boot') {
        this.check(
          'VM-12',
          ended === (vm.proofs >= 2 && this.heldBy(vmId).length > 0),
          `after ${vm.proofs} proofs ${vmId} is ${ended ? '' : 'not '}released`,
        );
      }
    }
    for (const event of released) this.release(event.data, 'HostReported');
    this.takeInventory(data, news, time);
    if (news === 'new-boot') {
      for (const allocation of this.allocations.values()) {
        if (allocation.hostId !== data.hostId) continue;
        const shown = inUseBy.get(allocation.vf)?.usedByVmId === allocation.vmId;
        this.check(
          'HOST-4',
          shown || this.vms.get(allocation.vmId)?.bootId === data.bootId,
          `${allocation.vf} is still held by ${allocation.vmId} after a reboot`,
        );
      }
      const stopped = events.flatMap((event) =>
        event.type === 'HostChanged' ? (event.data.stoppedVms ?? []) : [],
      );
      for (const { data: release } of released) {
        this.check(
          'VM-16',
          stopped.includes(release.vmId) || this.heldBy(release.vmId).length > 0,
          `${release.vmId} lost its VFs by a reboot and is not stopped`,
        );
      }
    }
  }

  private takeInventory(data: Inputs['HostReported'], news: string, time: number): void {
    let host = this.hosts.get(data.hostId);
    if (host === undefined) {
      host = {
        id: data.hostId,
        bootId: data.bootId,
        earlierBoots: new Set(),
        seq: data.seq,
        heardAt: time,
        ready: false,
        scrubs: false,
        cordoned: false,
        fenced: false,
        lost: false,
        pfs: new Map(),
      };
      this.hosts.set(host.id, host);
      host.bootedAt = data.bootedAt === undefined ? undefined : Date.parse(data.bootedAt);
    }
    if (news === 'new-boot') {
      host.earlierBoots.add(host.bootId);
      host.bootId = data.bootId;
      host.bootedAt = data.bootedAt === undefined ? undefined : Date.parse(data.bootedAt);
      host.fenced = false;
    }
    host.seq = data.seq;
    host.heardAt = time;
    if (!host.fenced) host.lost = false;
    host.ready =
      data.iommu.enabled &&
      data.iommu.ready &&
      (data.interruptRemapping || data.unsafeInterruptsAllowed === true);
    host.scrubs = data.scrubs ?? false;
    const seen = new Set<string>();
    const spokenFor = this.spokenFor(host);
    for (const report of data.pfs) {
      seen.add(report.pciAddress);
      this.takePf(host, report, spokenFor);
    }
    for (const pf of host.pfs.values()) {
      if (seen.has(pf.address)) continue;
      pf.lost = true;
      if (pf.work === 'virtualizing') pf.work = undefined;
      for (const vf of pf.vfs.values()) vf.present = false;
    }
  }

  private takePf(host: MHost, report: PfReport, spokenFor: ReadonlyMap<string, MPf>): void {
    let pf = host.pfs.get(report.pciAddress);
    if (pf === undefined) {
      pf = {
        address: report.pciAddress,
        names: [],
        physicalNetwork: '',
        totalVfs: 0,
        link: 'up',
        lost: false,
        cordoned: false,
        identity: identityOf(report),
        reported: {},
        vfs: new Map(),
      };
      host.pfs.set(pf.address, pf);
    }
    pf.physicalNetwork = report.physicalNetwork ?? report.ifname;
    pf.names = ['', pf.physicalNetwork, ...(report.bond === undefined ? [] : [report.bond])];
    pf.totalVfs = report.totalVfs;
    pf.link = report.link;
    pf.lost = false;
    pf.reported = identityOf(report);
    if (!this.otherHardware(pf)) pf.identity = { ...pf.identity, ...pf.reported };
    this.takeVfs(host, pf, report.vfs, spokenFor);
    if (pf.work === 'virtualizing' && report.vfs.length > 0) pf.work = undefined;
    // PF-5: a report without VFs ends a restore.
    if (pf.work === 'restoring' && report.vfs.length === 0) pf.work = undefined;
  }

  /** PF-9. */
  private otherHardware = (pf: MPf): boolean =>
    Object.entries(pf.reported).some(([field, value]) => (pf.identity[field] ?? value) !== value);

  private takeVfs(
    host: MHost,
    pf: MPf,
    reports: readonly VfReport[],
    spokenFor = this.spokenFor(host),
  ): void {
    const seen = new Set<string>();
    for (const report of reports) {
      // An address is one VF (EX-1): what is held or dirty stays where it was handed out, whatever a report
      // says.
      if ((spokenFor.get(report.pciAddress) ?? pf) !== pf) continue;
      for (const other of host.pfs.values()) if (other !== pf) other.vfs.delete(report.pciAddress);
      seen.add(report.pciAddress);
      const known = pf.vfs.get(report.pciAddress);
      const vf: MVf = known ?? {
        address: report.pciAddress,
        index: 0,
        present: true,
        tied: false,
        stranger: false,
      };
      const holder = this.allocations.get(this.holders.get(vfKey(host.id, vf.address)) ?? '');
      vf.index = report.index;
      vf.present = true;
      vf.tied = report.iommuGroupShared === true || report.hostUse !== undefined;
      vf.stranger =
        report.usedByVmId === undefined
          ? holder === undefined && bound(report)
          : report.usedByVmId !== holder?.vmId;
      if (report.scrubbedFor !== undefined) {
        if (report.scrubbedFor === vf.scrubFor) vf.scrubFor = undefined;
        if (report.scrubbedFor === vf.quarantinedFor) vf.quarantinedFor = undefined;
      }
      pf.vfs.set(vf.address, vf);
    }
    for (const vf of [...pf.vfs.values()]) {
      if (seen.has(vf.address)) continue;
      // A PF that shows no VF at all has been undivided: what comes after it are new devices. One VF that is
      // not shown is still dirty.
      const dirty = seen.size > 0 && (vf.scrubFor !== undefined || vf.quarantinedFor !== undefined);
      if (dirty || this.holders.has(vfKey(host.id, vf.address))) vf.present = false;
      else pf.vfs.delete(vf.address);
    }
  }

  /** The PFs of VFs that are held or dirty, by address. */
  private spokenFor(host: MHost): ReadonlyMap<string, MPf> {
    const found = new Map<string, MPf>();
    for (const pf of host.pfs.values()) {
      for (const vf of pf.vfs.values()) {
        const dirty = vf.scrubFor !== undefined || vf.quarantinedFor !== undefined;
        if (dirty || this.holders.has(vfKey(host.id, vf.address))) found.set(vf.address, pf);
      }
    }
    return found;
  }

  // --- events, one by one
  // ------------------------------------------------------------------------------------------

  private heldBy = (vmId: string): MAllocation[] =>
    [...this.allocations.values()].filter((allocation) => allocation.vmId === vmId);

  private heldOn = (hostId: string, pf?: string): MAllocation[] =>
    [...this.allocations.values()].filter(
      (allocation) => allocation.hostId === hostId && (pf === undefined || allocation.pf === pf),
    );

  private heldByTenant = (tenant: string): number =>
    [...this.allocations.values()].filter((allocation) => allocation.tenant === tenant).length;

  private pfOf = (data: { hostId: string; pf: string }): MPf | undefined =>
    this.hosts.get(data.hostId)?.pfs.get(data.pf);

  private vfOf(hostId: string, address: string): MVf | undefined {
    for (const pf of this.hosts.get(hostId)?.pfs.values() ?? []) {
      const vf = pf.vfs.get(address);
      if (vf !== undefined) return vf;
    }
    return undefined;
  }

  private fold(input: Input, event: PlacedEvent, decision: readonly PlacedEvent[]): void {
    switch (event.type) {
      case 'VfAllocated':
        return this.allocate(input, event.data, event.at, decision);
      case 'VfReleased':
        // A report's releases come before its inventory: they are folded with it.
        return input.type === 'HostReported' ? undefined : this.release(event.data, input.type);
      case 'VmStartAccepted':
        return this.startAccepted(input as Input<'VmStartRequested'>, event.data, decision);
      case 'VmStartFailed':
        return this.check('EX-3', decision.length === 1, `a failed start left ${decision.length} events`);
      case 'VmNicAttachFailed':
        return this.check('VM-6', decision.length === 1, `a failed attach left ${decision.length} events`);
      case 'VmStarted': {
        const vm = this.vms.get(event.data.vmId);
        if (vm === undefined) return this.check('VM-12', false, `unknown ${event.data.vmId} has started`);
        this.check(
          'VM-14',
          vm.hostId === event.data.hostId || this.heldBy(event.data.vmId).length === 0,
          `${event.data.vmId} holds VFs on ${vm.hostId} and is taken as on ${event.data.hostId}`,
        );
        vm.state = 'running';
        vm.hostId = event.data.hostId;
        vm.bootId = event.data.bootId;
        vm.overdue = false;
        return;
      }
      case 'VmStartAborted':
      case 'VmStopped':
        return this.stop(event.data.vmId, event.type);
      case 'VmDestroyed': {
        this.stop(event.data.vmId, event.type);
        for (const nicId of this.vms.get(event.data.vmId)?.nics.keys() ?? [])
          this.dropNic(event.data.vmId, nicId);
        this.vms.delete(event.data.vmId);
        return;
      }
      case 'VmMigrated': {
        const vm = this.vms.get(event.data.vmId);
        if (vm === undefined) return this.check('VM-14', false, `unknown ${event.data.vmId} has migrated`);
        this.check(
          'VM-14',
          vm.hostId === event.data.hostId || this.heldBy(event.data.vmId).length === 0,
          `${event.data.vmId} moved with its VFs`,
        );
        vm.hostId = event.data.hostId;
        return;
      }
      case 'VmMigrationAllowed':
        return this.check(
          'VM-9',
          this.heldBy(event.data.vmId).length === 0,
          `${event.data.vmId} may move with VFs`,
        );
      case 'VmMigrationRejected':
        if (event.data.reason === 'VM_HOLDS_VFS')
          this.check(
            'VM-9',
            event.data.holders?.length === this.heldBy(event.data.vmId).length &&
              event.data.holders.length > 0,
            `the NICs to detach of ${event.data.vmId} are not listed`,
          );
        return;
      case 'VmAdopted': {
        const { vmId, hostId, tenant, nics } = event.data;
        const asked = (input as Input<'VmAdopted'>).data.nics;
        this.check(
          'VM-19',
          asked.length === nics.length && asked.every((nic) => this.holds(vmId, nic.nicId, hostId, nic.vf)),
          `${vmId} was adopted without being the holder of exactly its VFs`,
        );
        const vm = this.vmFor(vmId, hostId);
        vm.state = 'running';
        vm.hostId = hostId;
        vm.tenant = tenant ?? vm.tenant;
        for (const nic of nics) this.setNic(vmId, nic);
        return;
      }
      case 'VmNicAttached': {
        const { vmId, nic } = event.data;
        const vm = this.vms.get(vmId);
        if (vm === undefined) return this.check('VM-6', false, `a NIC was attached to unknown ${vmId}`);
        const known = vm.nics.get(nic.nicId);
        this.check(
          'VM-8',
          known === undefined || vm.state === 'stopped' || known.type === nic.type,
          `the type of ${nicKey(vmId, nic.nicId)} changed while it runs`,
        );
        const due = vm.state !== 'stopped' && nic.type === 'vf' && nic.degraded !== true;
        this.check(
          'VM-6',
          this.nicHolds.has(nicKey(vmId, nic.nicId)) === due,
          `${nicKey(vmId, nic.nicId)} was attached ${due ? 'without' : 'with'} a VF`,
        );
        this.setNic(vmId, nic);
        return;
      }
      case 'VmNicDetached':
        this.check(
          'VM-7',
          !this.nicHolds.has(nicKey(event.data.vmId, event.data.nicId)),
          `${nicKey(event.data.vmId, event.data.nicId)} was detached and keeps its VF`,
        );
        return this.dropNic(event.data.vmId, event.data.nicId);
      case 'VmNicTypeChanged': {
        const vm = this.vms.get(event.data.vmId);
        this.check(
          'VM-8',
          vm?.state === 'stopped',
          `the type of a NIC of ${event.data.vmId} changed while it runs`,
        );
        const nic = vm?.nics.get(event.data.nicId);
        if (nic !== undefined) nic.type = event.data.type;
        return;
      }
      case 'NicDegraded':
        this.degraded.set(nicKey(event.data.vmId, event.data.nicId), {
          vmId: event.data.vmId,
          nicId: event.data.nicId,
        });
        return;
      case 'NicPromoted':
        this.check(
          'VM-10',
          this.nicHolds.has(nicKey(event.data.vmId, event.data.nicId)),
          `${nicKey(event.data.vmId, event.data.nicId)} was promoted without a VF`,
        );
        this.degraded.delete(nicKey(event.data.vmId, event.data.nicId));
        return;
      case 'AllocationOverdue': {
        const vm = this.vms.get(event.data.vmId);
        const since = this.allocations.get(event.data.allocationId)?.at;
        this.check(
          'VM-12',
          vm?.state === 'pending' && since !== undefined,
          `${event.data.allocationId} is overdue and not pending`,
        );
        if (vm !== undefined && !vm.overdue) {
          vm.overdue = true;
          vm.proofs = 0;
        }
        return;
      }
      case 'HostLost': {
        const host = this.hosts.get(event.data.hostId);
        this.check(
          'HOST-5',
          host !== undefined && event.at - host.heardAt >= this.hostTimeout * 1000,
          `${event.data.hostId} is lost ${event.at - (host?.heardAt ?? 0)} ms after it was heard`,
        );
        if (host !== undefined) host.lost = true;
        return;
      }
      case 'HostBack': {
        const host = this.hosts.get(event.data.hostId);
        if (host !== undefined) host.lost = false;
        return;
      }
      case 'HostCordoned': {
        const host = this.hosts.get(event.data.hostId);
        if (host !== undefined) host.cordoned = event.data.cordoned;
        return;
      }
      case 'HostFenced': {
        const { hostId, stoppedVms } = event.data;
        const host = this.hosts.get(hostId);
        if (host !== undefined) host.fenced = true;
        this.check('HOST-5', this.heldOn(hostId).length === 0, `${hostId} is fenced and VFs of it are held`);
        for (const [vmId, vm] of this.vms)
          if (vm.hostId === hostId && vm.state !== 'stopped')
            this.check('VM-16', stoppedVms?.includes(vmId) === true, `${vmId} runs on after a fence`);
        for (const vmId of stoppedVms ?? []) this.stop(vmId, 'a fence');
        return;
      }
      case 'HostChanged':
        for (const vmId of event.data.stoppedVms ?? []) this.stop(vmId, 'a reboot');
        return;
      case 'HostRemoved':
        this.check(
          'HOST-8',
          this.heldOn(event.data.hostId).length === 0,
          `${event.data.hostId} is removed while held`,
        );
        this.hosts.delete(event.data.hostId);
        return;
      case 'HostRemovalRejected':
        if (event.data.reason === 'HOST_IN_USE')
          this.check(
            'HOST-8',
            event.data.holders?.length === this.heldOn(event.data.hostId).length &&
              event.data.holders.length > 0,
            `the holders of ${event.data.hostId} are not listed`,
          );
        return;
      case 'PfVirtualizationOrdered': {
        const host = this.hosts.get(event.data.hostId);
        const pf = this.pfOf(event.data);
        const { numVfs } = event.data;
        this.check(
          'PF-2',
          pf !== undefined && host?.ready === true,
          `a split was ordered of an unready host`,
        );
        this.check(
          'PF-2',
          pf?.link === 'up' || input.type === 'PfLinkChanged',
          `a split of a PF without link`,
        );
        this.check(
          'PF-2',
          input.type !== 'PfVirtualizeRequested' || (numVfs >= 1 && numVfs <= (pf?.totalVfs ?? 0)),
          `a split into ${numVfs} of ${pf?.totalVfs}`,
        );
        this.check(
          'PF-3',
          [...(pf?.vfs.values() ?? [])].every((vf) => !vf.present),
          `a split was ordered of a split PF`,
        );
        if (pf !== undefined) pf.work = 'virtualizing';
        return;
      }
      case 'PfRestoreOrdered': {
        const pf = this.pfOf(event.data);
        this.check(
          'PF-4',
          this.heldOn(event.data.hostId, event.data.pf).length === 0,
          `${event.data.pf} is to be restored and its VFs are held`,
        );
        if (pf !== undefined) pf.work = 'restoring';
        return;
      }
      case 'PfVirtualized': {
        const host = this.hosts.get(event.data.hostId);
        const pf = this.pfOf(event.data);
        if (host === undefined || pf === undefined) return;
        this.check('PF-5', pf.work !== 'restoring', `${pf.address} is being restored, and is taken as split`);
        pf.work = undefined;
        this.takeVfs(host, pf, event.data.vfs);
        return;
      }
      case 'PfVirtualizationFailed':
      case 'PfRestoreFailed': {
        const pf = this.pfOf(event.data);
        if (pf !== undefined) pf.work = undefined;
        return;
      }
      case 'PfRestored': {
        const host = this.hosts.get(event.data.hostId);
        const pf = this.pfOf(event.data);
        if (host === undefined || pf === undefined) return;
        this.check(
          'PF-4',
          this.heldOn(host.id, pf.address).length === 0,
          `${pf.address} is restored while held`,
        );
        pf.work = undefined;
        this.takeVfs(host, pf, []);
        return;
      }
      case 'PfDriverLost': {
        const pf = this.pfOf(event.data);
        this.check(
          'PF-6',
          this.heldOn(event.data.hostId, event.data.pf).length === 0,
          `the driver of ${event.data.pf} is gone and its VFs are held`,
        );
        if (pf === undefined) return;
        pf.lost = true;
        if (pf.work === 'virtualizing') pf.work = undefined;
        for (const vf of pf.vfs.values()) vf.present = false;
        return;
      }
      case 'PfLinkChanged': {
        const pf = this.pfOf(event.data);
        if (pf !== undefined) pf.link = event.data.link;
        return;
      }
      case 'PfCordoned': {
        const pf = this.pfOf(event.data);
        if (pf !== undefined) pf.cordoned = event.data.cordoned;
        return;
      }
      case 'PfAccepted': {
        const pf = this.pfOf(event.data);
        if (pf !== undefined) pf.identity = pf.reported;
        return;
      }
      case 'VfScrubRequested':
        this.scrubAsked.add(event.data.allocationId);
        return;
      case 'VfScrubbed':
      case 'VfQuarantined': {
        const vf = this.vfOf(event.data.hostId, event.data.vf);
        const { allocationId } = event.data;
        this.check(
          'EX-4',
          vf === undefined || vf.scrubFor === allocationId || vf.quarantinedFor === allocationId,
          `${event.data.vf} waits for ${vf?.scrubFor}, and the word on ${allocationId} was taken`,
        );
        if (vf === undefined) return;
        vf.scrubFor = undefined;
        vf.quarantinedFor = event.type === 'VfQuarantined' ? allocationId : undefined;
        return;
      }
      case 'L2NetworkAccepted':
        this.check('NET-1', !event.data.sriov || event.data.type !== 'VxlanNetwork', 'SR-IOV on VXLAN');
        this.l2.set(event.data.l2Id, event.data);
        return;
      case 'L3NetworkAccepted':
        this.check(
          'NET-2',
          !event.data.sriov || this.l2.get(event.data.l2Id)?.sriov === true,
          `${event.data.l3Id} has SR-IOV and its L2 network has not`,
        );
        this.l3.set(event.data.l3Id, event.data);
        return;
      case 'NetworkRemoved': {
        const { id } = event.data;
        const users = [...this.vms.values()].some((vm) =>
          [...vm.nics.values()].some((nic) => nic.networkId === id),
        );
        // A name may stand for an L2 and an L3 network: neither may be in use.
        this.check('NET-8', !users && ![...this.l3.values()].some((l3) => l3.l2Id === id), `${id} is in use`);
        this.l2.delete(id);
        this.l3.delete(id);
        return;
      }
      case 'ClusterPolicyChanged':
        this.quotas = event.data.quotas ?? this.quotas;
        this.promotion = event.data.promotion ?? this.promotion;
        this.startTimeout = event.data.startTimeoutSeconds ?? this.startTimeout;
        this.hostTimeout = event.data.hostTimeoutSeconds ?? this.hostTimeout;
        return;
      default:
        return;
    }
  }

  private holds = (vmId: string, nicId: string, hostId: string, vf: string): boolean => {
    const allocation = this.allocations.get(this.nicHolds.get(nicKey(vmId, nicId)) ?? '');
    return allocation?.hostId === hostId && allocation.vf === vf;
  };

  private allocate(input: Input, data: VfAllocated, at: number, decision: readonly PlacedEvent[]): void {
    const { allocationId: id, vmId, nicId, hostId, vf: address } = data;
    const who = nicKey(vmId, nicId);
    this.check('EX-4', !this.everAllocated.has(id), `allocation id ${id} was given before`);
    this.check(
      'EX-1',
      !this.holders.has(vfKey(hostId, address)),
      `${address} of ${hostId} is held, and given to ${who}`,
    );
    this.check('EX-2', !this.nicHolds.has(who), `${who} holds a VF, and is given ${address}`);
    const away = this.heldBy(vmId).find((held) => held.hostId !== hostId);
    this.check(
      'EX-5',
      away === undefined,
      `${vmId} holds on ${away?.hostId}, and is given ${address} of ${hostId}`,
    );
    const owner = this.macs.get(data.mac);
    this.check(
      'NET-9',
      owner === undefined || owner === who,
      `MAC ${data.mac} of ${who} belongs to ${owner}`,
    );
    this.check('OUT-4', data.mac !== '' && data.physicalNetwork !== '', `${who} lacks what libvirt needs`);

    const host = this.hosts.get(hostId);
    const pf = host?.pfs.get(data.pf);
    const vf = pf?.vfs.get(address);
    this.check(
      'PF-7',
      vf !== undefined && vf.index === data.vfIndex,
      `${hostId} never told of VF ${address} of ${data.pf}`,
    );
    if (host !== undefined && pf !== undefined && vf !== undefined && data.reason !== 'adopted') {
      const where = `${data.reason} of ${who} on ${hostId} ${data.pf} ${address}`;
      this.check('HOST-1', host.ready, `${where}: the host is not ready`);
      this.check('HOST-5', !host.lost && !host.fenced, `${where}: the host is lost or fenced`);
      this.check('HOST-6', !host.cordoned && !pf.cordoned, `${where}: cordoned`);
      this.check('PF-5', pf.work === undefined, `${where}: the PF is ${pf.work}`);
      this.check('PF-6', !pf.lost && vf.present, `${where}: lost, or not reported since`);
      this.check('PF-9', !this.otherHardware(pf), `${where}: other hardware`);
      this.check('PF-13', pf.link === 'up', `${where}: down`);
      this.check('HOST-3', !vf.tied, `${where}: shared IOMMU group or used by the host`);
      this.check('HOST-7', !vf.stranger, `${where}: used by a stranger`);
      // A clean word frees the VF and hands it on in one decision; its own event comes last.
      const cleaned = decision.some((event) => event.type === 'VfScrubbed' && event.data.vf === address);
      this.check(
        'SCRUB-1',
        vf.scrubFor === undefined || cleaned,
        `${where}: not scrubbed for ${vf.scrubFor}`,
      );
      this.check('SCRUB-2', vf.quarantinedFor === undefined || cleaned, `${where}: quarantined`);
    }
    // VM-19: who uses it is its holder now.
    if (vf !== undefined && data.reason === 'adopted') vf.stranger = false;
    this.allocations.set(id, { ...data, at });
    this.everAllocated.add(id);
    this.holders.set(vfKey(hostId, address), id);
    this.nicHolds.set(who, id);
    if (data.reason !== 'adopted' && data.tenant !== undefined && Object.hasOwn(this.quotas, data.tenant)) {
      const quota = this.quotas[data.tenant] as number;
      const held = this.heldByTenant(data.tenant);
      this.check('quota', held <= quota, `${data.reason}: tenant ${data.tenant} holds ${held} of ${quota}`);
    }
    if (data.reason === 'promotion') this.promoted(input, data, pf);
  }

  /** VM-10: oldest first, among those on this host that this VF fits and that may have it. */
  private promoted(input: Input, data: VfAllocated, pf: MPf | undefined): void {
    const who = nicKey(data.vmId, data.nicId);
    this.check('VM-10', this.promotion, `${who} was promoted against the policy`);
    this.check('VM-10', this.degraded.has(who), `${who} was promoted and was not degraded`);
    const leaving =
      input.type === 'VmStopped' || input.type === 'VmStartAborted' || input.type === 'VmDestroyed';
    for (const [key, { vmId, nicId }] of this.degraded) {
      if (key === who) break;
      if (leaving && vmId === input.data.vmId) continue;
      if (input.type === 'AllocationReleaseRequested' && this.heldBy(vmId).length === 0) continue;
      const fits =
        this.vms.get(vmId)?.hostId === data.hostId && pf !== undefined && this.fitsNic(vmId, nicId, pf);
      if (this.nicHolds.has(key) || !fits || this.quotaLeft(this.vms.get(vmId)?.tenant) < 1) continue;
      this.check('VM-10', false, `${who} was promoted before ${key}, which waits longer`);
    }
  }

  private fitsNic(vmId: string, nicId: string, pf: MPf): boolean {
    const nic = this.vms.get(vmId)?.nics.get(nicId);
    if (nic === undefined) return false;
    const name = this.nameFor(nic);
    return name !== undefined && pf.names.includes(name);
  }

  private quotaLeft = (tenant: string | undefined): number =>
    tenant === undefined || !Object.hasOwn(this.quotas, tenant)
      ? Number.POSITIVE_INFINITY
      : (this.quotas[tenant] as number) - this.heldByTenant(tenant);

  private release(data: VfReleased, cause: InputType): void {
    const allocation = this.allocations.get(data.allocationId);
    const fits =
      allocation !== undefined &&
      allocation.vmId === data.vmId &&
      allocation.nicId === data.nicId &&
      allocation.hostId === data.hostId &&
      allocation.pf === data.pf &&
      allocation.vf === data.vf;
    this.check(
      'EX-4',
      fits,
      `released ${data.allocationId} (${data.vf}), which is not the current allocation`,
    );
    const reasons: Partial<Record<InputType, readonly string[]>> = {
      VmStopped: ['vm-stopped'],
      VmDestroyed: ['vm-destroyed'],
      VmStartAborted: ['start-aborted'],
      VmNicDetachRequested: ['nic-detached'],
      VmNicTypeChangeRequested: ['nic-type-changed'],
      PfRestoreRequested: ['pf-restored'],
      PfRestored: ['pf-restored'],
      PfDriverLost: ['pf-driver-lost'],
      HostReported: ['host-rebooted', 'proved-unused'],
      HostFenced: ['host-fenced'],
      AllocationReleaseRequested: ['operator'],
    };
    this.check(
      'EX-7',
      reasons[cause]?.includes(data.reason) === true,
      `${cause} released with ${data.reason}`,
    );
    const byForce = data.reason === 'pf-restored' || data.reason === 'pf-driver-lost';
    this.check(
      'PF-4',
      data.forced === byForce,
      `a release (${data.reason}) is said to be forced: ${data.forced}`,
    );
    if (allocation === undefined) return;
    this.check('VM-3', allocation.tenant === data.tenant, `the tenant of ${data.allocationId} changed`);
    this.allocations.delete(data.allocationId);
    this.holders.delete(vfKey(data.hostId, data.vf));
    this.nicHolds.delete(nicKey(data.vmId, data.nicId));
    const vf = this.vfOf(data.hostId, data.vf);
    // A PF that lost its driver gives its VFs back by a report alone (PF-6).
    if (vf !== undefined && this.hosts.get(data.hostId)?.scrubs === true && data.reason !== 'pf-driver-lost')
      vf.scrubFor = data.allocationId;
    const ended = data.reason === 'operator' || data.reason === 'proved-unused';
    if (ended && this.heldBy(data.vmId).length === 0) this.stop(data.vmId, data.reason);
  }

  private startAccepted(
    input: Input<'VmStartRequested'>,
    data: Events['VmStartAccepted'],
    decision: readonly PlacedEvent[],
  ): void {
    const { vmId, hostId, nics } = data;
    const before = this.vms.get(vmId)?.state;
    this.check('VM-15', before === undefined || before === 'stopped', `${vmId} was ${before} and is started`);
    const given = decision.filter((event) => event.type === 'VfAllocated') as PlacedEvent<'VfAllocated'>[];
    const due = nics.filter((nic) => nic.type === 'vf' && nic.degraded !== true);
    this.check(
      'EX-3',
      given.length === due.length && this.heldBy(vmId).length === due.length,
      `${vmId} has ${due.length} VF NICs that do not fall back, was given ${given.length} VFs and holds ${this.heldBy(vmId).length}`,
    );
    for (const nic of nics) {
      const id = this.nicHolds.get(nicKey(vmId, nic.nicId));
      const allocation = this.allocations.get(id ?? '');
      const right = due.includes(nic)
        ? allocation?.hostId === hostId && id === nic.allocationId && allocation.vf === nic.vf
        : id === undefined && nic.allocationId === undefined;
      this.check(
        'EX-3',
        right,
        `${nicKey(vmId, nic.nicId)} started with ${id}, and is told ${nic.allocationId}`,
      );
      if (nic.degraded === true)
        this.check('VM-10', nic.onExhaustion === 'fallback', `${nicKey(vmId, nic.nicId)} fell back unasked`);
      if (allocation !== undefined) {
        const pf = this.pfOf(allocation);
        const name = this.nameFor({ ...nic, onExhaustion: 'fail' });
        this.check(
          'NET-3',
          pf !== undefined && name !== undefined && pf.names.includes(name),
          `${nicKey(vmId, nic.nicId)} asks for ${name} and gets ${pf?.names.join(', ')}`,
        );
        const l2 = this.l2.get(this.l3.get(nic.networkId ?? '')?.l2Id ?? '');
        this.check('NET-3', allocation.vlanId === l2?.vlanId, `VLAN ${allocation.vlanId} for ${l2?.vlanId}`);
      }
    }
    const asked = input.data;
    this.check(
      'VM-1',
      asked.hostId === undefined || asked.hostId === hostId,
      `${vmId} is pinned to ${asked.hostId}`,
    );
    this.check(
      'VM-1',
      asked.hostId !== undefined || asked.hosts === undefined || asked.hosts.includes(hostId),
      `${hostId} is not among the candidates`,
    );
    const host = this.hosts.get(hostId);
    this.check(
      'HOST-5',
      host !== undefined && !host.lost && !host.fenced,
      `${vmId} starts on lost ${hostId}`,
    );
    this.check('HOST-6', host?.cordoned === false, `${vmId} starts on cordoned ${hostId}`);
    if (asked.separatePfs === true)
      this.check(
        'OUT-6',
        new Set(given.map((event) => event.data.pf)).size === given.length &&
          given.length < 2 === (data.bondHints === undefined),
        `${vmId} asked for different PFs`,
      );
    const vm = this.vmFor(vmId, hostId);
    vm.state = 'pending';
    vm.hostId = hostId;
    vm.bootId = undefined;
    vm.tenant = data.tenant ?? vm.tenant;
    const kept = new Set(nics.map((nic) => nic.nicId));
    for (const nic of nics) this.setNic(vmId, nic);
    for (const nicId of [...vm.nics.keys()]) if (!kept.has(nicId)) this.dropNic(vmId, nicId);
  }

  private vmFor(vmId: string, hostId: string): MVm {
    let vm = this.vms.get(vmId);
    if (vm === undefined) {
      vm = { state: 'stopped', hostId, overdue: false, proofs: 0, nics: new Map() };
      this.vms.set(vmId, vm);
    }
    return vm;
  }

  private setNic(vmId: string, nic: StartedNic): void {
    const key = nicKey(vmId, nic.nicId);
    const nics = this.vms.get(vmId)?.nics;
    const known = nics?.get(nic.nicId);
    if (nic.mac !== undefined) {
      const owner = this.macs.get(nic.mac);
      this.check(
        'NET-9',
        owner === undefined || owner === key,
        `MAC ${nic.mac} of ${key} belongs to ${owner}`,
      );
      if (known?.mac !== undefined && known.mac !== nic.mac) this.macs.delete(known.mac);
      this.macs.set(nic.mac, key);
    }
    nics?.set(nic.nicId, {
      nicId: nic.nicId,
      type: nic.type,
      networkId: nic.networkId,
      physicalNetwork: nic.physicalNetwork,
      onExhaustion: nic.onExhaustion ?? 'fail',
      mac: nic.mac,
    });
  }

  private dropNic(vmId: string, nicId: string): void {
    const nic = this.vms.get(vmId)?.nics.get(nicId);
    if (nic?.mac !== undefined) this.macs.delete(nic.mac);
    this.vms.get(vmId)?.nics.delete(nicId);
    this.degraded.delete(nicKey(vmId, nicId));
  }

  private stop(vmId: string, why: string): void {
    this.check('VM-3', this.heldBy(vmId).length === 0, `${vmId} ended by ${why} and holds VFs`);
    const vm = this.vms.get(vmId);
    if (vm === undefined) return;
    vm.state = 'stopped';
    vm.bootId = undefined;
    vm.overdue = false;
    for (const nicId of vm.nics.keys()) this.degraded.delete(nicKey(vmId, nicId));
  }

  // --- what stands after each decision
  // -----------------------------------------------------------------------------

  private standing(): void {
    for (const host of this.hosts.values()) {
      for (const pf of host.pfs.values()) {
        for (const { address, scrubFor } of pf.work === undefined ? pf.vfs.values() : [])
          this.check(
            'SCRUB-1',
            scrubFor === undefined || this.scrubAsked.has(scrubFor),
            `${address} waits for a scrub that nobody was told to do`,
          );
      }
    }
    for (const allocation of this.allocations.values()) {
      const vm = this.vms.get(allocation.vmId);
      this.check(
        'VM-3',
        vm !== undefined && vm.state !== 'stopped',
        `${allocation.vmId} is stopped and holds VFs`,
      );
      this.check(
        'EX-5',
        vm?.hostId === allocation.hostId,
        `${allocation.vmId} is on ${vm?.hostId}, its VF on ${allocation.hostId}`,
      );
    }
  }

  private afterTick(time: number): void {
    for (const host of this.hosts.values()) {
      this.check(
        'HOST-5',
        host.lost || time - host.heardAt < this.hostTimeout * 1000,
        `${host.id} is silent for ${time - host.heardAt} ms and not lost`,
      );
    }
    for (const [vmId, vm] of this.vms) {
      if (vm.state !== 'pending' || vm.overdue) continue;
      const held = this.heldBy(vmId);
      this.check(
        'VM-12',
        held.length === 0 || held.some(({ at }) => time - at < this.startTimeout * 1000),
        `${vmId} is pending too long, and nobody is told`,
      );
    }
    if (!this.promotion) return;
    for (const [key, { vmId, nicId }] of this.degraded) {
      const vm = this.vms.get(vmId);
      const host = this.hosts.get(vm?.hostId ?? '');
      if (vm === undefined || host === undefined || this.quotaLeft(vm.tenant) < 1) continue;
      for (const pf of host.pfs.values()) {
        const room = this.obstacles(host, pf).size === 0 && this.freeOn(host, pf) > 0;
        this.check(
          'VM-10',
          !room || !this.fitsNic(vmId, nicId, pf),
          `${key} waits, and ${pf.address} has a free VF`,
        );
      }
    }
  }

  // --- whether refusals are true
  // -----------------------------------------------------------------------------------

  private obstacles(host: MHost, pf: MPf): Set<string> {
    const found = new Set<string>();
    if (host.lost || host.fenced) found.add('HOST_LOST');
    if (host.cordoned) found.add('HOST_CORDONED');
    if (!host.ready) found.add('HOST_NOT_READY');
    if (pf.lost) found.add('PF_LOST');
    if (this.otherHardware(pf)) found.add('PF_IDENTITY_CHANGED');
    if (pf.totalVfs === 0) found.add('PF_NOT_VIRTUALIZABLE');
    if (pf.work === 'restoring') found.add('PF_RESTORING');
    if (pf.work === 'virtualizing') found.add('PF_BUSY');
    if (pf.vfs.size === 0) found.add('PF_NOT_VIRTUALIZED');
    if (pf.cordoned) found.add('PF_CORDONED');
    if (pf.link === 'down') found.add('PF_LINK_DOWN');
    return found;
  }

  private freeOn = (host: MHost, pf: MPf): number =>
    [...pf.vfs.values()].filter(
      (vf) =>
        vf.present &&
        !vf.tied &&
        !vf.stranger &&
        vf.scrubFor === undefined &&
        vf.quarantinedFor === undefined &&
        !this.holders.has(vfKey(host.id, vf.address)),
    ).length;

  /** The name a NIC's PF must go by; undefined where its network does not serve VFs now. */
  private nameFor(nic: Pick<MNic, 'networkId' | 'physicalNetwork' | 'onExhaustion'>): string | undefined {
    if (nic.networkId === undefined) return nic.physicalNetwork ?? '';
    const l3 = this.l3.get(nic.networkId);
    const l2 = this.l2.get(l3?.l2Id ?? '');
    return l3?.sriov === true && l2?.sriov === true ? l2.physicalInterface : undefined;
  }

  /** Whether all needs fit on a host together: every assignment of needs to PFs is tried. */
  private fits(host: MHost, needs: readonly Need[], separate: boolean): boolean {
    const room = new Map<MPf, number>();
    for (const pf of host.pfs.values()) {
      if (this.obstacles(host, pf).size > 0) continue;
      const free = this.freeOn(host, pf);
      room.set(pf, separate ? Math.min(1, free) : free);
    }
    const place = (index: number): boolean => {
      const need = needs[index];
      if (need === undefined) return true;
      for (const [pf, left] of room) {
        if (left === 0 || !pf.names.includes(need.name)) continue;
        room.set(pf, left - 1);
        if (place(index + 1)) return true;
        room.set(pf, left);
      }
      return false;
    };
    return place(0);
  }

  private refusals(input: Input, events: readonly PlacedEvent[], time: number): void {
    const outcome = events.at(-1);
    if (outcome === undefined || time < 0) return;
    if (input.type === 'VmStartRequested') {
      const { vmId } = input.data;
      const vm = this.vms.get(vmId);
      const specs: readonly (NicSpec | MNic)[] | undefined =
        input.data.nics ?? (vm === undefined ? undefined : [...vm.nics.values()]);
      const looked = this.lookedAt(input.data);
      if (outcome.type === 'VmStartFailed') this.startRefused(input.data, outcome.data, vm, specs, looked);
      if (outcome.type === 'VmStartAccepted' && specs !== undefined)
        this.fallBacks(outcome.data, specs, looked, input.data.separatePfs ?? false);
    }
    if (input.type === 'VmNicAttachRequested' && outcome.type === 'VmNicAttachFailed') {
      const vm = this.vms.get(input.data.vmId);
      const { reason, summary, considered } = outcome.data;
      const known = vm?.nics.get(input.data.nic.nicId);
      const needs = this.needsOf([{ ...known, ...input.data.nic }]);
      const host = this.hosts.get(vm?.hostId ?? '');
      if (reason === 'QUOTA_EXCEEDED')
        this.check('quota', this.quotaLeft(vm?.tenant) < 1, `${vm?.tenant} has room for one more`);
      if (!PLACEMENT_CODES.has(reason) || needs === undefined) return;
      this.check(
        'VM-2',
        host === undefined || !this.fits(host, needs, false),
        `${reason}, and the NIC fits on ${host?.id}`,
      );
      this.counts(
        reason,
        summary ?? {},
        considered ?? [],
        needs,
        host === undefined ? [] : [host],
        false,
        true,
      );
    }
  }

  /** Hosts that a start may go to. */
  private lookedAt = (asked: Inputs['VmStartRequested']): MHost[] =>
    asked.hostId === undefined && asked.hosts === undefined
      ? [...this.hosts.values()]
      : [...new Set(asked.hostId === undefined ? asked.hosts : [asked.hostId])].flatMap(
          (id) => this.hosts.get(id) ?? [],
        );

  private needsOf(specs: readonly (Partial<NicSpec> | MNic)[]): Need[] | undefined {
    const needs: Need[] = [];
    for (const spec of specs) {
      if (spec.type === 'vnic') continue;
      const name = this.nameFor(spec as MNic);
      if (name === undefined) return undefined;
      needs.push({ nicId: spec.nicId ?? '', name, fallback: spec.onExhaustion === 'fallback' });
    }
    return needs;
  }

  private startRefused(
    asked: Inputs['VmStartRequested'],
    data: Events['VmStartFailed'],
    vm: MVm | undefined,
    specs: readonly (NicSpec | MNic)[] | undefined,
    looked: readonly MHost[],
  ): void {
    const { vmId, reason } = data;
    const held = this.heldBy(vmId);
    if (reason === 'VM_RUNNING' || reason === 'VM_RUNNING_ELSEWHERE') {
      this.check(
        'VM-15',
        vm !== undefined && vm.state !== 'stopped',
        `${vmId} is ${vm?.state}, and refused as running`,
      );
      this.check(
        'VM-15',
        data.hostId === vm?.hostId && (data.holders ?? []).length === held.length,
        `${vmId}: the host and holders are not told`,
      );
      const elsewhere = asked.hostId !== undefined && held.some(({ hostId }) => hostId !== asked.hostId);
      this.check(
        'EX-5',
        (reason === 'VM_RUNNING_ELSEWHERE') === elsewhere,
        `${vmId} is refused with ${reason}`,
      );
      return;
    }
    if (reason === 'GENERATION_STALE') return;
    this.check(
      'VM-15',
      vm === undefined || vm.state === 'stopped',
      `${vmId} runs, and is refused with ${reason}`,
    );
    if (reason === 'VM_UNKNOWN')
      return this.check('VM-4', specs === undefined, `${vmId} is known, and refused as unknown`);
    const needs = specs === undefined ? undefined : this.needsOf(specs);
    if (reason === 'NETWORK_UNKNOWN' || reason === 'NETWORK_SRIOV_DISABLED')
      return this.check(
        'NET-7',
        needs === undefined,
        `${vmId}: every network serves, and it is refused with ${reason}`,
      );
    if (reason === 'MAC_IN_USE') {
      const clash = (specs ?? []).some((nic) => {
        const owner = this.macs.get(nic.mac ?? '');
        const twice =
          (specs ?? []).filter((other) => (other.mac ?? vm?.nics.get(other.nicId)?.mac) === nic.mac).length >
          1;
        return nic.mac !== undefined && (twice || (owner !== undefined && owner !== nicKey(vmId, nic.nicId)));
      });
      return this.check('NET-9', clash, `${vmId}: nobody else has its MACs`);
    }
    if (needs === undefined) return;
    if (reason === 'QUOTA_EXCEEDED') {
      const tenant = asked.tenant ?? vm?.tenant;
      return this.check(
        'quota',
        this.quotaLeft(tenant) < needs.length,
        `${tenant} has room for ${needs.length} more`,
      );
    }
    if (!PLACEMENT_CODES.has(reason)) return;
    const must = needs.filter((need) => !need.fallback);
    const separate = asked.separatePfs ?? false;
    const open = looked.filter((host) => !host.lost && !host.fenced && !host.cordoned);
    const host = must.length === 0 ? open[0] : open.find((one) => this.fits(one, must, separate));
    this.check('VM-2', host === undefined, `${reason}, and ${must.length} VFs fit on ${host?.id}`);
    if (reason === 'SEPARATE_PFS_IMPOSSIBLE')
      this.check(
        'OUT-6',
        separate && open.some((one) => this.fits(one, needs, false) || this.fits(one, must, false)),
        `${vmId} does not fit without separatePfs either`,
      );
    this.counts(reason, data.summary, data.considered, needs, looked, separate, data.truncated !== true);
  }

  /**
   * VM-2: what is said of each PF is true, each is counted once, and the counts are those of what was looked
   * at.
   */
  private counts(
    reason: string,
    summary: Readonly<Record<string, number>>,
    considered: Events['VmStartFailed']['considered'],
    needs: readonly Need[],
    looked: readonly MHost[],
    separate: boolean,
    whole: boolean,
  ): void {
    this.check('VM-2', considered.length <= 32, `${considered.length} considered`);
    const tally: Record<string, number> = {};
    const seen = new Set<string>();
    for (const miss of considered) {
      const key = `${miss.hostId} ${miss.pf ?? ''}`;
      this.check('VM-2', !seen.has(key), `${key} is considered twice`);
      seen.add(key);
      tally[miss.reason] = (tally[miss.reason] ?? 0) + 1;
      const host = this.hosts.get(miss.hostId);
      this.check('VM-2', (host === undefined) === (miss.reason === 'HOST_UNKNOWN'), `${key}: ${miss.reason}`);
      const pf = host?.pfs.get(miss.pf ?? '');
      if (host === undefined || pf === undefined) continue;
      const against = this.obstacles(host, pf);
      const short = miss.reason === 'VF_EXHAUSTED' || miss.reason === 'SEPARATE_PFS_IMPOSSIBLE';
      this.check(
        'VM-2',
        short ? against.size === 0 : against.has(miss.reason),
        `${key} is said ${miss.reason}: ${[...against].join(', ')}`,
      );
      this.check(
        'VM-2',
        miss.total === pf.vfs.size,
        `${key} is said to have ${miss.total} VFs of ${pf.vfs.size}`,
      );
      const free = against.size === 0 ? this.freeOn(host, pf) : 0;
      this.check('VM-2', miss.free === free, `${key} is said to have ${miss.free} free of ${free}`);
    }
    if (whole)
      this.check(
        'VM-2',
        JSON.stringify(sorted(tally)) === JSON.stringify(sorted(summary)),
        `summary ${JSON.stringify(summary)}, considered ${JSON.stringify(tally)}`,
      );
    this.check(
      'OUT-2',
      this.hosts.size === 0 || looked.length === 0 || (summary[reason] ?? 0) > 0,
      `${reason} is not in ${JSON.stringify(summary)}`,
    );
    const names = new Set(needs.map((need) => need.name));
    if (names.size !== 1 || separate) return;
    const [name] = names as Set<string> & Iterable<string>;
    const lacksOnlyVf = looked.some((host) =>
      [...host.pfs.values()].some(
        (pf) => pf.names.includes(name as string) && this.obstacles(host, pf).size === 0,
      ),
    );
    if (needs.every((need) => !need.fallback))
      this.check(
        'VM-2',
        (reason === 'VF_EXHAUSTED') === lacksOnlyVf,
        `${reason}, and a host lacks only a free VF: ${lacksOnlyVf}`,
      );
    for (const miss of considered) {
      const pf = this.hosts.get(miss.hostId)?.pfs.get(miss.pf ?? '');
      if (pf !== undefined)
        this.check('VM-2', pf.names.includes(name as string), `${pf.address} does not go by ${name}`);
    }
  }

  /** VM-10: who fell back had no other way. */
  private fallBacks(
    data: Events['VmStartAccepted'],
    specs: readonly (NicSpec | MNic)[],
    looked: readonly MHost[],
    separate: boolean,
  ): void {
    const fallen = new Set(data.nics.filter((nic) => nic.degraded === true).map((nic) => nic.nicId));
    const needs = this.needsOf(specs);
    const host = this.hosts.get(data.hostId);
    if (fallen.size === 0 || needs === undefined || host === undefined) return;
    const all = looked.find((one) => this.fits(one, needs, separate));
    this.check('VM-10', all === undefined, `${[...fallen].join(', ')} fell back, and all fit on ${all?.id}`);
    const served = needs.filter((need) => !fallen.has(need.nicId));
    for (const need of needs)
      if (fallen.has(need.nicId))
        this.check(
          'VM-10',
          !this.fits(host, [...served, need], separate),
          `${need.nicId} fell back, and fits on ${host.id}`,
        );
  }
}

const bound = (report: VfReport): boolean =>
  report.boundDriver !== undefined && PASS_THROUGH.includes(report.boundDriver);

const sorted = (counts: Readonly<Record<string, number>>): [string, number][] =>
  Object.entries(counts).sort(([a], [b]) => (a < b ? -1 : 1));
