const lowestBit = (word: number): number => 31 - Math.clz32(word & -word);

/**
 * A set of small whole numbers that gives its lowest member quickly: a bitmap with a bitmap of its non-empty
 * words above it. A set of 10,000 hosts is searched in at most ten words. Iteration order is by number, so
 * that what is chosen does not depend on the history of the set: replayed, restored from a snapshot or live,
 * it is the same.
 */
export class OrdinalSet {
  private readonly words: number[] = [];
  private readonly summary: number[] = [];
  private count = 0;

  get size(): number {
    return this.count;
  }

  has(ordinal: number): boolean {
    return (((this.words[ordinal >>> 5] ?? 0) >>> (ordinal & 31)) & 1) === 1;
  }

  add(ordinal: number): void {
    const index = ordinal >>> 5;
    for (let i = this.words.length; i <= index; i++) this.words.push(0);
    const word = this.words[index] as number;
    const next = word | (1 << (ordinal & 31));
    if (next === word) return;
    this.words[index] = next;
    this.count++;
    if (word === 0) {
      const top = index >>> 5;
      for (let i = this.summary.length; i <= top; i++) this.summary.push(0);
      this.summary[top] = (this.summary[top] as number) | (1 << (index & 31));
    }
  }

  delete(ordinal: number): void {
    const index = ordinal >>> 5;
    const word = this.words[index] ?? 0;
    const next = word & ~(1 << (ordinal & 31));
    if (next === word) return;
    this.words[index] = next;
    this.count--;
    if (next === 0) {
      const top = index >>> 5;
      this.summary[top] = (this.summary[top] as number) & ~(1 << (index & 31));
    }
  }

  clear(): void {
    this.words.length = 0;
    this.summary.length = 0;
    this.count = 0;
  }

  /** The lowest member that is not below `from`, or -1. */
  next(from = 0): number {
    const index = from >>> 5;
    if (index >= this.words.length) return -1;
    const rest = (this.words[index] as number) & (-1 << (from & 31));
    if (rest !== 0) return index * 32 + lowestBit(rest);
    let top = (index + 1) >>> 5;
    let mask = -1 << ((index + 1) & 31);
    for (; top < this.summary.length; top++, mask = -1) {
      const words = (this.summary[top] as number) & mask;
      if (words !== 0) {
        const found = top * 32 + lowestBit(words);
        return found * 32 + lowestBit(this.words[found] as number);
      }
    }
    return -1;
  }

  /**
   * A member that depends on `seed` alone, about evenly over the members below `span`; -1 when there is none.
   */
  pick(seed: number, span: number): number {
    if (this.count === 0) return -1;
    const found = this.next(seed % span);
    return found === -1 ? this.next() : found;
  }

  /** The members in ascending order. */
  *[Symbol.iterator](): Generator<number> {
    for (let n = this.next(); n !== -1; n = this.next(n + 1)) yield n;
  }
}
