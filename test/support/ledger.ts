import type { OutEvent, Relayed } from './nats-client.js';

/** Who holds which VF, from the events of `VF_OUT` alone: what any consumer would make of them. */
export class Ledger {
  /** By host and VF address. */
  readonly holders = new Map<string, { vmId: string; nicId: string; allocationId: string }>();
  /** What contradicts EX-1, EX-2 or EX-4. */
  readonly faults: string[] = [];
  readonly #ended = new Set<string>();

  constructor(events: readonly Relayed[]) {
    for (const { event } of events) this.#take(event);
  }

  #take({ type, position, data }: OutEvent): void {
    if (type !== 'VfAllocated' && type !== 'VfReleased') return;
    const { hostId, vf, vmId, nicId, allocationId } = data as Record<string, string> & { vmId: string };
    const place = `${hostId}/${vf}`;
    const holder = this.holders.get(place);
    if (type === 'VfAllocated') {
      if (holder !== undefined)
        this.faults.push(`${position}: ${place} has ${holder.vmId}, and goes to ${vmId}`);
      if (this.#ended.has(allocationId!)) this.faults.push(`${position}: ${allocationId} is used again`);
      for (const [other, one] of this.holders) {
        if (one.vmId === vmId && one.nicId === nicId) {
          this.faults.push(`${position}: NIC ${vmId}/${nicId} holds ${other}, and gets ${place}`);
        }
      }
      this.holders.set(place, { vmId, nicId: nicId!, allocationId: allocationId! });
      return;
    }
    if (holder?.allocationId !== allocationId) {
      this.faults.push(
        `${position}: ${place} is released for ${allocationId}, its holder is ${holder?.allocationId}`,
      );
    }
    this.#ended.add(allocationId!);
    this.holders.delete(place);
  }
}
