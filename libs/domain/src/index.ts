export { hasDeadlines } from './cluster.js';
export { decide, DECIDER_VERSION, recall } from './decide.js';
export { EVENT_SCHEMA } from './events.js';
export type * from './events.js';
export { evolve, STATE_VERSION } from './evolve.js';
export { HandedOutTwice } from './evolve-vm.js';
export type * from './inputs.js';
export { lastReportOf, type LastReport } from './host/report-order.js';
export { hash53 } from './naming.js';
export { forgetObserved, observe } from './observe.js';
export { OBSTACLES_BY_NEARNESS, REFUSAL_CODES, type Obstacle, type RefusalCode } from './refusal-codes.js';
export { emptyState, DEFAULT_POLICY, DEFAULT_REMEMBERED_INPUTS, type Policy, type State } from './state.js';
export { dumpState, restoreState } from './snapshot.js';
export { hostObstacle, isHostReady, pfObstacle, pfState, type PfState } from './standing.js';
export { step, type Source } from './step.js';
export {
  hostFacts,
  pfFacts,
  vfState,
  viewAvailability,
  viewHost,
  viewPf,
  viewVf,
  viewVm,
  type Availability,
  type HostView,
  type NicView,
  type PfView,
  type VfState,
  type VfView,
  type VmView,
} from './views.js';
export { unknownVersion } from './versions.js';
export { VM_TABLE } from './vm/vm-table.js';
