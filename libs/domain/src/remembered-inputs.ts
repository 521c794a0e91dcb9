/**
 * The inputs that took effect, by id, newest `capacity` of them (EX-6). Compact: one string, one map entry
 * and two numbers an input, so that 200,000 of them take about 25 MB.
 *
 * The map is brought up to date when somebody asks. A replay remembers and asks nothing: it keeps no map of
 * inputs that it forgets again.
 */
export class RememberedInputs {
  private readonly slots = new Map<string, number>();
  private readonly ids: string[] = [];
  /** The first 52 bits of the digest: enough to tell a repeat from another content, and exact as a number. */
  private readonly digests: Float64Array;
  private readonly positions: Float64Array;
  /** Number of inputs remembered since the log began. */
  private total = 0;
  /** Number of inputs that are remembered now. */
  private count = 0;
  /** Serial number of the newest input in the map. */
  private indexed = 0;

  constructor(readonly capacity: number) {
    this.digests = new Float64Array(capacity);
    this.positions = new Float64Array(capacity);
  }

  /** Number of inputs that are remembered now. */
  get size(): number {
    return this.count;
  }

  /** Serial number of the newest input, from 1. */
  get newest(): number {
    return this.total;
  }

  /** Serial number of the oldest input that is still remembered; above `newest` when there is none. */
  get oldest(): number {
    return this.total - this.count + 1;
  }

  /** Whether an input with this id took effect: not known, the same content, or another content. */
  recall(id: string, digest: string): 'new' | 'repeat' | 'conflict' {
    const slot = this.slotOf(id);
    if (slot === undefined) return 'new';
    return this.digests[slot] === digestNumber(digest) ? 'repeat' : 'conflict';
  }

  /** Log position of the first event that the input led to. */
  positionOf(id: string): number | undefined {
    const slot = this.slotOf(id);
    return slot === undefined ? undefined : this.positions[slot];
  }

  remember(id: string, digest: string, position: number): void {
    this.put(id, digestNumber(digest), position);
  }

  /** What it takes to make it again: see {@link restore}. */
  dump(): { total: number; entries: [id: string, digest: number, position: number][] } {
    const entries: [string, number, number][] = [];
    for (let serial = this.oldest; serial <= this.total; serial++) {
      const slot = (serial - 1) % this.capacity;
      entries.push([this.ids[slot] as string, this.digests[slot] as number, this.positions[slot] as number]);
    }
    return { total: this.total, entries };
  }

  restore(dump: ReturnType<RememberedInputs['dump']>): void {
    this.total = dump.total - dump.entries.length;
    for (const [id, digest, position] of dump.entries) this.put(id, digest, position);
  }

  private slotOf(id: string): number | undefined {
    for (let serial = Math.max(this.indexed + 1, this.oldest); serial <= this.total; serial++) {
      const slot = (serial - 1) % this.capacity;
      this.slots.set(this.ids[slot] as string, slot);
    }
    this.indexed = this.total;
    return this.slots.get(id);
  }

  private put(id: string, digest: number, position: number): void {
    const slot = this.total % this.capacity;
    if (this.count < this.capacity) this.count++;
    else if (this.total - this.capacity < this.indexed) {
      const oldest = this.ids[slot] as string;
      // One that was used again since then, after it was forgotten, stands for its later use.
      if (this.slots.get(oldest) === slot) this.slots.delete(oldest);
    }
    this.ids[slot] = id;
    this.digests[slot] = digest;
    this.positions[slot] = position;
    this.total++;
  }
}

const digestNumber = (digest: string): number => Number.parseInt(digest.slice(0, 13), 16);
