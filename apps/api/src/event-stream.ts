import type { Response } from 'express';
import { outputSpan, readOutput, type NatsLink } from '#broker';
import { EventHub, HUB_BOUNDS, readHubEvent, type HubBounds, type HubEvent } from './event-hub.js';
import { Problem } from './problem.js';
import { Turns } from './turns.js';

/** Which events a client wants. */
export interface EventFilter {
  readonly vmId?: string;
  readonly hostId?: string;
  readonly types?: readonly string[];
}

/** Bounds of what clients may cost. Times in milliseconds. */
export interface StreamLimits {
  /** Clients of this process at once. */
  readonly clients: number;
  /** Clients that read old events at once; others wait for their turn, piece by piece. */
  readonly catchingUp: number;
  /** How long a client may take nothing before its connection is dropped. */
  readonly stall: number;
  /** How often a client that hears nothing is told where it stands. */
  readonly heartbeat: number;
  readonly hub: HubBounds;
}

export const STREAM_LIMITS: StreamLimits = {
  clients: 1000,
  catchingUp: 4,
  stall: 15_000,
  heartbeat: 15_000,
  hub: HUB_BOUNDS,
};

/** A piece of old events: the most that is read for one client before it has taken it. */
const PIECE = { maxMessages: 64, maxBytes: 64 * 1024 };
/** A client is written to in pieces of about this many bytes. */
const WRITE = 32 * 1024;

/**
 * Sends the events of clusters to any number of clients. What the newest are is read once for all of them; what
 * a client keeps here is its place, and one piece on its way. Who does not read is dropped, and resumes by the
 * position it has.
 */
export class EventStreams {
  readonly #hubs = new Map<string, Promise<EventHub | undefined>>();
  readonly #clients = new Set<AbortController>();
  readonly #writing = new Turns();
  readonly #turns: (() => void)[] = [];
  #catchingUp = 0;
  #closed = false;

  constructor(
    private readonly link: NatsLink,
    readonly limits: StreamLimits = STREAM_LIMITS,
  ) {}

  /** Clients at this moment. */
  get clients(): number {
    return this.#clients.size;
  }

  /**
   * Answers a request with the events after a position (undefined: those to come), until the client goes.
   *
   * @throws Problem before anything is sent.
   */
  async serve(
    cluster: string,
    after: number | undefined,
    filter: EventFilter,
    response: Response,
  ): Promise<void> {
    if (this.#closed || this.#clients.size >= this.limits.clients) {
      const detail = `there are ${this.#clients.size} clients that follow events; come again later`;
      throw new Problem(503, 'TOO_MANY_CLIENTS', detail, {}, { 'Retry-After': '10' });
    }
    const over = new AbortController();
    this.#clients.add(over);
    response.on('close', () => over.abort());
    try {
      const hub = await this.#hub(cluster);
      const position = await this.#start(cluster, hub, after);
      response.status(200).set({
        'Content-Type': 'text/event-stream; charset=utf-8',
        'Cache-Control': 'no-store',
        'X-Accel-Buffering': 'no',
      });
      // So that a client knows at once that it is heard, and from where.
      await this.#write(response, [Buffer.from(`retry: 2000\nid: ${position}\n\n`)], over);
      await this.#send(cluster, hub, position, filter, response, over);
    } finally {
      this.#clients.delete(over);
      if (response.headersSent) response.end();
    }
  }

  /** Ends all streams: a process that drains waits for its connections. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const over of this.#clients) over.abort();
    const hubs = await Promise.all([...this.#hubs.values()].map((hub) => hub.catch(() => undefined)));
    await Promise.all(hubs.map((hub) => hub?.close()));
  }

  /** The newest events of a cluster; stays open once it is, because clients come and go. */
  async #hub(cluster: string): Promise<EventHub> {
    let opening = this.#hubs.get(cluster);
    if (opening === undefined) {
      const made = EventHub.open(this.link, cluster, () => this.#hubs.delete(cluster), this.limits.hub);
      opening = made;
      this.#hubs.set(cluster, made);
      // What could not be opened is tried anew by the next one.
      made.then(
        (hub) => hub === undefined && this.#hubs.delete(cluster),
        () => this.#hubs.delete(cluster),
      );
    }
    let hub: EventHub | undefined;
    try {
      hub = await opening;
    } catch (error) {
      throw new Problem(503, 'UNAVAILABLE', error instanceof Error ? error.message : String(error));
    }
    if (hub === undefined) throw new Problem(404, 'CLUSTER_UNKNOWN', `there is no cluster '${cluster}'`);
    return hub;
  }

  async #start(cluster: string, hub: EventHub, after: number | undefined): Promise<number> {
    if (after === undefined) return hub.last;
    if (after >= hub.after && after <= hub.last) return after;
    const span = await outputSpan(this.link, cluster);
    if (span === undefined || after > span.last) {
      const detail = `the cluster is at position ${span?.last ?? 0}: there is no position ${after} yet`;
      throw new Problem(400, 'BAD_REQUEST', detail, { last: String(span?.last ?? 0) });
    }
    if (after + 1 < span.first) throw gone(after, span.first);
    return after;
  }

  async #send(
    cluster: string,
    hub: EventHub,
    start: number,
    filter: EventFilter,
    response: Response,
    over: AbortController,
  ): Promise<void> {
    let position = start;
    while (!over.signal.aborted && !hub.ended) {
      await this.#writing.take();
      const blocks: Buffer[] = [];
      if (position < hub.after) {
        const piece = await this.#piece(cluster, position + 1, over.signal);
        // VF_OUT dropped it meanwhile, or a replica lags: the client comes back, and is told.
        if (piece.length === 0) return;
        for (const event of piece) if (fits(event, filter)) blocks.push(event.block);
        position = (piece.at(-1) as HubEvent).position;
      } else {
        let bytes = 0;
        let looked = 0;
        for (let event = hub.next(position); event !== undefined; event = hub.next(position)) {
          position = event.position;
          if (fits(event, filter)) bytes += blocks[blocks.push(event.block) - 1]?.length ?? 0;
          if (bytes > WRITE || ++looked === 1024) break;
        }
        if (looked === 0 && blocks.length === 0) {
          if (!(await this.#somethingNew(hub, over.signal))) blocks.push(Buffer.from(`id: ${position}\n\n`));
        }
      }
      if (blocks.length > 0) await this.#write(response, blocks, over);
      else await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** @returns false when it is time for a sign of life. */
  async #somethingNew(hub: EventHub, signal: AbortSignal): Promise<boolean> {
    const heard = new AbortController();
    const timer = setTimeout(() => heard.abort(), this.limits.heartbeat);
    await hub.changed(AbortSignal.any([signal, heard.signal]));
    clearTimeout(timer);
    return !heard.signal.aborted;
  }

  /** Waits for the client to take it; drops it when it takes nothing. */
  async #write(response: Response, blocks: readonly Buffer[], over: AbortController): Promise<void> {
    if (over.signal.aborted || response.write(blocks.length === 1 ? blocks[0] : Buffer.concat(blocks)))
      return;
    await new Promise<void>((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        response.off('drain', done);
        over.signal.removeEventListener('abort', done);
        resolve();
      };
      const timer = setTimeout(() => {
        response.destroy();
        over.abort();
      }, this.limits.stall);
      response.on('drain', done);
      over.signal.addEventListener('abort', done);
    });
  }

  async #piece(cluster: string, from: number, signal: AbortSignal): Promise<readonly HubEvent[]> {
    if (this.#catchingUp >= this.limits.catchingUp) await new Promise<void>((turn) => this.#turns.push(turn));
    else this.#catchingUp++;
    try {
      if (signal.aborted) return [];
      const found = await readOutput(this.link, cluster, from, PIECE);
      return found.map(({ position, payload }) => readHubEvent(position, payload));
    } catch {
      return [];
    } finally {
      const next = this.#turns.shift();
      if (next === undefined) this.#catchingUp--;
      else next();
    }
  }
}

const fits = (event: HubEvent, { vmId, hostId, types }: EventFilter): boolean =>
  (vmId === undefined || event.vmId === vmId) &&
  (hostId === undefined || event.hostId === hostId) &&
  (types === undefined || types.includes(event.type));

const gone = (after: number, first: number): Problem =>
  new Problem(
    410,
    'EVENTS_GONE',
    `position ${after + 1} is no longer kept here; the oldest is ${first}. Ask 'history' for what is between, and follow after ${first - 1}`,
    { first: String(first) },
  );
