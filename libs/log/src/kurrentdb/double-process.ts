/**
 * The double of a KurrentDB server as a process, for tests with several processes. It prints one line of JSON
 * with its `url`, takes a fault as a line on stdin (`{ "kind": "append", "fault": "silent", "times": 1 }`), and
 * ends when stdin does. `--port` gives a port, by default any free one.
 */
import { createInterface } from 'node:readline';
import { KurrentDouble } from './double.js';

type Faults = Parameters<KurrentDouble['fail']>;

const double = await new KurrentDouble().start();
process.stdout.write(`${JSON.stringify({ url: double.url() })}\n`);
const lines = createInterface({ input: process.stdin });
lines.on('line', (line) => {
  const { kind, fault, times } = JSON.parse(line) as { kind: Faults[0]; fault: Faults[1]; times?: number };
  double.fail(kind, fault, times);
});
lines.on('close', () => void double.stop());
