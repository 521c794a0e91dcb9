/**
 * given / when / then for the decider of a cluster, and what to say in it. This is the harness that the
 * domain's own rules are tested with: `recall` and `step` run as the pipeline runs them, every decision is
 * checked to be pure, to be the same on a state that comes from a snapshot, and the log to replay into the
 * state that was there live.
 *
 * @example
 * given(registered('h1', { pfs: ports(1) }))
 *   .when(start('vm1'))
 *   .then(
 *     allocated({ allocationId: '…', vmId: 'vm1' }),
 *     expected('VmStartAccepted', { … }),
 *   );
 * givenInputs(reported('h1', { pfs: ports(1) }), start('vm1'))
 *   .when(start('vm2'))
 *   .thenRefused('VF_EXHAUSTED');
 */
import type { DomainEvent, HostReported } from '#domain';
import { expected, host, Scenario, type Said } from '#domain/testing';

export type * from '#domain';
export * from '#domain/testing';

/** A cluster whose log holds these events. */
export const given = (...events: readonly DomainEvent[]): Scenario => new Scenario().givenEvents(...events);

/** A cluster that was told these inputs: where the events that led here do not matter. */
export const givenInputs = (...inputs: readonly Said[]): Scenario => new Scenario().given(...inputs);

/** The event of a host's first report: four ports, ready for VFs, unless it says otherwise. */
export function registered(hostId: string, fields?: Partial<Omit<HostReported, 'hostId'>>): DomainEvent {
  const { vms: _vms, ...inventory } = host(hostId, fields);
  return expected('HostRegistered', inventory);
}
