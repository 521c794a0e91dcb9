/**
 * The double of a KurrentDB server as a process, for tests with several processes. It prints one line of JSON
 * with its `url`, takes a command as a line of JSON on stdin, answers each with a line, and ends when stdin does:
 *
 * - `{ "kind": "append", "fault": "silent", "times": 1 }`: calls that go wrong;
 * - `{ "do": "stop" }`, `{ "do": "start" }`: closes and opens its port; what it has stored stays;
 * - `{ "metadata": { … }, "stream": "vfCluster-c1" }`: what an administrator writes there;
 * - `{ "tombstone": "vfCluster-c1" }`, `{ "stray": "vfCluster-c1" }`: a stream deleted for good, a stranger's event.
 *
 * `--port` gives a port, by default any free one; `--closed` leaves it closed.
 */
import { randomUUID } from 'node:crypto';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { KurrentDouble } from './double.js';

type Faults = Parameters<KurrentDouble['fail']>;

interface Command {
  readonly kind?: Faults[0];
  readonly fault?: Faults[1];
  readonly times?: number;
  readonly do?: 'start' | 'stop';
  readonly stream?: string;
  readonly metadata?: Readonly<Record<string, unknown>>;
  readonly tombstone?: string;
  readonly stray?: string;
}

const { values } = parseArgs({
  options: { port: { type: 'string', default: '0' }, closed: { type: 'boolean', default: false } },
});
const double = new KurrentDouble({ port: Number(values.port) });
if (!values.closed) await double.start();

async function obey(command: Command): Promise<void> {
  if (command.do === 'start') await double.start();
  if (command.do === 'stop') await double.stop();
  if (command.kind !== undefined) double.fail(command.kind, command.fault!, command.times);
  if (command.metadata !== undefined) double.storage.setMetadata(command.stream!, command.metadata);
  if (command.tombstone !== undefined) double.storage.delete(command.tombstone, 'tombstoned');
  if (command.stray !== undefined) {
    const data = Buffer.from('{"by":"a stranger"}');
    const event = { id: randomUUID(), type: 'Stray', contentType: 'application/json', data, metadata: data };
    double.storage.append(command.stray, 'any', [event]);
  }
}

process.stdout.write(`${JSON.stringify({ url: double.url() })}\n`);
const lines = createInterface({ input: process.stdin });
lines.on('line', (line) => {
  void obey(JSON.parse(line) as Command).then(() => process.stdout.write(`${line}\n`));
});
lines.on('close', () => void double.stop());
