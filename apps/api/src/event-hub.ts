import { followOutput, outputSpan, type NatsLink, type OutputFollower } from '#broker';

/** An event, ready to be sent to any number of clients. */
export interface HubEvent {
  readonly position: number;
  readonly type: string;
  /** Whom it is about, for filters. */
  readonly vmId?: string;
  readonly hostId?: string;
  /** The block of the event stream, the same bytes for every client. */
  readonly block: Buffer;
}

/** How much is kept for those who are a little behind: events, and bytes. */
export interface HubBounds {
  readonly events: number;
  readonly bytes: number;
}

/** Little, because what is read ahead comes on top of what is kept. */
const READ_AHEAD = { maxMessages: 512, maxBytes: 1024 * 1024 };

export const HUB_BOUNDS: HubBounds = { events: 8192, bytes: 16 * 1024 * 1024 };

/**
 * The latest events of one cluster, read from `VF_OUT` once for all clients of this process. A client has a
 * place in it and nothing else, so that a thousand slow ones cost no more than one.
 */
export class EventHub {
  readonly #events: HubEvent[] = [];
  #bytes = 0;
  #after: number;
  readonly #waiting = new Set<() => void>();
  readonly #follower: OutputFollower;
  #ended = false;

  private constructor(
    link: NatsLink,
    cluster: string,
    after: number,
    readonly bounds: HubBounds,
    private readonly onEnd: () => void,
  ) {
    this.#after = after;
    this.#follower = followOutput(link, cluster, after, READ_AHEAD);
    void this.#run();
  }

  /** Begins at the end of `VF_OUT_<cluster>`; undefined when there is none. */
  static async open(
    link: NatsLink,
    cluster: string,
    onEnd: () => void,
    bounds: HubBounds = HUB_BOUNDS,
  ): Promise<EventHub | undefined> {
    const span = await outputSpan(link, cluster);
    return span && new EventHub(link, cluster, span.last, bounds, onEnd);
  }

  /** Position of the newest event; the next one to come has the one after. */
  get last(): number {
    return this.#events.at(-1)?.position ?? this.#after;
  }

  /** The position after which everything is here. */
  get after(): number {
    return this.#after;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** The event after a position; undefined when there is none yet. @throws RangeError when it is gone. */
  next(position: number): HubEvent | undefined {
    if (position < this.#after) throw new RangeError(`position ${position + 1} is gone`);
    return this.#events[position - this.#after];
  }

  /** Resolves when there is something new, or the hub has ended. */
  async changed(signal: AbortSignal): Promise<void> {
    if (this.#ended || signal.aborted) return;
    await new Promise<void>((resolve) => {
      const wake = (): void => {
        this.#waiting.delete(wake);
        signal.removeEventListener('abort', wake);
        resolve();
      };
      this.#waiting.add(wake);
      signal.addEventListener('abort', wake);
    });
  }

  async close(): Promise<void> {
    await this.#follower.close();
    this.#end();
  }

  async #run(): Promise<void> {
    try {
      for (
        let taken = await this.#follower.take();
        taken !== undefined;
        taken = await this.#follower.take()
      ) {
        for (const { position, payload } of taken) {
          // VF_OUT dropped what was between: begin again there.
          if (position !== this.last + 1) this.#forget(position - 1);
          this.#push(readHubEvent(position, payload));
        }
        this.#trim();
        this.#wake();
      }
    } catch {
      // The stream was made again, or the connection was closed: clients come back and find out.
    }
    await this.#follower.close();
    this.#end();
  }

  #push(event: HubEvent): void {
    this.#events.push(event);
    this.#bytes += event.block.length;
  }

  /** Drops what is beyond the bounds: once for each batch, because shifting a long list costs something. */
  #trim(): void {
    let drop = 0;
    const { length } = this.#events;
    while (length - drop > 1 && (length - drop > this.bounds.events || this.#bytes > this.bounds.bytes)) {
      this.#bytes -= (this.#events[drop] as HubEvent).block.length;
      drop++;
    }
    this.#after += drop;
    if (drop > 0) this.#events.splice(0, drop);
  }

  #forget(after: number): void {
    this.#events.length = 0;
    this.#bytes = 0;
    this.#after = after;
  }

  #wake(): void {
    for (const wake of [...this.#waiting]) wake();
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#wake();
    this.onEnd();
  }
}

const LINE = /\r\n|\r|\n/;

/** An event of `VF_OUT` as a block of an event stream: `id` is the position, `data` the CloudEvent. */
export function readHubEvent(position: number, payload: Uint8Array): HubEvent {
  const text = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength).toString('utf8');
  let type = '';
  let vmId: string | undefined;
  let hostId: string | undefined;
  try {
    const event = JSON.parse(text) as { type: string; subject?: string; data: Record<string, unknown> };
    type = event.type;
    const { vmId: vm, hostId: host } = event.data;
    if (typeof vm === 'string') vmId = vm;
    if (typeof host === 'string') hostId = host;
  } catch {
    // Not one of ours; its place in the order is kept all the same.
  }
  const data = text.split(LINE).map((line) => `data: ${line}\n`);
  const block = Buffer.from(`id: ${position}\nevent: ${type.replace(LINE, ' ')}\n${data.join('')}\n`, 'utf8');
  return { position, type, ...(vmId && { vmId }), ...(hostId && { hostId }), block };
}
