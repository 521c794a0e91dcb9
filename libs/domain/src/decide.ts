import { decidePolicy, decideTick } from './cluster.js';
import type { DomainEvent } from './events.js';
import {
  decideAllocationRelease,
  decideDriverLost,
  decideFenced,
  decideHostCordoned,
  decideHostRemoval,
  decideLinkChanged,
  decidePfAccepted,
  decidePfCordoned,
  decideScrubbed,
  decideSeen,
} from './host/facts.js';
import { decideReport } from './host/report.js';
import {
  decideRestore,
  decideRestored,
  decideVirtualize,
  decideVirtualized,
  decideWorkFailed,
} from './host/split-restore.js';
import type { Input } from './inputs.js';
import { decideL2, decideL3, decideNetworkRemoval } from './network/networks.js';
import type { State } from './state.js';
import { decideVm } from './vm/vm-table.js';

/** Version of the decider, kept in each record: the same version decides the same. */
export const DECIDER_VERSION = '5';

/**
 * The decider: what an input leads to, facts first and the outcome last. Pure: it reads the state, the input
 * and nothing else, and changes neither. An empty list means that there is nothing to do.
 *
 * The input is new: {@link recall} has said so (EX-6).
 */
export function decide(state: State, input: Input): readonly DomainEvent[] {
  switch (input.type) {
    case 'HostReported':
      return decideReport(state, input);
    case 'HostSeen':
      return decideSeen(state, input);
    case 'HostCordoned':
      return decideHostCordoned(state, input);
    case 'HostFenced':
      return decideFenced(state, input);
    case 'HostRemovalRequested':
      return decideHostRemoval(state, input);
    case 'PfVirtualizeRequested':
      return decideVirtualize(state, input);
    case 'PfVirtualized':
      return decideVirtualized(state, input);
    case 'PfVirtualizationFailed':
    case 'PfRestoreFailed':
      return decideWorkFailed(state, input);
    case 'PfRestoreRequested':
      return decideRestore(state, input);
    case 'PfRestored':
      return decideRestored(state, input);
    case 'PfDriverLost':
      return decideDriverLost(state, input);
    case 'PfLinkChanged':
      return decideLinkChanged(state, input);
    case 'PfCordoned':
      return decidePfCordoned(state, input);
    case 'PfAccepted':
      return decidePfAccepted(state, input);
    case 'VfScrubbed':
      return decideScrubbed(state, input);
    case 'AllocationReleaseRequested':
      return decideAllocationRelease(state, input);
    case 'L2NetworkDefined':
      return decideL2(state, input);
    case 'L3NetworkDefined':
      return decideL3(state, input);
    case 'NetworkRemovalRequested':
      return decideNetworkRemoval(state, input);
    case 'ClusterPolicyChanged':
      return decidePolicy(state, input);
    case 'Tick':
      return decideTick(state, input);
    default:
      return decideVm(state, input);
  }
}

/** EX-6: whether an input took effect before, and whether it said the same then. */
export const recall = (state: State, input: Pick<Input, 'id' | 'digest'>): 'new' | 'repeat' | 'conflict' =>
  state.inputs.recall(input.id, input.digest);
