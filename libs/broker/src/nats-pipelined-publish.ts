import { createInbox, type Msg, type Subscription } from '@nats-io/transport-node';
import type { OutputMessage } from './broker.js';
import { BrokerError } from './errors.js';
import type { NatsLink } from './nats-connection.js';
import { brokerErrorCodeOf, toBrokerError } from './nats-errors.js';
import { encodedHeaders, encodeHeaders, statusOf } from './nats-headers.js';
import { streamInfo } from './nats-streams.js';

/** How much may be on its way without an answer. */
const MAX_UNANSWERED = 512;
const MAX_UNANSWERED_BYTES = 8 * 1024 * 1024;
/** Without an answer for so long (milliseconds), the stream is looked at. */
const LOOK_AFTER = 500;

interface Answer {
  readonly seq?: number;
  readonly duplicate?: boolean;
  readonly error?: { code: number; err_code: number; description: string };
}

/**
 * Publishes runs of messages with neighbouring positions, each expecting the one before it to be the stream's
 * last. One subscription hears all answers, one promise and one timer stand for a whole run: at thirty
 * thousand messages a second a promise and a timer for each would cost as much as the publishing.
 *
 * The first message of a run goes alone. Were the run sent at once, a writer that is behind by less than its
 * run would have the beginning refused and the rest accepted, because the rest fits. Two writers that are
 * both up to date can still share a run between them: each position is stored once, without a gap, by one or
 * the other. So what is published at a position must be what the log durably holds there, which is the same
 * for both.
 *
 * No `Nats-Msg-Id` is sent. The expectation alone excludes doubles, for ever and not for a window, and an id
 * would let the server answer "duplicate" where the truth is in the stream's state.
 */
export class PipelinedPublisher {
  readonly #inbox = createInbox();
  readonly #runs = new Map<string, Run>();
  #subscription: Subscription | undefined;
  #count = 0;

  constructor(readonly link: NatsLink) {
    link.onBreak(() => {
      for (const run of this.#runs.values()) {
        run.fail(new BrokerError('UNAVAILABLE', 'The connection broke while events were being published.'));
      }
    });
  }

  /** @throws BrokerError `WRONG_SEQUENCE` or `UNAVAILABLE`; a first part may be stored then. */
  async publish(stream: string, messages: readonly OutputMessage[]): Promise<void> {
    if (messages.length === 0) return;
    const doing = `Publishing to ${stream}`;
    this.link.assertConnected(doing);
    try {
      if (!this.#subscription) this.#subscription = this.#subscribe();
    } catch (error) {
      throw toBrokerError(error, doing);
    }
    const token = (this.#count++).toString(36);
    const run = new Run(this.link, stream, `${this.#inbox}.${token}.`, messages);
    this.#runs.set(token, run);
    try {
      await run.done;
    } finally {
      // What is answered later finds no run and is nobody's business.
      this.#runs.delete(token);
    }
  }

  #subscribe(): Subscription {
    const start = this.#inbox.length + 1;
    return this.link.connection.subscribe(`${this.#inbox}.*.*`, {
      callback: (error, message) => {
        if (error) {
          this.#subscription = undefined;
          for (const run of this.#runs.values())
            run.fail(toBrokerError(error, 'Hearing of published events'));
          return;
        }
        const { subject } = message;
        const dot = subject.indexOf('.', start);
        this.#runs.get(subject.slice(start, dot))?.onAnswer(Number(subject.slice(dot + 1)), message);
      },
    });
  }
}

/** Messages that succeed or fail together. */
class Run {
  readonly done: Promise<void>;
  #settle: { resolve: () => void; reject: (error: Error) => void } | undefined;
  #sent = 0;
  #answered = 0;
  #bytesOut = 0;
  #lastAnswer = performance.now();
  #timer: NodeJS.Timeout | undefined;
  #looking = false;
  readonly #sizes: number[] = [];

  constructor(
    readonly link: NatsLink,
    readonly stream: string,
    readonly replyPrefix: string,
    readonly messages: readonly OutputMessage[],
  ) {
    this.done = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    this.#watchTime(Math.min(link.requestTimeout, LOOK_AFTER));
    this.#send();
  }

  /** Runs inside the client's parser and must not throw. */
  onAnswer(index: number, message: Msg): void {
    if (!this.#settle) return;
    const expected = this.messages[index];
    let answer: Answer;
    try {
      if (message.data.length === 0) {
        const { code } = statusOf(message);
        return this.fail(
          new BrokerError(
            'UNAVAILABLE',
            code === 503
              ? `Nobody stores events for ${this.stream} now: it has no leader, or does not exist.`
              : `${this.stream} answered an event with nothing (${code}).`,
          ),
        );
      }
      answer = message.json<Answer>();
    } catch (error) {
      return this.fail(
        new BrokerError('UNAVAILABLE', `${this.stream} gave an answer that cannot be read.`, {
          cause: error,
        }),
      );
    }
    if (answer.error) {
      const { err_code: errorCode, code, description } = answer.error;
      return this.fail(
        new BrokerError(
          brokerErrorCodeOf(errorCode, code),
          `${this.stream} refused position ${expected?.position}: ${description} (${errorCode}).`,
        ),
      );
    }
    if (!expected || answer.seq !== expected.position || answer.duplicate) {
      return this.fail(
        new BrokerError(
          'WRONG_SEQUENCE',
          `${this.stream} stored position ${expected?.position} at ${answer.seq}${answer.duplicate ? ' (a duplicate)' : ''}. Look at its last message.`,
        ),
      );
    }
    this.#answered++;
    this.#bytesOut -= this.#sizes[index] ?? 0;
    this.#lastAnswer = performance.now();
    if (this.#answered === this.messages.length) this.#finish()?.resolve();
    else this.#send();
  }

  fail(error: Error): void {
    this.#finish()?.reject(error);
  }

  #finish() {
    const settle = this.#settle;
    this.#settle = undefined;
    clearTimeout(this.#timer);
    return settle;
  }

  #send(): void {
    const { messages, link } = this;
    const window = this.#answered === 0 ? 1 : MAX_UNANSWERED;
    while (
      this.#sent < messages.length &&
      this.#sent - this.#answered < window &&
      (this.#bytesOut === 0 || this.#bytesOut < MAX_UNANSWERED_BYTES)
    ) {
      const { position, subject, payload } = messages[this.#sent]!;
      const data = typeof payload === 'string' ? Buffer.from(payload) : payload;
      const headers = encodedHeaders(encodeHeaders([['Nats-Expected-Last-Sequence', String(position - 1)]]));
      try {
        link.connection.publish(subject, data, { headers, reply: this.replyPrefix + this.#sent });
      } catch (error) {
        return this.fail(toBrokerError(error, `Publishing ${subject}`));
      }
      this.#sizes[this.#sent] = data.length;
      this.#bytesOut += data.length;
      this.#sent++;
    }
  }

  /**
   * One timer for the run: it fails when no answer came for as long as one answer may take. After a short
   * silence the stream is looked at: one that was deleted under way never answers what it had been sent.
   */
  #watchTime(delay: number): void {
    this.#timer = setTimeout(() => {
      const silence = performance.now() - this.#lastAnswer;
      if (silence >= LOOK_AFTER) void this.#look();
      const left = this.link.requestTimeout - silence;
      if (left > 0) return this.#watchTime(Math.min(left, LOOK_AFTER));
      this.fail(
        new BrokerError(
          'UNAVAILABLE',
          `${this.stream} did not confirm position ${this.messages[this.#answered]?.position} in ${this.link.requestTimeout} ms. It is tried again.`,
        ),
      );
    }, delay);
  }

  async #look(): Promise<void> {
    if (this.#looking) return;
    this.#looking = true;
    const confirmed = (this.messages[0]?.position ?? 1) - 1 + this.#answered;
    try {
      const info = await streamInfo(this.link, this.stream);
      if (info !== undefined && info.state.last_seq >= confirmed) return;
      const now = info === undefined ? 'does not exist any more' : `ends at ${info.state.last_seq}`;
      this.fail(
        new BrokerError(
          'UNAVAILABLE',
          `${this.stream} ${now}, and had confirmed ${confirmed}: it was deleted. It is made again.`,
        ),
      );
    } catch {
      // Not known: the time decides.
    } finally {
      this.#looking = false;
    }
  }
}
