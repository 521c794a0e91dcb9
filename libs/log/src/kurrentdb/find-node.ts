import { lookup } from 'node:dns/promises';
import type { KurrentAddress, Node } from './connection-string.js';
import type { NodeCalls } from './node-calls.js';
import { within } from './waiting.js';

/** Finds the node to use: the one that the connection string names, if it answers; of several the one that leads. */
export class NodeFinder {
  /** What a name stood for last, where the name is looked up. */
  #known: readonly Node[] = [];
  #lookingUp: Promise<readonly Node[]> | undefined;

  constructor(
    private readonly address: KurrentAddress,
    private readonly calls: NodeCalls,
  ) {}

  /**
   * Asks all nodes at the same time, so that one that is frozen keeps nobody.
   *
   * @param askFor how long one answer may take, in milliseconds.
   * @throws why there is none now.
   */
  async find(askFor: number): Promise<Node> {
    const { address, calls } = this;
    const seeds = await this.#seeds(askFor);
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

  /** Whom to ask. A resolver that is silent is not waited for longer than a node. */
  async #seeds(askFor: number): Promise<readonly Node[]> {
    const { search, nodes } = this.address;
    const [first] = nodes;
    if (search !== 'dns' || first === undefined) return nodes;
    this.#lookingUp ??= lookup(first.host, { all: true })
      .then((found) => {
        this.#known = found.map(({ address }) => ({
          host: address,
          port: first.port,
          serverName: first.host,
        }));
        return this.#known;
      })
      .finally(() => {
        this.#lookingUp = undefined;
      });
    try {
      return await within(askFor, this.#lookingUp);
    } catch (error) {
      if (this.#known.length > 0) return this.#known;
      throw error;
    }
  }
}
