/**
 * Clients that ask for a lot, without a pause and whatever the answer: `node dear-clients.js <http> <nats> <clients>`. A
 * process of its own, so that what it takes to read megabytes is not in what is measured beside it.
 */
import { setPriority } from 'node:os';
import { connect } from '@nats-io/transport-node';

const [http = '', nats = '', count = '60'] = process.argv.slice(2);
// They stand for other machines.
setPriority(19);

const HOUR = 3_600_000;
const text = (request: object): RequestInit => ({
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify(request),
});
const nics = Array.from({ length: 4 }, (_, nic) => ({ nicId: `n${nic}`, physicalNetwork: 'em1' }));
const inputs = Array.from({ length: 100 }, (_, vm) => ({
  type: 'VmStartRequested',
  data: { vmId: `planned-${vm}`, nics: [{ nicId: 'n0', physicalNetwork: 'em1' }] },
}));
const usage = (): Record<string, string> => ({
  from: new Date(Date.now() - HOUR).toISOString(),
  to: new Date(Date.now() + HOUR).toISOString(),
  by: 'vm',
});

/** One question: an address with what goes with it, or a query over NATS. */
type Question = () => readonly [path: string, init?: RequestInit] | { name: string; request: object };

const csv = { headers: { accept: 'text/csv' } };
const lines = { headers: { accept: 'application/x-ndjson' } };

const QUESTIONS: readonly Question[] = [
  () => ['history?limit=1000'],
  () => ['history?limit=1000&types=VfAllocated,VfReleased&causes=true'],
  () => [`usage?${new URLSearchParams(usage()).toString()}`],
  () => ['verify'],
  () => ['export'],
  () => ['availability'],
  () => ['vms?limit=1000'],
  () => ['vms', csv],
  () => ['hosts', lines],
  () => ['history', lines],
  () => ['plan', text({ inputs })],
  () => ['candidates', text({ nics })],
  () => ['restore-impact?hostId=host-1&pf=0000:80:00.0'],
  () => ['hosts?limit=1000'],
  () => ({ name: 'history', request: { limit: 1000 } }),
  () => ({ name: 'plan', request: { inputs } }),
  () => ({ name: 'candidates', request: { nics, limit: 1000 } }),
  () => ({ name: 'usage', request: usage() }),
  () => ({ name: 'availability', request: {} }),
  () => ({ name: 'vms', request: { limit: 1000 } }),
];

const connection = await connect({ servers: nats });
let over = false;
const counts = new Map<string, number>();

async function ask(question: Question): Promise<string> {
  const asked = question();
  if ('name' in asked) {
    const subject = `vf.query.default.${asked.name}`;
    const answer = await connection.request(subject, JSON.stringify(asked.request), { timeout: 30_000 });
    return answer.headers?.get('Nats-Service-Error-Code') || '200';
  }
  const [path, init] = asked;
  const answer = await fetch(`${http}/v1/clusters/default/${path}`, init);
  for await (const piece of answer.body ?? []) void piece;
  return String(answer.status);
}

process.on('SIGTERM', () => (over = true));
process.stdout.write('asking\n');
await Promise.all(
  Array.from({ length: Number(count) }, async (_, client) => {
    for (let turn = client; !over; turn++) {
      const how = await ask(QUESTIONS[turn % QUESTIONS.length] as Question).catch(() => 'failed');
      counts.set(how, (counts.get(how) ?? 0) + 1);
    }
  }),
);
process.stderr.write(`answers: ${JSON.stringify(Object.fromEntries(counts))}\n`);
await connection.close();
