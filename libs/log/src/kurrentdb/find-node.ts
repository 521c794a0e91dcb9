import { lookup } from 'node:dns/promises';
import type { KurrentAddress, Node } from './connection-string.js';
import type { NodeCalls } from './node-calls.js';

/**
 * The node to use: the one that the connection string names, if it answers; of several the one that leads. All are
 * asked at the same time, so that one that is frozen keeps nobody.
 *
 * @param askFor how long one answer may take, in milliseconds.
 * @throws why there is none now.
 */
export async function findNode(address: KurrentAddress, calls: NodeCalls, askFor: number): Promise<Node> {
  const seeds = await seedsOf(address);
  if (address.search === 'none') {
    const [node] = seeds as [Node];
    await calls.answers(node, askFor);
    return node;
  }
  const failures: unknown[] = [];
  const asked = seeds.map(async (seed) => {
    const members = await calls.members(seed, askFor);
    const leader = members.find(({ leads }) => leads);
    if (leader === undefined) throw new Error(`the nodes of ${address.name} have no leader now`);
    // A leader that was frozen a moment ago is one still, for those who have not noticed.
    await calls.answers(leader, askFor);
    return { host: leader.host, port: leader.port };
  });
  for (const one of asked) one.catch((error: unknown) => failures.push(error));
  try {
    return await Promise.any(asked);
  } catch {
    throw failures.find((failure) => /no leader/.test(String(failure))) ?? failures[0];
  }
}

async function seedsOf({ search, nodes }: KurrentAddress): Promise<readonly Node[]> {
  const [first] = nodes;
  if (search !== 'dns' || first === undefined) return nodes;
  const found = await lookup(first.host, { all: true });
  return found.map(({ address }) => ({ host: address, port: first.port, serverName: first.host }));
}
