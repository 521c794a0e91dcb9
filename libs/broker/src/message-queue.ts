import type { InputMessage } from './broker.js';
import type { BrokerError } from './errors.js';

/** How much is taken and kept at once. */
export interface Bounds {
  readonly maxMessages: number;
  readonly maxBytes: number;
}

export const DEFAULT_BOUNDS: Bounds = { maxMessages: 4_096, maxBytes: 16 * 1024 * 1024 };

/** The bytes that a message counts for: its payload and subject. */
export const sizeOf = (message: InputMessage): number => message.payload.length + message.subject.length;

/** Messages that came and wait to be taken, all of them at once. */
export class MessageQueue {
  #messages: InputMessage[] = [];
  #bytes = 0;
  #ended: { error?: BrokerError } | undefined;
  #wake: (() => void) | undefined;

  constructor(readonly bounds: Bounds) {}

  get messages(): number {
    return this.#messages.length;
  }

  get bytes(): number {
    return this.#bytes;
  }

  push(message: InputMessage): void {
    this.#messages.push(message);
    this.#bytes += sizeOf(message);
    this.#wake?.();
  }

  /**
   * Nothing more comes. What waits is taken first, unless it is dropped; then `take` gives undefined or the
   * error.
   */
  end(options: { error?: BrokerError; drop?: boolean } = {}): void {
    this.#ended ??= options.error ? { error: options.error } : {};
    if (options.drop) {
      this.#messages = [];
      this.#bytes = 0;
      this.#ended = {};
    }
    this.#wake?.();
  }

  /** All that waits, within the bounds; waits while there is none. One call at a time. */
  async take(): Promise<readonly InputMessage[] | undefined> {
    if (this.#wake) throw new TypeError('take() was called while an earlier take() waits');
    while (this.#messages.length === 0) {
      if (this.#ended?.error) throw this.#ended.error;
      if (this.#ended) return undefined;
      // Goes on in a microtask: what the same network packet brought is taken together.
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = undefined;
    }
    return this.#takeWithin();
  }

  #takeWithin(): readonly InputMessage[] {
    const { maxMessages, maxBytes } = this.bounds;
    if (this.#messages.length <= maxMessages && this.#bytes <= maxBytes) {
      const all = this.#messages;
      this.#messages = [];
      this.#bytes = 0;
      return all;
    }
    let count = 0;
    let bytes = 0;
    while (count < this.#messages.length && count < maxMessages) {
      const size = sizeOf(this.#messages[count]!);
      if (count > 0 && bytes + size > maxBytes) break;
      bytes += size;
      count++;
    }
    this.#bytes -= bytes;
    return this.#messages.splice(0, count);
  }
}
