import { withGeneration } from '../decision.js';
import type { DomainEvent, Refusal } from '../events.js';
import type { Input, VmInputType } from '../inputs.js';
import { refusal } from '../refusal.js';
import type { KnownVmState, State, Vm, VmState } from '../state.js';
import { decideAdopted, decideAdoptedAgain } from './adoption.js';
import {
  decideEnd,
  decideMigrated,
  decideRebooted,
  decideStarted,
  decideStartedLate,
  ignoreVm,
} from './lifecycle.js';
import { decideMigration } from './migration.js';
import { decideAttach, decideDetach, decideTypeChange } from './nics.js';
import { decideStart, refuseStart, startFailed } from './start.js';

type Cell<T extends VmInputType, V> = (state: State, vm: V, input: Input<T>) => readonly DomainEvent[];

/** One row: what an input does in each state of its VM. */
type Row<T extends VmInputType> = { readonly [S in KnownVmState]: Cell<T, Vm> } & {
  readonly unknown: Cell<T, undefined>;
};

const known = <T extends VmInputType>(cell: Cell<T, Vm>): Record<KnownVmState, Cell<T, Vm>> => ({
  pending: cell,
  running: cell,
  stopped: cell,
});

type VmRequestType = Extract<VmInputType, `${string}Requested`>;

/** A refused VM request, in the form of its own outcome. */
function refuse(input: Input<VmRequestType>, why: Refusal): readonly DomainEvent[] {
  const { vmId, generation } = input.data;
  switch (input.type) {
    case 'VmStartRequested':
      return startFailed(input, why);
    case 'VmNicAttachRequested':
      return [
        {
          type: 'VmNicAttachFailed',
          data: withGeneration({ vmId, nicId: input.data.nic.nicId, ...why }, generation),
        },
      ];
    case 'VmNicDetachRequested':
      return [
        {
          type: 'VmNicDetachFailed',
          data: withGeneration({ vmId, nicId: input.data.nicId, ...why }, generation),
        },
      ];
    case 'VmNicTypeChangeRequested': {
      const { nicId, type } = input.data;
      return [
        { type: 'VmNicTypeChangeRejected', data: withGeneration({ vmId, nicId, type, ...why }, generation) },
      ];
    }
    case 'VmMigrationRequested': {
      const { kind, targetHostId } = input.data;
      return [
        {
          type: 'VmMigrationRejected',
          data: withGeneration({ vmId, kind, targetHostId, ...why }, generation),
        },
      ];
    }
  }
}

const refuseUnknown = (_state: State, _vm: undefined, input: Input<VmRequestType>): readonly DomainEvent[] =>
  refuse(input, refusal('VM_UNKNOWN', `VM ${input.data.vmId} was never started here, or is destroyed`));

/** Every input about a VM in every state of the VM. A cell that is missing does not compile. */
export const VM_TABLE: { readonly [T in VmInputType]: Row<T> } = {
  VmStartRequested: {
    unknown: decideStart,
    pending: refuseStart,
    running: refuseStart,
    stopped: decideStart,
  },
  VmStarted: {
    unknown: ignoreVm('unknown'),
    pending: decideStarted,
    running: decideStarted,
    stopped: decideStartedLate,
  },
  VmStartAborted: {
    unknown: ignoreVm('unknown'),
    pending: decideEnd,
    running: decideEnd,
    stopped: ignoreVm('already-stopped'),
  },
  VmStopped: {
    unknown: ignoreVm('unknown'),
    pending: decideEnd,
    running: decideEnd,
    stopped: ignoreVm('already-stopped'),
  },
  VmDestroyed: { unknown: ignoreVm('unknown'), ...known(decideEnd) },
  VmRebooted: {
    unknown: ignoreVm('unknown'),
    pending: decideRebooted,
    running: decideRebooted,
    stopped: ignoreVm('already-stopped'),
  },
  VmMigrated: { unknown: ignoreVm('unknown'), ...known(decideMigrated) },
  VmAdopted: {
    unknown: decideAdopted,
    pending: decideAdoptedAgain,
    running: decideAdoptedAgain,
    stopped: decideAdopted,
  },
  VmNicAttachRequested: { unknown: refuseUnknown, ...known(decideAttach) },
  VmNicDetachRequested: { unknown: refuseUnknown, ...known(decideDetach) },
  VmNicTypeChangeRequested: { unknown: refuseUnknown, ...known(decideTypeChange) },
  VmMigrationRequested: { unknown: refuseUnknown, ...known(decideMigration) },
};

/** VM-13: the generation that is known of a VM, also of one that is not known any more. */
const generationOf = (state: State, vmId: string): number | undefined =>
  state.vms.get(vmId)?.generation ?? state.generations.get(vmId)?.generation;

const isRequest = (input: Input<VmInputType>): input is Input<VmRequestType> =>
  input.type.endsWith('Requested');

/** Decides an input about a VM by its cell. */
export function decideVm(state: State, input: Input<VmInputType>): readonly DomainEvent[] {
  const { vmId, generation } = input.data;
  const newest = generation === undefined ? undefined : generationOf(state, vmId);
  if (generation !== undefined && newest !== undefined && generation < newest) {
    if (!isRequest(input)) return ignoreVm('stale')(state, undefined, input);
    return refuse(
      input,
      refusal(
        'GENERATION_STALE',
        `VM ${vmId} is at generation ${newest}, the request is of generation ${generation}`,
      ),
    );
  }
  const vm = state.vms.get(vmId);
  const row: Row<VmInputType> = VM_TABLE[input.type] as Row<VmInputType>;
  const place: VmState = vm?.state ?? 'unknown';
  // The compiler cannot pair a state's name with whether there is a VM; the line above does.
  return (row[place] as Cell<VmInputType, Vm | undefined>)(state, vm, input);
}
