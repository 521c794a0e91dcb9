import {
  VfRefusal,
  VfScheduler,
  type AskableInput,
  type InputType,
  type Inputs,
  type OutgoingEvent,
} from '#client';

/** What another system does: publishes what happens, and follows what the scheduler decides. */
export class Conversation {
  readonly timeline: OutgoingEvent[] = [];
  private readonly waiting = new Set<() => void>();
  private readonly over = new AbortController();
  private readonly following: Promise<void>;

  private constructor(private readonly scheduler: VfScheduler) {
    this.following = this.listen();
  }

  static async open(url: string): Promise<Conversation> {
    return new Conversation(await VfScheduler.connect({ servers: url, source: '/demo' }));
  }

  /** Publishes an input. @returns its id. */
  async publish<T extends InputType>(type: T, data: Inputs[T]): Promise<string> {
    return (await this.scheduler.publish(type, data)).id;
  }

  /** Publishes an input and waits for its outcome, also where that is a refusal. */
  async ask<T extends AskableInput>(type: T, data: Inputs[T]): Promise<OutgoingEvent> {
    const { position } = await this.scheduler.ask(type, data).then(
      ({ event }) => event,
      (error: unknown) => {
        if (error instanceof VfRefusal) return error.event;
        throw error;
      },
    );
    return this.until((event) => event.position === position);
  }

  /** Waits for an event. */
  until(fits: (event: OutgoingEvent) => boolean): Promise<OutgoingEvent> {
    return new Promise((resolve) => {
      const look = (): void => {
        const found = this.timeline.find(fits);
        if (found === undefined) return;
        this.waiting.delete(look);
        resolve(found);
      };
      this.waiting.add(look);
      look();
    });
  }

  /** Asks about all that was told. */
  query<T>(name: string, request: object): Promise<T> {
    const atLeast = this.timeline.at(-1)?.position ?? '0';
    return this.scheduler.query<T>(name, { ...request, atLeast });
  }

  async close(): Promise<void> {
    this.over.abort();
    await this.following;
    await this.scheduler.close();
  }

  private async listen(): Promise<void> {
    for await (const event of this.scheduler.follow({ after: 0, signal: this.over.signal })) {
      this.timeline.push(event);
      for (const look of [...this.waiting]) look();
    }
  }
}
