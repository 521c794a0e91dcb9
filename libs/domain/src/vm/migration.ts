import { allocationsOf, holderOf, withGeneration } from '../decision.js';
import type { DomainEvent, Refusal } from '../events.js';
import type { Input } from '../inputs.js';
import { refusal } from '../refusal.js';
import { hostObstacle } from '../standing.js';
import type { State, Vm } from '../state.js';

/**
 * VM-9: a VM that holds a VF is not migrated, neither live nor its storage; the refusal lists the NICs to
 * detach.
 */
export function decideMigration(
  state: State,
  vm: Vm,
  input: Input<'VmMigrationRequested'>,
): readonly DomainEvent[] {
  const { vmId, kind, targetHostId, generation } = input.data;
  const reject = (why: Refusal): readonly DomainEvent[] => [
    { type: 'VmMigrationRejected', data: withGeneration({ vmId, kind, targetHostId, ...why }, generation) },
  ];
  const holders = allocationsOf(vm).map(holderOf);
  if (holders.length > 0) {
    const nics = holders.map(({ nicId }) => nicId).join(', ');
    return reject(
      refusal(
        'VM_HOLDS_VFS',
        `VM ${vmId} holds VFs, which cannot move with it: stop it, or detach ${nics}`,
        holders,
      ),
    );
  }
  const target = targetHostId === undefined ? undefined : state.hosts.get(targetHostId);
  if (targetHostId !== undefined && target === undefined) {
    return reject(refusal('HOST_UNKNOWN', `host ${targetHostId} has never reported`));
  }
  const obstacle = target === undefined ? undefined : hostObstacle(target);
  if (obstacle !== undefined) {
    const why = obstacle === 'HOST_LOST' ? 'not heard from, or fenced' : 'cordoned';
    return reject(refusal(obstacle, `host ${targetHostId} is ${why}`));
  }
  if (kind === 'cold' && vm.state !== 'stopped') {
    return reject(refusal('VM_RUNNING', `VM ${vmId} is ${vm.state}: a cold migration needs it stopped`));
  }
  return [{ type: 'VmMigrationAllowed', data: withGeneration({ vmId, kind, targetHostId }, generation) }];
}
