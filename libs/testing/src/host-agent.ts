import type { HostReported, PfReport } from '#domain';
import type { OutgoingEvent } from '#wire';
import { EM2, host, say, vfs, type Said } from './decider.js';

/** What an agent is told to do with its next order. */
export type NextWork = { readonly fail: string } | { readonly vfs: number };

/** An order of the scheduler to a host. */
const ORDERS: ReadonlySet<string> = new Set([
  'PfVirtualizationOrdered',
  'PfRestoreOrdered',
  'VfScrubRequested',
]);

type Order = OutgoingEvent & {
  readonly data: {
    readonly hostId: string;
    readonly pf: string;
    readonly numVfs?: number;
    readonly vf?: string;
    readonly allocationId?: string;
  };
};

export const isOrder = (event: OutgoingEvent): event is Order => ORDERS.has(event.type);

/**
 * A host with its agent: obedient and simple. It splits and restores PFs and scrubs VFs when it is ordered
 * to, says what it did, and reports what is there. An order that is older than the last one for the same
 * device comes too late, and is left.
 */
export class HostAgent {
  readonly hostId: string;
  /** Does nothing of what it is ordered, until it is set back. */
  deaf = false;
  #inventory: Omit<HostReported, 'hostId' | 'bootId' | 'seq'>;
  #boot = 1;
  #seq = 0;
  /** The last order for each device, and what was said of it. */
  readonly #handled = new Map<string, { readonly position: number; readonly answer: Said }>();
  readonly #next: NextWork[] = [];
  readonly #publish: (said: Said) => void;
  readonly #splitBefore = new Map<string, number>();

  constructor(
    hostId: string,
    fields: Partial<Omit<HostReported, 'hostId'>> | undefined,
    publish: (said: Said) => void,
  ) {
    this.hostId = hostId;
    const { hostId: _id, bootId: _boot, seq: _seq, ...inventory } = host(hostId, fields);
    this.#inventory = inventory;
    this.#publish = publish;
  }

  get bootId(): string {
    return `boot-${this.#boot}`;
  }

  /** The PFs as they are on the host now. */
  get pfs(): readonly PfReport[] {
    return this.#inventory.pfs;
  }

  /** Says what is there: the whole inventory. */
  report(): void {
    this.#seq++;
    const { hostId, bootId } = this;
    this.#publish(
      say(
        'HostReported',
        { hostId, bootId, seq: this.#seq, ...this.#inventory },
        { id: `${hostId}:${bootId}:${this.#seq}` },
      ),
    );
  }

  /** Changes what is there, and says nothing of it. */
  change(fields: Partial<Omit<HostReported, 'hostId' | 'bootId' | 'seq'>>): void {
    this.#inventory = { ...this.#inventory, ...fields };
  }

  changePf(address: string, fields: Partial<PfReport>): void {
    this.change({ pfs: this.pfs.map((pf) => (pf.pciAddress === address ? { ...pf, ...fields } : pf)) });
  }

  /** Reboots: a new boot id, and no PF is split any more. Says so in a report. */
  reboot(): void {
    this.#boot++;
    this.#seq = 0;
    this.change({ pfs: this.pfs.map((pf) => ({ ...pf, vfs: [] })) });
    this.report();
  }

  /** The driver of a PF is gone, and its VFs with it. */
  loseDriver(pf: string): void {
    this.#splitBefore.set(pf, this.pfs.find(({ pciAddress }) => pciAddress === pf)?.vfs.length ?? 0);
    this.changePf(pf, { vfs: [] });
    this.#publish(say('PfDriverLost', { hostId: this.hostId, pf }, { id: `${this.hostId}:lost:${pf}` }));
  }

  /** The driver is back, with the VFs it had (or as many as said), and a report says so. */
  regainDriver(pf: string, count = this.#splitBefore.get(pf) ?? 0): void {
    this.changePf(pf, { vfs: vfs(pf === EM2 ? 'em2' : 'em1', count) });
    this.report();
  }

  /** What it will do with the orders that come next. */
  will(...work: readonly NextWork[]): this {
    this.#next.push(...work);
    return this;
  }

  /** Takes an event of `VF_OUT` in. Asked twice it says again what it said, under the same id. */
  perceive(event: OutgoingEvent): void {
    if (this.deaf || !isOrder(event) || event.data.hostId !== this.hostId) return;
    const device = event.data.vf ?? event.data.pf;
    const position = Number(event.position);
    const last = this.#handled.get(device);
    if (last !== undefined && position < last.position) return;
    const answer = position === last?.position ? last.answer : this.#work(event);
    this.#handled.set(device, { position, answer });
    this.#publish(answer);
  }

  /** Does what it is ordered. @returns what it says of it. */
  #work({ type, position, data }: Order): Said {
    const { hostId } = this;
    const { pf, vf = '', allocationId = '', numVfs = 0 } = data;
    const options = { id: `${hostId}:order-${position}` };
    const next = this.#next.shift();
    const failure = next !== undefined && 'fail' in next ? next.fail : undefined;
    switch (type) {
      case 'VfScrubRequested': {
        const found = {
          clean: failure === undefined,
          ...(failure === undefined ? undefined : { detail: failure }),
        };
        return say('VfScrubbed', { hostId, vf, allocationId, ...found }, options);
      }
      case 'PfRestoreOrdered':
        if (failure !== undefined) return say('PfRestoreFailed', { hostId, pf, reason: failure }, options);
        this.changePf(pf, { vfs: [] });
        return say('PfRestored', { hostId, pf }, options);
      default: {
        if (failure !== undefined) {
          return say('PfVirtualizationFailed', { hostId, pf, reason: failure }, options);
        }
        const count = next !== undefined && 'vfs' in next ? next.vfs : numVfs;
        const made = vfs(pf === EM2 ? 'em2' : 'em1', count);
        this.changePf(pf, { vfs: made });
        return say('PfVirtualized', { hostId, pf, vfs: made }, options);
      }
    }
  }
}
