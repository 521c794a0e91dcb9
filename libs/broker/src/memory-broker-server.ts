import type {
  DeadLetter,
  InputInfo,
  InputMessage,
  KeptHead,
  OutputMessage,
  OutputState,
  RemadeConsumers,
  Remaking,
} from './broker.js';
import { BrokerError } from './errors.js';
import { MemoryBroker } from './memory-broker.js';
import { MemoryLeases } from './memory-leases.js';

/** Runs an action after some milliseconds. @returns how to call it off. */
export type Schedule = (milliseconds: number, action: () => void) => () => void;

export interface MemoryBrokerServerOptions {
  /** Timers; real ones when left out. A simulation gives its own. */
  readonly schedule?: Schedule;
  /** A holder that is cut off counts its lease as lost after so long (milliseconds); 2,500. */
  readonly leaseLostAfter?: number;
  /** Others get the lease of a holder that is cut off after so long (milliseconds); 3,000. */
  readonly leaseTakeOverAfter?: number;
}

/** `VF_IN`: what is stored, and by which cluster. */
interface Input {
  readonly created: string;
  last: number;
  readonly messages: Map<number, InputMessage>;
  /** Sequences by the third token of the subject, ascending; some may be gone from `messages`. */
  readonly byCluster: Map<string, number[]>;
}

interface Output {
  readonly created: string;
  last: number;
  log: string | undefined;
  readonly remadeAt: number | undefined;
  /** By position, ascending. */
  readonly messages: Map<number, OutputMessage>;
}

/** `VF_IN` takes no larger message, as with a server of 2 MiB `max_payload`. */
const LARGEST_INPUT = 1024 * 1024;

const realTimers: Schedule = (milliseconds, action) => {
  const timer = setTimeout(action, milliseconds);
  return () => clearTimeout(timer);
};

/**
 * The streams and leases that all `MemoryBroker`s of one site share. All of it is synchronous: what a
 * connection adds (time, faults) is in `MemoryBroker`.
 */
export class MemoryBrokerServer {
  readonly leases: MemoryLeases;
  readonly #dead = new Map<string, DeadLetter[]>();
  readonly #outputs = new Map<string, Output>();
  readonly #listeners = new Set<() => void>();
  /** `VF_HEADS`; undefined until the first is written. */
  #heads: { last: number; readonly kept: Map<string, KeptHead> } | undefined;
  #input: Input | undefined;
  #streams = 0;

  constructor(
    readonly now: () => number = Date.now,
    options: MemoryBrokerServerOptions = {},
  ) {
    this.leases = new MemoryLeases({
      schedule: options.schedule ?? realTimers,
      lostAfter: options.leaseLostAfter ?? 2_500,
      takeOverAfter: options.leaseTakeOverAfter ?? 3_000,
    });
  }

  /** A connection of its own, as each process has one. */
  connect(): MemoryBroker {
    return new MemoryBroker(this);
  }

  /** Calls back after each change of `VF_IN`. @returns how to stop it. */
  onInput(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Makes `VF_IN` if it is missing. */
  prepare(): void {
    this.#input ??= {
      created: this.#creationTime(),
      last: 0,
      messages: new Map(),
      byCluster: new Map(),
    };
  }

  /** Deletes `VF_IN`, as a person may with the tools of NATS; `prepare` makes it again. */
  deleteInput(): void {
    this.#input = undefined;
    this.#tell();
  }

  /** Creation time of the `VF_IN` that is there. */
  get inputCreated(): string | undefined {
    return this.#input?.created;
  }

  inputInfo(): InputInfo {
    const input = this.#mustHaveInput();
    const [first] = input.messages.keys();
    return { created: input.created, firstSequence: first ?? input.last + 1, lastSequence: input.last };
  }

  input(sequence: number): InputMessage | undefined {
    return this.#mustHaveInput().messages.get(sequence);
  }

  /** The cluster's messages after a sequence, or all clusters', in order, while the visitor wants more. */
  visitInputs(cluster: string | undefined, after: number, visit: (message: InputMessage) => boolean): void {
    if (!this.#input) return;
    const { messages, byCluster, last } = this.#input;
    if (cluster === undefined) {
      for (let sequence = after + 1; sequence <= last; sequence++) {
        const message = messages.get(sequence);
        if (message && !visit(message)) return;
      }
      return;
    }
    const sequences = byCluster.get(cluster) ?? [];
    for (let index = firstAbove(sequences, after); index < sequences.length; index++) {
      const message = messages.get(sequences[index]!);
      if (message && !visit(message)) return;
    }
  }

  /** @returns the sequence. */
  storeInput(subject: string, payload: Uint8Array, headers: Readonly<Record<string, string>> = {}): number {
    const input = this.#mustHaveInput();
    if (!/^vf\.in(\.[^\s.*>]+)+$/.test(subject)) {
      throw new BrokerError('UNAVAILABLE', `Nobody stores ${subject}.`);
    }
    if (payload.length > LARGEST_INPUT) {
      throw new BrokerError(
        'REFUSED',
        `VF_IN takes ${LARGEST_INPUT} bytes at most; this has ${payload.length}.`,
      );
    }
    const time = this.now();
    const sequence = ++input.last;
    // A copy: who published may go on using the buffer, as with a network in between.
    const message: InputMessage = { sequence, time, subject, payload: payload.slice() };
    input.messages.set(
      sequence,
      Object.keys(headers).length > 0 ? { ...message, headers: { ...headers } } : message,
    );
    const cluster = subject.split('.')[2]!;
    const sequences = input.byCluster.get(cluster);
    if (sequences) sequences.push(sequence);
    else input.byCluster.set(cluster, [sequence]);
    this.#tell();
    return sequence;
  }

  purgeInput(cluster: string, below: number): void {
    const { messages, byCluster } = this.#mustHaveInput();
    const sequences = byCluster.get(cluster);
    if (!sequences) return;
    for (const sequence of sequences.splice(0, firstAbove(sequences, below - 1))) messages.delete(sequence);
  }

  removeInput(sequence: number): void {
    this.#mustHaveInput().messages.delete(sequence);
  }

  output(cluster: string): OutputState | undefined {
    const output = this.#outputs.get(cluster);
    if (!output) return undefined;
    const { created, last, messages, log, remadeAt } = output;
    const first = messages.keys().next().value ?? last + 1;
    const payload = messages.get(last)?.payload;
    return {
      created,
      firstSequence: first,
      lastSequence: last,
      holes: last - first + 1 - messages.size,
      restoring: false,
      ...(payload !== undefined && {
        lastPayload: typeof payload === 'string' ? Buffer.from(payload) : payload,
      }),
      ...(log !== undefined && { log }),
      ...(remadeAt !== undefined && { remadeAt }),
    };
  }

  /** What is stored in `VF_OUT_<cluster>`, in order. */
  outputs(cluster: string): OutputMessage[] {
    return [...(this.#outputs.get(cluster)?.messages.values() ?? [])];
  }

  createOutput(cluster: string, firstSequence: number, log?: string): void {
    const output = this.#outputs.get(cluster);
    if (output) output.log = log ?? output.log;
    else this.#makeOutput(cluster, firstSequence, log);
  }

  /** Makes `VF_OUT_<cluster>` again, empty. */
  remakeOutput(cluster: string, { firstSequence, at, log }: Remaking): RemadeConsumers {
    this.#makeOutput(cluster, firstSequence, log, at);
    return { kept: [], lost: [] };
  }

  #makeOutput(cluster: string, firstSequence: number, log?: string, remadeAt?: number): void {
    this.#outputs.set(cluster, {
      created: this.#creationTime(),
      last: firstSequence - 1,
      log,
      remadeAt,
      messages: new Map(),
    });
  }

  /** Empties `VF_OUT_<cluster>`, as its limits may. */
  purgeOutput(cluster: string): void {
    this.#outputs.get(cluster)?.messages.clear();
  }

  /** Takes one message out of `VF_OUT_<cluster>`, as a person may with the tools of NATS. */
  removeOutput(cluster: string, position: number): void {
    this.#outputs.get(cluster)?.messages.delete(position);
  }

  /** Stores what a stranger publishes to `VF_OUT_<cluster>`: at its end, whatever that is. */
  strayOutput(cluster: string, subject: string, payload: string): void {
    const output = this.#outputs.get(cluster);
    if (!output) throw new BrokerError('UNAVAILABLE', `VF_OUT_${cluster} does not exist.`);
    const position = ++output.last;
    output.messages.set(position, { position, subject, payload, id: 'stray' });
  }

  storeOutput(cluster: string, message: OutputMessage): void {
    const output = this.#outputs.get(cluster);
    if (!output) throw new BrokerError('UNAVAILABLE', `VF_OUT_${cluster} does not exist; create() makes it.`);
    if (output.last !== message.position - 1) {
      throw new BrokerError(
        'WRONG_SEQUENCE',
        `VF_OUT_${cluster} stands at ${output.last}, so it refused position ${message.position}.`,
      );
    }
    const payload =
      typeof message.payload === 'string' ? Buffer.from(message.payload) : message.payload.slice();
    output.last = message.position;
    output.messages.set(message.position, { ...message, payload });
  }

  /** What is stored under `vf.dead.<cluster>`, in order. */
  deadLetters(cluster: string): readonly DeadLetter[] {
    return this.#dead.get(cluster) ?? [];
  }

  /** Stores a dead letter unless it is in already, byte for byte. */
  storeDead(cluster: string, letter: DeadLetter): void {
    const letters = this.#dead.get(cluster) ?? [];
    const isIn = letters.some(
      ({ stream, sequence, payload }) =>
        stream === letter.stream &&
        sequence === letter.sequence &&
        Buffer.compare(payload, letter.payload) === 0,
    );
    if (isIn) return;
    letters.push({ ...letter, payload: letter.payload.slice() });
    this.#dead.set(cluster, letters);
  }

  /** What `VF_HEADS` has of a cluster; undefined when there is no such bucket. */
  head(cluster: string): KeptHead | undefined {
    return this.#heads && (this.#heads.kept.get(cluster) ?? { revision: 0 });
  }

  storeHead(cluster: string, text: string, revision: number): void {
    this.#heads ??= { last: 0, kept: new Map() };
    const { revision: now = 0 } = this.#heads.kept.get(cluster) ?? {};
    if (now !== revision)
      throw new BrokerError(
        'WRONG_SEQUENCE',
        `VF_HEADS has revision ${now} of '${cluster}', not ${revision}.`,
      );
    this.#heads.kept.set(cluster, { revision: ++this.#heads.last, text });
  }

  /** Deletes `VF_HEADS`, as a person may with the tools of NATS. */
  deleteHeads(): void {
    this.#heads = undefined;
  }

  #mustHaveInput(): Input {
    if (!this.#input)
      throw new BrokerError('UNAVAILABLE', 'Stream VF_IN does not exist; prepare() makes it.');
    return this.#input;
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }

  /** RFC 3339 with nanoseconds, as JetStream gives it; different for two streams of the same millisecond. */
  #creationTime(): string {
    const nanoseconds = String(++this.#streams).padStart(6, '0');
    return new Date(this.now()).toISOString().replace('Z', `${nanoseconds}Z`);
  }
}

/** Index of the first of ascending sequences that is above one. */
function firstAbove(sequences: readonly number[], sequence: number): number {
  let low = 0;
  let high = sequences.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sequences[middle]! > sequence) high = middle;
    else low = middle + 1;
  }
  return low;
}
