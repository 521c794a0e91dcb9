import { randomUUID } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import type { Inputs, InputType, NicSpec, StartedNic, VfAllocated } from '#domain';
import {
  deadLettersBackwards,
  NatsLink,
  outputAt,
  outputSpan,
  publishAgain,
  readCredentials,
  readDeadLetter,
  type BrokerLog,
  type DeadLetterOnRecord,
  type NatsConnectionOptions,
  type OutputSpan,
  withoutLogin,
} from '#broker';
import { isIdentifier, NO_CLUSTER, type OutgoingEvent } from '#wire';
import { Answers } from './answers.js';
import { Asking, type Stored } from './ask.js';
import { VfError, VfRefusal } from './errors.js';
import { follow, type FollowOptions } from './follow.js';
import { prepareInput, type EventAttributes, type PreparedInput } from './input.js';
import { isRefusal, outcomeTypes, type AskableInput, type EventOf, type GrantedType } from './outcomes.js';
import { checkSignal, checkTime, checkWhole, Patience } from './patience.js';
import { Queries, type OutcomeReply, type Positioned, type QueryBase, type QueryReplies } from './queries.js';

/** How to reach the scheduler. Times in milliseconds. */
export interface VfSchedulerOptions {
  /** NATS: one URL, or several of one cluster; `nats://127.0.0.1:4222`. */
  readonly servers?: string | readonly string[];
  /** The scheduler's cluster, not NATS's; `default`. */
  readonly cluster?: string;
  /** Who you are, in every event that you publish, such as `/compute/controller-1`; `/vf-client`. */
  readonly source?: string;
  readonly credentialsFile?: string;
  readonly tls?: NatsConnectionOptions['tls'];
  /** How long a call may take; 10,000. Each call can say another. */
  readonly timeout?: number;
  /**
   * How long to wait for the first connection; 5,000, or `timeout` where that is less. After that it reconnects
   * for ever by itself.
   */
  readonly connectTimeout?: number;
  readonly log?: BrokerLog;
}

/** What any call may say. */
export interface CallOptions {
  /** Milliseconds. */
  readonly timeout?: number;
  readonly signal?: AbortSignal;
}

/** What a call that publishes may say. */
export type AskOptions = CallOptions & EventAttributes;

/** A request that was granted, or a fact that was taken. */
export interface Granted<T extends AskableInput = AskableInput> {
  readonly id: string;
  readonly position: string;
  /** Why a fact changed nothing (`stale`, `unknown`, `already-stopped` …); undefined when it took effect. */
  readonly ignored?: string;
  /** The outcome. Where the fact was ignored it is an `InputIgnored`. */
  readonly event: EventOf<GrantedType<T>>;
}

/** A VM that may start: where, and with which VFs. */
export interface StartedVm {
  readonly id: string;
  readonly position: string;
  readonly vmId: string;
  readonly hostId: string;
  /** Every NIC; a degraded one has no VF. */
  readonly nics: readonly StartedNic[];
  /** One for each NIC with a VF: all that libvirt needs (OUT-4). */
  readonly allocations: readonly VfAllocated[];
  readonly warnings?: readonly string[];
  readonly bondHints?: string;
}

/** Without user and password: facts are logged. */
const shown = (servers: string | readonly string[]): string | readonly string[] =>
  typeof servers === 'string' ? withoutLogin(servers) : servers.map(withoutLogin);

const NATS = 'nats://127.0.0.1:4222';
const DEFAULT_TIMEOUT = 10_000;
const CONNECT_TIMEOUT = 5000;
/** A decision has more events than this only where a whole PF is taken away. */
const LONGEST_DECISION = 4096;

type Fields<T extends InputType, K extends keyof Inputs[T]> = Omit<Inputs[T], K>;

/** A connection to the VF scheduler of one cluster. */
export class VfScheduler {
  readonly #answers: Answers;
  readonly #asking: Asking;
  readonly #queries: Queries;
  /** Aborts at {@link close}: it ends what follows. */
  readonly #closing = new AbortController();

  private constructor(
    private readonly link: NatsLink,
    readonly cluster: string,
    private readonly options: VfSchedulerOptions,
    private readonly ownsLink: boolean,
  ) {
    checkOptions(cluster, options);
    // Each loop that follows listens: Node takes more than ten for a leak.
    setMaxListeners(0, this.#closing.signal);
    this.#answers = new Answers(link);
    this.#queries = new Queries(link, cluster);
    this.#asking = new Asking(link, this.#answers, this.#queries);
  }

  /**
   * Connects, and stays connected: what breaks is mended by itself, and calls wait for it within their time.
   *
   * @throws VfError `UNAVAILABLE` when no NATS server answers in time, or does not let you in; `BAD_INPUT` for
   *   options that make no sense.
   */
  static async connect(options: VfSchedulerOptions = {}): Promise<VfScheduler> {
    const { servers = NATS, cluster = 'default', credentialsFile, tls, log } = options;
    checkOptions(cluster, options);
    const { timeout = DEFAULT_TIMEOUT, connectTimeout = Math.min(CONNECT_TIMEOUT, timeout) } = options;
    if (credentialsFile !== undefined) {
      await readCredentials(credentialsFile).catch((error: Error) => {
        throw new VfError('BAD_INPUT', error.message, { credentialsFile }, { cause: error });
      });
    }
    let link: NatsLink;
    try {
      link = await NatsLink.open({
        url: servers,
        name: 'vf-client',
        credentialsFile,
        tls,
        log,
        startTimeout: connectTimeout,
      });
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      throw new VfError('UNAVAILABLE', message, { servers: shown(servers) }, { cause: error });
    }
    return new VfScheduler(link, cluster, options, true);
  }

  /** A client on a connection that somebody else opened, and closes. */
  static on(link: NatsLink, options: Omit<VfSchedulerOptions, 'servers' | 'tls'> = {}): VfScheduler {
    return new VfScheduler(link, options.cluster ?? 'default', options, false);
  }

  get connected(): boolean {
    return this.link.connected && !this.#closing.signal.aborted;
  }

  /** Lets what is on its way arrive, ends what follows, and closes. Any call after it is `CLOSED`. */
  async close(): Promise<void> {
    this.#closing.abort();
    if (this.ownsLink) await this.link.close();
  }

  // Publish and ask.

  /**
   * Publishes an input and waits until NATS has stored it, sending it again with the same id after any doubt.
   * What it leads to comes out of {@link follow}, or is asked for by {@link outcome}.
   *
   * @throws VfError `BAD_INPUT`, `NOT_STORED`, `UNAVAILABLE`.
   */
  publish<T extends InputType>(type: T, data: Inputs[T], options: AskOptions = {}): Promise<Stored> {
    return this.#patiently(options, (patience) =>
      this.#asking.store(this.#prepare(type, data, options), patience),
    );
  }

  /**
   * Publishes an input and waits for its outcome, over lost connections, restarts and a change of leader. The
   * same call with the same `id` has the same outcome, however often it is made.
   *
   * @throws VfRefusal when the scheduler decided against it.
   * @throws VfError `OUTCOME_UNKNOWN` when the time is over: it may still take effect.
   * @throws VfError `BAD_INPUT`, `ID_REUSED`, `DEAD_LETTERED`, `NOT_STORED`, `UNAVAILABLE`.
   */
  async ask<T extends AskableInput>(type: T, data: Inputs[T], options: AskOptions = {}): Promise<Granted<T>> {
    return (await this.#ask(type, data, options)).granted;
  }

  // VMs.

  /**
   * Takes a VF for each VF NIC of a VM, all on one host, or none (VM-1).
   *
   * @throws VfRefusal such as `VF_EXHAUSTED`, with `facts.summary` and `facts.considered`.
   */
  async startVm(
    vmId: string,
    request: Fields<'VmStartRequested', 'vmId'> = {},
    options: AskOptions = {},
  ): Promise<StartedVm> {
    const { granted, before } = await this.#ask('VmStartRequested', { ...request, vmId }, options);
    const { hostId, nics, warnings, bondHints } = granted.event.data;
    const wanted = nics.filter(({ allocationId }) => allocationId !== undefined).length;
    const allocations = await this.#allocations(granted, before, wanted, options);
    const { id, position } = granted;
    return {
      ...{ id, position, vmId, hostId, nics, allocations },
      ...(warnings && { warnings }),
      ...(bondHints && { bondHints }),
    };
  }

  /** Says that a VM runs: its allocations are no longer pending (VM-12). */
  vmStarted(vmId: string, fact: Fields<'VmStarted', 'vmId'> = {}, options?: AskOptions): Asked<'VmStarted'> {
    return this.ask('VmStarted', { ...fact, vmId }, options);
  }

  /** Says that a start came to nothing: its VFs are released. */
  abortVmStart(vmId: string, reason?: string, options?: AskOptions): Asked<'VmStartAborted'> {
    return this.ask('VmStartAborted', { vmId, reason }, options);
  }

  /** Says that a VM has stopped: all its VFs are released (VM-3). */
  stopVm(vmId: string, reason?: string, options?: AskOptions): Asked<'VmStopped'> {
    return this.ask('VmStopped', { vmId, reason }, options);
  }

  /** Says that a VM is no more: its VFs and MACs are released. */
  destroyVm(vmId: string, options?: AskOptions): Asked<'VmDestroyed'> {
    return this.ask('VmDestroyed', { vmId }, options);
  }

  /** Attaches a NIC (VM-6): running, the VM gets a VF now. */
  async attachNic(
    vmId: string,
    nic: NicSpec,
    options: AskOptions = {},
  ): Promise<Granted<'VmNicAttachRequested'> & { readonly allocation?: VfAllocated }> {
    const { granted, before } = await this.#ask('VmNicAttachRequested', { vmId, nic }, options);
    const wanted = granted.event.data.nic.allocationId === undefined ? 0 : 1;
    const [allocation] = await this.#allocations(granted, before, wanted, options);
    return allocation === undefined ? granted : { ...granted, allocation };
  }

  /** Detaches a NIC (VM-7): its VF is released. */
  detachNic(vmId: string, nicId: string, options?: AskOptions): Asked<'VmNicDetachRequested'> {
    return this.ask('VmNicDetachRequested', { vmId, nicId }, options);
  }

  /** Asks whether a VM may migrate (VM-9). */
  migrateVm(
    vmId: string,
    request: Fields<'VmMigrationRequested', 'vmId'>,
    options?: AskOptions,
  ): Asked<'VmMigrationRequested'> {
    return this.ask('VmMigrationRequested', { ...request, vmId }, options);
  }

  // Hosts and PFs.

  /** Orders the split of a PF into VFs (PF-2). The host does it; wait for `PfVirtualized`. */
  splitPf(hostId: string, pf: string, numVfs: number, options?: AskOptions): Asked<'PfVirtualizeRequested'> {
    return this.ask('PfVirtualizeRequested', { hostId, pf, numVfs }, options);
  }

  /** Orders a PF's VFs away (PF-4): VMs that use them lose them, unless `onBusy` or the policy is `reject`. */
  restorePf(
    hostId: string,
    pf: string,
    { onBusy, ...options }: AskOptions & { readonly onBusy?: 'unload' | 'reject' } = {},
  ): Asked<'PfRestoreRequested'> {
    return this.ask('PfRestoreRequested', { hostId, pf, onBusy }, options);
  }

  /** A cordoned host gets no new allocation (HOST-6). */
  cordonHost(hostId: string, cordoned = true, options?: AskOptions): Asked<'HostCordoned'> {
    return this.ask('HostCordoned', { hostId, cordoned }, options);
  }

  /** Ends an allocation that nobody else ends (VM-17). */
  releaseAllocation(
    request: Inputs['AllocationReleaseRequested'],
    options?: AskOptions,
  ): Asked<'AllocationReleaseRequested'> {
    return this.ask('AllocationReleaseRequested', request, options);
  }

  // Queries and events.

  /**
   * Asks a query of the contract.
   *
   * @throws VfError with the query's own code: `NOT_FOUND`, `BAD_REQUEST`, `NOT_CAUGHT_UP` …; `UNAVAILABLE`.
   */
  query<N extends keyof QueryReplies>(
    name: N,
    request?: object,
    options?: CallOptions,
  ): Promise<QueryReplies[N]>;
  query<T = Positioned & Readonly<Record<string, unknown>>>(
    name: string,
    request?: object,
    options?: CallOptions,
  ): Promise<T>;
  query(name: string, request: object = {}, options: CallOptions = {}): Promise<unknown> {
    return this.#patiently(options, (patience) => {
      if (typeof name !== 'string' || !isIdentifier(name))
        throw new VfError('BAD_INPUT', `'${String(name)}' is not the name of a query`);
      return this.#queries.ask(name, request, patience);
    });
  }

  availability(
    request: QueryBase & { hostId?: string; physicalNetwork?: string; networkId?: string } = {},
    options?: CallOptions,
  ): Promise<QueryReplies['availability']> {
    return this.query('availability', request, options);
  }

  /** What a request led to, by its id (EX-6); neither `outcome` nor `dead` is there while nobody knows. */
  outcome(id: string, options?: CallOptions): Promise<OutcomeReply> {
    return this.query('outcome', { id }, options);
  }

  /** The clusters of the site, and where each stands. */
  clusters(
    options: CallOptions = {},
  ): Promise<readonly { cluster: string; leader?: string; position?: string }[]> {
    return this.#patiently(options, (patience) => this.#queries.clusters(patience));
  }

  /** The events of the cluster, in order, each once: see {@link FollowOptions}. */
  async *follow(options: FollowOptions = {}): AsyncGenerator<OutgoingEvent, void, undefined> {
    this.#assertOpen();
    yield* follow(this.link, this.cluster, options, this.#closing.signal);
  }

  /** The positions that can be followed now; undefined: the cluster has no event yet. */
  span(): Promise<OutputSpan | undefined> {
    return this.#reaching(() => outputSpan(this.link, this.cluster));
  }

  /**
   * What the scheduler could not take of this cluster's inputs (`VF_DEAD`), newest first.
   *
   * @param options.all those of all clusters, and of none.
   * @param options.from begins at this sequence of `VF_DEAD`.
   */
  async *deadLetters(
    options: { readonly all?: boolean; readonly from?: number } = {},
  ): AsyncGenerator<DeadLetterOnRecord, void, undefined> {
    const { all = false, from } = options;
    checkWhole('from', from, 0);
    const letters = deadLettersBackwards(this.link, { from, ...(!all && { cluster: this.cluster }) });
    for (;;) {
      const next = await this.#reaching(() => letters.next());
      if (next.done === true) return;
      yield next.value;
    }
  }

  /** The dead letter at a sequence of `VF_DEAD`. */
  async deadLetter(sequence: number): Promise<DeadLetterOnRecord | undefined> {
    checkWhole('sequence', sequence, 0);
    return this.#reaching(() => readDeadLetter(this.link, sequence));
  }

  /** Publishes what a dead letter holds once more, byte for byte. @returns its new sequence in `VF_IN`. */
  publishAgain(letter: DeadLetterOnRecord): Promise<number> {
    return this.#reaching(() => publishAgain(this.link, letter));
  }

  /**
   * All events of the decision that ends at a position, in order: the releases of a restore, say. What is not in
   * `VF_OUT` any more, or not yet, is in the log.
   */
  async decision(last: {
    readonly id: string;
    readonly position: string;
  }): Promise<readonly OutgoingEvent[]> {
    const events: OutgoingEvent[] = [];
    const end = Number(last.position);
    for (let position = end; position > Math.max(0, end - LONGEST_DECISION); position--) {
      const found = await this.#reaching(() => outputAt(this.link, this.cluster, position));
      if (found === undefined) {
        const request = { id: last.id, atLeast: last.position };
        return (await this.query<{ events: readonly OutgoingEvent[] }>('explain', request)).events;
      }
      const event = JSON.parse(Buffer.from(found.payload).toString('utf8')) as OutgoingEvent;
      if (event.causationid !== last.id) break;
      events.unshift(event);
    }
    return events;
  }

  async #ask<T extends AskableInput>(
    type: T,
    data: Inputs[T],
    options: AskOptions,
  ): Promise<{ granted: Granted<T>; before: readonly OutgoingEvent[] }> {
    return this.#patiently(options, async (patience) => {
      const input = this.#prepare(type, data, options);
      const own = options.id === undefined;
      const { event, before } = await this.#asking.ask(input, outcomeTypes(type), own, patience);
      if (isRefusal(type, event.type)) throw new VfRefusal(event);
      const granted: Granted<T> = {
        id: input.id,
        position: event.position,
        ...(event.type === 'InputIgnored' && { ignored: (event.data as { reason: string }).reason }),
        // What type it has was looked at just now.
        event: event as unknown as Granted<T>['event'],
      };
      return { granted, before };
    });
  }

  /** The allocations of a decision: those that were heard, or what the stream has of it. */
  async #allocations(
    granted: { readonly id: string; readonly position: string },
    before: readonly OutgoingEvent[],
    wanted: number,
    options: CallOptions,
  ): Promise<readonly VfAllocated[]> {
    if (wanted === 0) return [];
    const of = (events: readonly OutgoingEvent[]): VfAllocated[] => [
      ...new Map(
        events
          .filter(({ type }) => type === 'VfAllocated')
          .map(({ position, data }) => [position, data as VfAllocated]),
      ).values(),
    ];
    const heard = of(before);
    if (heard.length === wanted) return heard;
    return this.#patiently(options, async (patience) => {
      for (;;) {
        try {
          return of(await this.decision(granted));
        } catch (error) {
          const again = error instanceof VfError && error.code === 'UNAVAILABLE' && !this.link.closed;
          if (!again || patience.over) throw error;
          await patience.sleep(100);
        }
      }
    });
  }

  #prepare<T extends InputType>(type: T, data: Inputs[T], options: EventAttributes): PreparedInput {
    const { source = this.options.source ?? '/vf-client', id = randomUUID() } = options;
    return prepareInput(this.cluster, type, data, { ...options, source, id });
  }

  #assertOpen(): void {
    if (this.#closing.signal.aborted || this.link.closed)
      throw new VfError('CLOSED', 'the client is closed', { cluster: this.cluster });
  }

  async #reaching<R>(question: () => Promise<R>): Promise<R> {
    this.#assertOpen();
    try {
      return await question();
    } catch (error) {
      this.#assertOpen();
      const message = error instanceof Error ? error.message : String(error);
      throw new VfError('UNAVAILABLE', message, { cluster: this.cluster }, { cause: error });
    }
  }

  async #patiently<R>(options: CallOptions, call: (patience: Patience) => Promise<R>): Promise<R> {
    checkTime('timeout', options.timeout);
    checkSignal(options.signal);
    this.#assertOpen();
    const patience = new Patience(options.timeout ?? this.options.timeout ?? DEFAULT_TIMEOUT, options.signal);
    try {
      return await call(patience);
    } finally {
      patience.end();
    }
  }
}

/** @throws VfError `BAD_INPUT` */
function checkOptions(
  cluster: string,
  { servers = NATS, source, timeout, connectTimeout }: VfSchedulerOptions,
): void {
  if (!isIdentifier(cluster) || cluster === NO_CLUSTER)
    throw new VfError('BAD_INPUT', `'${cluster}' is not a cluster name: 1 to 64 of A-Z a-z 0-9 _ -`);
  const urls: readonly unknown[] = Array.isArray(servers) ? servers : [servers];
  if (urls.length === 0 || !urls.every((url) => typeof url === 'string' && url !== ''))
    throw new VfError('BAD_INPUT', 'servers must be the URL of a NATS server, or a list of them');
  if (source !== undefined && (typeof source !== 'string' || source === ''))
    throw new VfError('BAD_INPUT', 'source must say who you are, such as /compute/controller-1');
  checkTime('timeout', timeout);
  checkTime('connectTimeout', connectTimeout);
}

type Asked<T extends AskableInput> = Promise<Granted<T>>;
