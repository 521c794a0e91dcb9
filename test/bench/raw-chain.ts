/**
 * The raw chain: the smallest program that does what any scheduler of this kind must do for each input,
 * without any logic: consume it, append it with an expected sequence, and store as many output messages as
 * ours does; 64 in flight. It is the limit of the machine, the server and the client, measured in the same
 * run as our own figure.
 *
 * Run as a process of its own: `node raw-chain.js <nats url> <outputs for each input>`.
 */
import { AckPolicy, DeliverPolicy, jetstream, jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';

const IN_FLIGHT = 64;
/** A slow disk is what is measured, not a fault: milliseconds. */
const PATIENCE = 60_000;
const [url = '', outputs = '2'] = process.argv.slice(2);
const connection = await connect({ servers: url });
const manager = await jetstreamManager(connection);
const stream = jetstream(connection);
await manager.streams.add({ name: 'RAW_LOG', subjects: ['raw.log'] });
await manager.streams.add({ name: 'RAW_OUT', subjects: ['raw.out.>'] });
await manager.consumers.add('RAW_IN', {
  durable_name: 'raw',
  ack_policy: AckPolicy.None,
  deliver_policy: DeliverPolicy.All,
});
const consumer = await stream.consumers.get('RAW_IN', 'raw');
let appended = 0;
let inFlight = 0;
let wake: (() => void) | undefined;
process.stdout.write('ready\n');
for await (const message of await consumer.consume({ max_messages: 1024 })) {
  if (inFlight >= IN_FLIGHT) {
    await new Promise<void>((resolve) => {
      wake = resolve;
    });
  }
  inFlight++;
  const { data } = message;
  const expected = appended++;
  void (async () => {
    await stream.publish('raw.log', data, { expect: { lastSequence: expected }, timeout: PATIENCE });
    const stored: Promise<unknown>[] = [];
    for (let output = 1; output <= Number(outputs); output++) {
      stored.push(
        stream.publish(`raw.out.${output === Number(outputs) ? 'outcome' : 'event'}`, data, {
          timeout: PATIENCE,
        }),
      );
    }
    await Promise.all(stored);
    inFlight--;
    wake?.();
    wake = undefined;
  })();
}
