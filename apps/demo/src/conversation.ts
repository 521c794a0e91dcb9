import { jetstream } from '@nats-io/jetstream';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import type { Inputs, InputType } from '#domain';
import { INPUT_CATALOG, inputSubject, outputsOf, querySubject, type OutgoingEvent } from '#wire';

const CLUSTER = 'default';

/** What another system does: publishes what happens, and follows what the scheduler decides. */
export class Conversation {
  readonly timeline: OutgoingEvent[] = [];
  private readonly waiting = new Set<() => void>();
  private inputs = 0;

  private constructor(private readonly connection: NatsConnection) {}

  static async open(url: string): Promise<Conversation> {
    const connection = await connect({ servers: url });
    const conversation = new Conversation(connection);
    connection.subscribe(outputsOf(CLUSTER), {
      callback: (error, message) => {
        if (error !== null) return;
        conversation.timeline.push(message.json<OutgoingEvent>());
        for (const look of [...conversation.waiting]) look();
      },
    });
    await connection.flush();
    return conversation;
  }

  /** Publishes an input. @returns its id. */
  async publish<T extends InputType>(type: T, data: Inputs[T]): Promise<string> {
    const id = `demo-${++this.inputs}`;
    const { kind, idField } = INPUT_CATALOG[type];
    const about = idField === undefined ? CLUSTER : (data as unknown as Record<string, string>)[idField];
    const event = { specversion: '1.0', id, source: '/demo', type, time: new Date().toISOString(), data };
    await jetstream(this.connection).publish(
      inputSubject(CLUSTER, kind, about ?? '', type),
      JSON.stringify(event),
    );
    return id;
  }

  /** Publishes a request and waits for the event that is its outcome: the last one that it caused. */
  async ask<T extends InputType>(
    type: T,
    data: Inputs[T],
    outcomes: readonly string[],
  ): Promise<OutgoingEvent> {
    const id = await this.publish(type, data);
    return this.until((event) => event.causationid === id && outcomes.includes(event.type));
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

  async query<T>(name: string, request: object): Promise<T> {
    const reply = await this.connection.request(querySubject(CLUSTER, name), JSON.stringify(request), {
      timeout: 5000,
    });
    return reply.json<T>();
  }

  close(): Promise<void> {
    return this.connection.drain();
  }
}
