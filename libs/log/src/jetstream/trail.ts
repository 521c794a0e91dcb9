import type { Head } from '../chain.js';
import type { PassedOver } from '../event-log.js';

/** A place in a stream between two messages, and where the log stands there. */
export interface Place {
  /** The message before it. */
  readonly sequence: number;
  readonly head: Head;
  /** The message with the last batch before it; 0 where there is none. */
  readonly batch: number;
}

/** Places are kept so many messages apart at first. */
const APART = 32;
const MOST_PLACES = 4096;
/** Of so many strange messages each is known by its sequence, so that none is counted twice. */
const MOST_KNOWN = 10_000;
const SAID = 8;

/**
 * What this process has learnt of a stream, reading it from its beginning or from a head that the caller knows: places
 * where the log stands for sure, and the messages that are not part of it.
 */
export class Trail {
  #places: Place[] = [];
  #apart = APART;
  readonly #strange = new Map<number, string>();
  #uncounted = 0;
  #highest = 0;

  /**
   * @param created when the stream was made: another one has another trail.
   * @param sentence says which message it is, and what is wrong with it.
   * @param onStrange is told of each message that is passed over, once.
   */
  constructor(
    readonly created: string,
    private readonly genesis: Head,
    private readonly sentence: (sequence: number, why: string) => string,
    private readonly onStrange: (message: string) => void = () => undefined,
  ) {}

  /** The beginning, which is always known. */
  get beginning(): Place {
    return { sequence: 0, head: this.genesis, batch: 0 };
  }

  /** The furthest place that is known; undefined while there is only the beginning. */
  get furthest(): Place | undefined {
    return this.#places.at(-1);
  }

  /** The last place with no more than so many records before it. */
  before(position: number): Place {
    return this.#places.findLast(({ head }) => head.position <= position) ?? this.beginning;
  }

  /** The first place with more records before it. */
  after(position: number): Place | undefined {
    return this.#places.find(({ head }) => head.position > position);
  }

  /** Whether the log stands there for sure. */
  knows({ sequence, head }: Place): boolean {
    const place = this.#places[this.#indexOf(sequence)];
    return place?.sequence === sequence && place.head.hash === head.hash;
  }

  /** A reader that knows where it stands has come here. */
  passed(place: Place): void {
    const places = this.#places;
    const last = places.at(-1);
    if (last !== undefined && place.sequence <= last.sequence) {
      // What lies between is known already, or is of a part that was left out when it was begun in the middle.
      const index = this.#indexOf(place.sequence);
      const before = places[index - 1]?.sequence ?? 0;
      const next = places[index]!.sequence;
      if (place.sequence - before >= this.#apart && next - place.sequence >= this.#apart)
        places.splice(index, 0, place);
    } else {
      // The last one moves along with the end of the log, until it is far from the one before.
      const before = places.at(-2)?.sequence ?? 0;
      if (last !== undefined && last.sequence - before < this.#apart) places.pop();
      places.push(place);
    }
    if (places.length <= MOST_PLACES) return;
    this.#apart *= 2;
    this.#places = places.filter((_, index) => index % 2 === 1 || index === places.length - 1);
  }

  /** A message is not part of the log. */
  strange(sequence: number, why: string): void {
    if (this.#strange.has(sequence)) return;
    const message = this.sentence(sequence, why);
    if (this.#strange.size >= MOST_KNOWN) {
      // Read again from an earlier place they are not counted again; ones before the highest may be missed.
      if (sequence <= this.#highest) return;
      this.#uncounted++;
    } else this.#strange.set(sequence, message);
    this.#highest = Math.max(this.#highest, sequence);
    this.onStrange(message);
  }

  isStrange(sequence: number): boolean {
    return this.#strange.has(sequence);
  }

  /** What was passed over; undefined while nothing was. */
  passedOver(): PassedOver | undefined {
    if (this.#strange.size === 0) return undefined;
    const last = [...this.#strange].toSorted(([one], [other]) => one - other).slice(-SAID);
    return {
      count: this.#strange.size + this.#uncounted,
      last: last.map(([sequence, message]) => ({ sequence, message })),
    };
  }

  /** The stream is not what was learnt of it: it was restored to an earlier moment. */
  forget(): void {
    this.#places = [];
    this.#strange.clear();
    this.#uncounted = 0;
    this.#highest = 0;
  }

  /** The first place that is not before a message. */
  #indexOf(sequence: number): number {
    let index = 0;
    for (let end = this.#places.length; index < end;) {
      const middle = (index + end) >> 1;
      if (this.#places[middle]!.sequence < sequence) index = middle + 1;
      else end = middle;
    }
    return index;
  }
}
