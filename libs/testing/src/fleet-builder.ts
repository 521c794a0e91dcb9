import type { HostReported, PfReport, VfReport } from '#domain';
import { networks, port, say, type Said } from './decider.js';

/**
 * A host as a scenario says it: two ports that can be split, `em1` and `em2`, with so many VFs, and two that
 * cannot.
 */
export interface HostSpec extends Partial<Omit<HostReported, 'hostId' | 'bootId' | 'seq' | 'pfs'>> {
  /** VFs that em1 is split into, or the VFs themselves; 0. */
  readonly em1?: number | readonly VfReport[];
  readonly em2?: number | readonly VfReport[];
  /** Other facts of each port: its bond, its link, how many VFs it takes. */
  readonly ports?: Partial<Record<'em1' | 'em2' | 'em3' | 'em4', Partial<Omit<PfReport, 'vfs'>>>>;
}

/**
 * The fleet that a scenario begins with.
 *
 * @example
 * fleet().host('h1', { em1: 4 }).host('h2', { em1: 2, scrubs: true }).networks();
 */
export class Fleet {
  readonly hosts = new Map<string, Partial<Omit<HostReported, 'hostId'>>>();
  readonly inputs: Said[] = [];

  host(hostId: string, spec: HostSpec = {}): this {
    const { em1 = 0, em2 = 0, ports = {}, ...fields } = spec;
    this.hosts.set(hostId, {
      ...fields,
      pfs: [
        port('em1', em1, ports.em1),
        port('em2', em2, ports.em2),
        port('em3', 0, ports.em3),
        port('em4', 0, ports.em4),
      ],
    });
    return this;
  }

  /** A VLAN network `net1` on em1 and a flat one `net2` on em2, both with SR-IOV. */
  networks(): this {
    this.inputs.push(...networks());
    return this;
  }

  /** Anything else that was said before the scenario begins. */
  said(...inputs: readonly Said[]): this {
    this.inputs.push(...inputs);
    return this;
  }

  quotas(quotas: Readonly<Record<string, number>>): this {
    return this.said(say('ClusterPolicyChanged', { quotas }));
  }
}

export const fleet = (): Fleet => new Fleet();
