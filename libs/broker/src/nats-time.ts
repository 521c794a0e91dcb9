import { INPUT_STREAM } from '#wire';
import type { NatsLink } from './nats-connection.js';
import { streamInfo } from './nats-streams.js';

/** Asked this often, in milliseconds: a server's clock may be set, and another server may come to answer. */
const ASK_EVERY = 5_000;
/** An answer that took longer says too little of now, in milliseconds; it is better than none. */
const TOO_LONG = 1_000;

/** NATS's time: of the server that leads `VF_IN`, whose clock inputs are stored with. */
export class NatsTime {
  #known: { readonly server: number; readonly here: number } | undefined;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(private readonly link: NatsLink) {}

  /** Milliseconds since 1970. */
  now(): number {
    const known = this.#known;
    return known === undefined ? Date.now() : Math.round(known.server + performance.now() - known.here);
  }

  /** Asks, and goes on asking. @throws BrokerError */
  async keep(): Promise<void> {
    await this.#ask();
    this.#again();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  async #ask(): Promise<void> {
    const begun = performance.now();
    const info = await streamInfo(this.link, INPUT_STREAM);
    const took = performance.now() - begun;
    const server = Date.parse(info?.ts ?? '');
    if (Number.isNaN(server) || (took > TOO_LONG && this.#known !== undefined)) return;
    this.#known = { server, here: begun + took / 2 };
  }

  #again(): void {
    if (this.#timer !== undefined || this.#closed) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      // One that is away is the link's to report.
      void this.#ask()
        .catch(() => undefined)
        .then(() => this.#again());
    }, ASK_EVERY);
    this.#timer.unref();
  }
}
