import type { Subscription } from '@nats-io/transport-node';
import type { NatsLink } from '#broker';
import type { OutgoingEvent } from '#wire';

/** Told of each event that an input caused, in order; doubles are possible after a reconnect. */
export type OnEvent = (event: OutgoingEvent) => void;

interface Place {
  readonly subscription: Subscription;
  /** By the id of the input. */
  readonly waiting: Map<string, Set<OnEvent>>;
}

/**
 * Hears the events that answer inputs. One subscription for each thing that something is asked about, made
 * before the question goes out on the same connection, so that no answer can be too quick for it. It sees
 * only what comes while the connection stands: whoever must know asks for the outcome as well.
 */
export class Answers {
  readonly #places = new Map<string, Place>();

  constructor(private readonly link: NatsLink) {}

  /** @returns how to stop listening. */
  listen(subject: string, id: string, onEvent: OnEvent): () => void {
    const place = this.#places.get(subject) ?? this.#open(subject);
    const listeners = place.waiting.get(id) ?? new Set();
    listeners.add(onEvent);
    place.waiting.set(id, listeners);
    return () => {
      listeners.delete(onEvent);
      if (listeners.size === 0) place.waiting.delete(id);
      if (place.waiting.size > 0 || this.#places.get(subject) !== place) return;
      this.#places.delete(subject);
      if (!this.link.closed) place.subscription.unsubscribe();
    };
  }

  #open(subject: string): Place {
    const waiting: Place['waiting'] = new Map();
    const subscription = this.link.connection.subscribe(subject, {
      callback: (error, message) => {
        if (error !== null) return;
        let event: OutgoingEvent;
        try {
          event = message.json<OutgoingEvent>();
        } catch {
          // Not one of ours: anybody may publish under the subject.
          return;
        }
        for (const onEvent of [...(waiting.get(event.causationid) ?? [])]) onEvent(event);
      },
    });
    const place = { subscription, waiting };
    this.#places.set(subject, place);
    return place;
  }
}
