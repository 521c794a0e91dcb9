import { BrokerError, type Broker, type DeadLetter } from '#broker';
import { DEAD_STREAM, INPUT_STREAM } from '#wire';
import { persist, type Persistence } from './retry.js';

/**
 * Puts letters into `VF_DEAD`, however long it does not take them (docs/decisions/037-dead-letters-wait.md). A refusal
 * is no verdict here: a stream that is full, sealed or not ours to write is one that a person mends, and until then
 * the input must keep its place in the order. What the server says goes to `onTrouble` at the first refusal.
 *
 * @param what it is for; begins the sentence.
 * @param since when the first of their inputs was stored, in milliseconds since 1970.
 * @throws what is no error of the broker; the last refusal, when the signal aborts.
 */
export function deadLetter(
  broker: Broker,
  what: string,
  cluster: string,
  letters: readonly DeadLetter[],
  since: number,
  persistence: Persistence,
): Promise<void> {
  let refused = false;
  const put = async (): Promise<void> => {
    let unprepared = '';
    if (refused && broker.connected) {
      // It may have been deleted, or been given other limits. One try: who waits for a leader here says nothing meanwhile.
      await broker.prepare(AbortSignal.abort()).catch((error: Error) => {
        if (error.message.includes(DEAD_STREAM)) unprepared = ` ${error.message}`;
      });
    }
    try {
      await broker.dead.publish(cluster, letters, since);
    } catch (error) {
      if (!(error instanceof BrokerError) || !broker.connected) throw error;
      refused = true;
      throw new BrokerError(
        'UNAVAILABLE',
        `${DEAD_STREAM} does not take ${spanOf(letters)} of ${INPUT_STREAM}: ${error.message}${unprepared} ` +
          `What came behind waits until ${DEAD_STREAM} takes it`,
        { cause: error },
      );
    }
  };
  return persist(what, put, persistence);
}

function spanOf(letters: readonly DeadLetter[]): string {
  const [first, last] = [letters[0]?.sequence, letters.at(-1)?.sequence];
  return first === last ? `message ${first}` : `the dead letters among messages ${first} to ${last}`;
}
