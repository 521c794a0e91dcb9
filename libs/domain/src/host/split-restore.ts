import { allocationsOn, Decision, holderOf } from '../decision.js';
import type { DomainEvent, HolderRef, Refusal } from '../events.js';
import type { Input } from '../inputs.js';
import { MAX_VFS_PER_HOST } from '../limits.js';
import type { RefusalCode } from '../refusal-codes.js';
import { refusal } from '../refusal.js';
import { isHostReady, pfState, whyNotReady } from '../standing.js';
import type { Host, Pf, State } from '../state.js';
import { letGo } from '../vm/lifecycle.js';
import { ignoreHost, rejectHost } from './facts.js';
import { orderSplit } from './report.js';

/** What stands against any work on a PF. */
function findPf(state: State, data: { readonly hostId: string; readonly pf: string }): Pf | Refusal {
  const host = state.hosts.get(data.hostId);
  if (host === undefined) return refusal('HOST_UNKNOWN', `host ${data.hostId} has never reported`);
  const pf = host.pfs.get(data.pf);
  if (pf === undefined) return refusal('PF_UNKNOWN', `host ${data.hostId} has no PF ${data.pf}`);
  const against = againstWork(host, pf);
  return against === undefined ? pf : refusal(against, `${nameOf(pf)} ${WORDS[against]}`);
}

const isRefusal = (found: Pf | Refusal): found is Refusal => 'reason' in found;

const nameOf = (pf: Pf): string => `PF ${pf.address} (${pf.report.ifname}) of host ${pf.host.id}`;

function againstWork(host: Host, pf: Pf): keyof typeof WORDS | undefined {
  if (host.fenced || host.lostSince !== undefined) return 'HOST_LOST';
  if (pf.lost) return 'PF_LOST';
  if (pf.identityChanged) return 'PF_IDENTITY_CHANGED';
  if (pf.report.totalVfs === 0) return 'PF_NOT_VIRTUALIZABLE';
  if (pf.work === 'virtualizing') return 'PF_BUSY';
  return pf.work === 'restoring' ? 'PF_RESTORING' : undefined;
}

const WORDS = {
  HOST_LOST: 'cannot be told anything: the host is not heard from, or fenced',
  PF_LOST: 'has no driver',
  PF_IDENTITY_CHANGED: 'is other hardware than was known there: accept it first',
  PF_NOT_VIRTUALIZABLE: 'has no SR-IOV',
  PF_BUSY: 'is being split',
  PF_RESTORING: 'is being restored',
} as const satisfies Partial<Record<RefusalCode, string>>;

/** PF-2, PF-3, PF-11: a PF is split once, from 0, into 1..totalVfs VFs; it must be up and its host ready. */
export function decideVirtualize(
  state: State,
  input: Input<'PfVirtualizeRequested'>,
): readonly DomainEvent[] {
  const { hostId, numVfs } = input.data;
  const reject = (why: Refusal): readonly DomainEvent[] => [
    { type: 'PfVirtualizationRejected', data: { hostId, pf: input.data.pf, numVfs, ...why } },
  ];
  const pf = findPf(state, input.data);
  if (isRefusal(pf)) return reject(pf);
  if (pf.vfs.length > 0) {
    const message = `${nameOf(pf)} is split into ${pf.vfs.length} VFs: restore it before it is split again`;
    return reject(refusal('PF_ALREADY_VIRTUALIZED', message, allocationsOn(pf).map(holderOf)));
  }
  if (!isHostReady(pf.host)) return reject(refusal('HOST_NOT_READY', whyNotReady(pf.host)));
  if (numVfs < 1 || numVfs > pf.report.totalVfs) {
    const message = `${nameOf(pf)} can be split into 1 to ${pf.report.totalVfs} VFs, not into ${numVfs}`;
    return reject(refusal('VF_COUNT_OUT_OF_RANGE', message));
  }
  const others = vfsOfOthers(pf);
  if (others + numVfs > MAX_VFS_PER_HOST) {
    const message = `host ${hostId} would have ${others + numVfs} VFs: it can have ${MAX_VFS_PER_HOST}, and its other PFs have ${others}`;
    return reject(refusal('VF_COUNT_OUT_OF_RANGE', message));
  }
  if (pf.report.link === 'down') return reject(refusal('PF_LINK_DOWN', `${nameOf(pf)} has no link`));
  const brothers = splitInBond(pf);
  const warnings: string[] = [];
  if (brothers.length > 0) {
    const message = `bond ${pf.report.bond} has another split PF: ${brothers.map((other) => other.address).join(', ')}`;
    if (state.policy.bond === 'reject') return reject(refusal('PF_IN_BOND', message));
    warnings.push(message);
  }
  const decision = new Decision(state, input.id);
  orderSplit(decision, pf, numVfs, warnings);
  return decision.events;
}

/** VFs that the other PFs of the host have, or are being split into. */
const vfsOfOthers = (pf: Pf): number => {
  let vfs = 0;
  for (const other of pf.host.pfs.values())
    if (other !== pf) vfs += other.work === 'virtualizing' ? (other.wanted ?? 0) : other.vfs.length;
  return vfs;
};

/** PF-11: the other PFs of the bond that are split or being split. */
const splitInBond = (pf: Pf): readonly Pf[] =>
  pf.report.bond === undefined
    ? []
    : [...pf.host.pfs.values()].filter(
        (other) =>
          other !== pf &&
          other.report.bond === pf.report.bond &&
          (other.vfs.length > 0 || other.work === 'virtualizing'),
      );

/** A host reports a split done. Fewer VFs than ordered are accepted, with a warning and drift (PF-15). */
export function decideVirtualized(state: State, input: Input<'PfVirtualized'>): readonly DomainEvent[] {
  const { hostId, vfs } = input.data;
  const pf = state.hosts.get(hostId)?.pfs.get(input.data.pf);
  if (pf === undefined) return ignoreHost(input, 'unknown');
  if (pf.work === 'restoring') {
    return rejectHost(
      input,
      'PF_RESTORING',
      `${nameOf(pf)} is being restored: a report of a split comes too late`,
    );
  }
  if (pf.work === undefined && pf.vfs.length > 0) {
    const known = new Set(pf.vfs.map((vf) => vf.report.pciAddress));
    if (vfs.length === known.size && vfs.every((vf) => known.has(vf.pciAddress))) {
      return ignoreHost(input, 'already-virtualized');
    }
    const message = `${nameOf(pf)} is split into other VFs than reported: the count changes only through 0`;
    return rejectHost(input, 'PF_ALREADY_VIRTUALIZED', message);
  }
  const strange = vfs.find((vf) => {
    const other = pf.host.vfs.get(vf.pciAddress);
    return other !== undefined && other.pf !== pf;
  });
  if (strange !== undefined) {
    return rejectHost(
      input,
      'VF_NOT_FREE',
      `VF ${strange.pciAddress} belongs to another PF of host ${hostId}`,
    );
  }
  const decision = new Decision(state, input.id);
  const short = pf.wanted !== undefined && pf.wanted !== vfs.length;
  const warnings = short ? [`${pf.wanted} VFs were ordered, ${vfs.length} came`] : [];
  if (short) {
    decision.add('DriftDetected', {
      hostId,
      pf: pf.address,
      kind: 'VF_COUNT',
      expected: pf.wanted,
      observed: vfs.length,
    });
  }
  decision.add('PfVirtualized', {
    hostId,
    pf: pf.address,
    vfs,
    ...(warnings.length === 0 ? undefined : { warnings }),
  });
  return decision.events;
}

/** PF-15: ordered work that failed: the PF is then as the next report shows it. */
export function decideWorkFailed(
  state: State,
  input: Input<'PfVirtualizationFailed' | 'PfRestoreFailed'>,
): readonly DomainEvent[] {
  const pf = state.hosts.get(input.data.hostId)?.pfs.get(input.data.pf);
  if (pf === undefined) return ignoreHost(input, 'unknown');
  const work = input.type === 'PfVirtualizationFailed' ? 'virtualizing' : 'restoring';
  if (pf.work !== work) return ignoreHost(input, 'stale');
  if (input.type === 'PfVirtualizationFailed') return [{ type: input.type, data: input.data }];
  const decision = new Decision(state, input.id);
  // SCRUB-1: the VFs stay after all, and those that were released for the restore were not scrubbed.
  for (const { marks, report } of pf.vfs) {
    const { scrub } = marks;
    if (scrub === undefined || scrub.overdue || state.scrubbing.has(scrub.allocationId)) continue;
    const { allocationId } = scrub;
    decision.add('VfScrubRequested', {
      hostId: pf.host.id,
      pf: pf.address,
      vf: report.pciAddress,
      allocationId,
    });
  }
  return decision.add(input.type, input.data).events;
}

/**
 * PF-4, PF-5: a restore takes all VFs away; with VFs in use the request, or else the policy, says what
 * happens.
 */
export function decideRestore(state: State, input: Input<'PfRestoreRequested'>): readonly DomainEvent[] {
  const { hostId, onBusy = state.policy.restoreOnBusy } = input.data;
  const reject = (why: Refusal): readonly DomainEvent[] => [
    { type: 'PfRestoreRejected', data: { hostId, pf: input.data.pf, ...why } },
  ];
  const pf = findPf(state, input.data);
  if (isRefusal(pf)) return reject(pf);
  if (pfState(pf) !== 'virtualized') {
    return reject(refusal('PF_NOT_VIRTUALIZED', `${nameOf(pf)} is not split: there is nothing to restore`));
  }
  const allocations = allocationsOn(pf);
  const users = onBusy === 'reject' ? [...allocations.map(holderOf), ...strangersOn(pf)] : [];
  if (users.length > 0) {
    const count = new Set(users.map(({ vf }) => vf)).size;
    return reject(refusal('PF_BUSY', `${nameOf(pf)} has ${count} of its VFs in use`, users));
  }
  const decision = new Decision(state, input.id).release(allocations, 'pf-restored', true);
  letGo(decision, allocations);
  return decision.add('PfRestoreOrdered', { hostId, pf: pf.address }).events;
}

/** HOST-7: VMs that use a VF of the PF and do not hold it. Which of their NICs it is, nobody knows. */
const strangersOn = (pf: Pf): readonly HolderRef[] =>
  pf.vfs.flatMap(({ marks, report }) =>
    marks.stranger && report.usedByVmId !== undefined
      ? [{ vmId: report.usedByVmId, vf: report.pciAddress }]
      : [],
  );

/** PF-16: a restore that nobody ordered is accepted, with its forced releases, and drift. */
export function decideRestored(state: State, input: Input<'PfRestored'>): readonly DomainEvent[] {
  const { hostId } = input.data;
  const pf = state.hosts.get(hostId)?.pfs.get(input.data.pf);
  if (pf === undefined) return ignoreHost(input, 'unknown');
  if (pf.work === undefined && pf.vfs.length === 0) return ignoreHost(input, 'already-restored');
  if (pf.work === 'virtualizing') {
    return rejectHost(input, 'PF_BUSY', `${nameOf(pf)} is being split: a report of a restore comes too late`);
  }
  const decision = new Decision(state, input.id);
  const allocations = allocationsOn(pf);
  decision.release(allocations, 'pf-restored', true);
  letGo(decision, allocations);
  if (pf.work !== 'restoring') {
    decision.add('DriftDetected', {
      hostId,
      pf: pf.address,
      kind: 'UNORDERED_RESTORE',
      expected: pf.wanted,
      observed: 0,
    });
  }
  for (const drift of pf.host.drifts.values()) {
    if (drift.kind === 'VF_COUNT' && drift.pf === pf.address) decision.add('DriftResolved', drift);
  }
  return decision.add('PfRestored', { hostId, pf: pf.address }).events;
}
