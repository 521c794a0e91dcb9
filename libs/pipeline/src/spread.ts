import type { Fleet } from '#broker';

/** A cluster that shall go from one instance to another. */
export interface Move {
  readonly cluster: string;
  readonly from: string;
  readonly to: string;
}

/** How much longer an instance leaves a free cluster to others for each that it has more, in milliseconds. */
const HESITATION = 200;
const LONGEST_HESITATION = 600;

/** How many clusters each instance that lives leads. */
function loadOf({ members, holders }: Fleet): Map<string, number> {
  const load = new Map([...members.keys()].map((instance) => [instance, 0]));
  for (const holder of holders.values()) {
    if (holder !== undefined && load.has(holder)) load.set(holder, (load.get(holder) ?? 0) + 1);
  }
  return load;
}

/**
 * The one move that brings the fleet nearer to an even spread: from the instance that leads most to the one
 * that leads least and could lead the cluster at once, if the difference is two or more. Every instance that
 * has heard the same comes to the same answer, so that at any time one cluster moves at most; and none moves
 * while one is without a leader, so that a move is over before the next begins. A move lessens the sum of the
 * squares, so they come to an end.
 *
 * @returns undefined when nothing shall move.
 */
export function nextMove(fleet: Fleet): Move | undefined {
  const { members, holders } = fleet;
  const load = loadOf(fleet);
  for (const [cluster, holder] of holders) {
    // A key for which no member waits is nobody's cluster: anybody may have written it.
    const isWaitedFor = [...members.values()].some((ready) => ready.has(cluster));
    if (isWaitedFor && (holder === undefined || !load.has(holder))) return undefined;
  }
  const ascending = [...load].toSorted(
    ([one, few], [other, many]) => few - many || (one < other ? -1 : one > other ? 1 : 0),
  );
  for (const [from, many] of ascending.toReversed()) {
    const led = [...holders].filter(([, holder]) => holder === from).map(([cluster]) => cluster);
    for (const [to, few] of ascending) {
      if (few > many - 2) break;
      const cluster = led.toSorted().find((each) => members.get(to)?.has(each));
      if (cluster !== undefined) return { cluster, from, to };
    }
  }
  return undefined;
}

/**
 * For how many milliseconds an instance that leads `held` clusters leaves a free one to others that lead
 * fewer and could lead it at once. Short, so that no cluster waits long for a leader that does not come.
 */
export function hesitation(fleet: Fleet, instance: string, cluster: string, held: number): number {
  let least = held;
  for (const [other, few] of loadOf(fleet)) {
    if (other !== instance && fleet.members.get(other)?.has(cluster)) least = Math.min(least, few);
  }
  return Math.min((held - least) * HESITATION, LONGEST_HESITATION);
}
