import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { verifyStream, type StoredRecord } from '#log';
import { KurrentLog } from '#log/kurrentdb';
import { hostReported, vmStart, type Input } from './support/inputs.js';
import { Ledger } from './support/ledger.js';
import { differences } from './support/log-file.js';
import { KurrentDoubleProcess } from './support/kurrent-double.js';
import { isOutcome, NatsClient, type Relayed } from './support/nats-client.js';
import { freePort, Programs } from './support/programs.js';
import { Random } from './support/random.js';
import { until } from './support/until.js';

const KILLS = 4;
/** Requests before each kill, and after the last. */
const REQUESTS = 60;
/** Fewer than the requests ask for: some are refused. */
const VFS = 48;

const random = Random.seeded('kurrentdb');
const programs = new Programs();
let double: KurrentDoubleProcess;
afterAll(async () => {
  await programs.end();
  await double?.end();
});

describe(`a standalone on KurrentDB (the double) is killed ${KILLS} times under load`, () => {
  const requests: Input[] = [];
  let relayed: readonly Relayed[];
  let records: StoredRecord[];
  let verification: unknown;
  let lastExit: unknown;
  let logName: string;
  const errors: string[] = [];

  beforeAll(async () => {
    double = await KurrentDoubleProcess.start();
    const settings = {
      VF_DATA_DIR: await programs.directory(),
      VF_NATS_PORT: String(await freePort()),
      VF_EVENT_LOG: double.url.replace('://', '://user:hunter2@'),
    };
    let program = await programs.start('standalone', settings);
    const { nats, log } = await program.ready();
    logName = log;
    const client = await NatsClient.connect(nats);
    await client.publishUntilStored(hostReported('h1', VFS));

    const publish = async (): Promise<void> => {
      const some = Array.from({ length: REQUESTS }, (_, index) =>
        vmStart(`vm-${requests.length + index}`, { id: `${random.seed}-${requests.length + index}` }),
      );
      requests.push(...some);
      await Promise.all(some.map((one) => client.publishUntilStored(one, { timeout: 60_000 })));
    };
    for (let kills = 0; kills < KILLS; kills++) {
      // Some appends are in without the allocator's knowing, some are not; then it dies in the middle.
      const fault = random.pick(['commit-then-drop', 'drop', 'too-busy', 'commit-then-end']);
      await double.tell({ kind: 'append', fault, times: 2 });
      const publishing = publish();
      const { length } = requests;
      await until('some of it decided', async () => {
        const outcome = (await client.stream('VF_OUT_default'))?.state.messages ?? 0;
        return outcome > length || random.chance(0.2);
      });
      await program.kill();
      for (const { msg, ...facts } of program.log(50)) errors.push(`${msg} ${JSON.stringify(facts)}`);
      program = await programs.start('standalone', settings);
      await publishing;
    }
    await program.ready();
    await publish();
    const last = vmStart('vm-last', { id: `${random.seed}-last` });
    requests.push(last);
    await client.publishUntilStored(last);
    const { position } = await client.outcome(last.event.id, 'default', { timeout: 60_000 });
    relayed = await client.readOut('default', Number(position));
    await client.close();
    lastExit = await program.stop();
    for (const { msg, ...facts } of program.log(50)) errors.push(`${msg} ${JSON.stringify(facts)}`);

    const kurrent = await KurrentLog.open(double.url);
    records = [];
    for await (const chunk of kurrent.read('default', 1)) records.push(...chunk);
    verification = await verifyStream(kurrent, 'default');
    await kurrent.close();
  }, 150_000);

  test('[OUT-1 acts] every request has exactly one outcome in VF_OUT', () => {
    const outcomes = new Map<string, number>();
    for (const { event } of relayed) {
      if (isOutcome(event.type)) outcomes.set(event.causationid, (outcomes.get(event.causationid) ?? 0) + 1);
    }
    const wrong = requests
      .map(({ event: { id } }) => [id, outcomes.get(id) ?? 0] as const)
      .filter(([, found]) => found !== 1);
    expect(wrong).toEqual([]);
    expect(outcomes.size).toBe(requests.length);
  });

  test('[EX-1 acts] no VF has two holders, and all are taken', () => {
    const ledger = new Ledger(relayed);
    expect(ledger.faults).toEqual([]);
    expect(ledger.holders.size).toBe(VFS);
  });

  test('[OUT-3 acts] the log in KurrentDB is VF_OUT byte for byte, and its chain is good', () => {
    expect(relayed[0]?.sequence).toBe(1);
    expect(differences(relayed, records)).toEqual([]);
    expect(records).toHaveLength(relayed.length);
    const { length } = records;
    const hash = records.at(-1)?.hash;
    expect(verification).toEqual({ events: length, ok: true, head: { position: length, hash } });
  });

  test('it ends with 0, nothing was an error, and its name has no password', () => {
    expect(lastExit).toEqual({ code: 0, signal: null });
    expect(errors).toEqual([]);
    expect(logName).toBe(double.url.replace(/\?.*/, ''));
  });

  test('a server that answers nothing any more keeps no process from ending', async () => {
    const settings = { VF_EVENT_LOG: double.url };
    const program = await programs.start('standalone', settings);
    const { nats } = await program.ready();
    const client = await NatsClient.connect(nats);
    for (const kind of ['append', 'read', 'subscription'])
      await double.tell({ kind, fault: 'silent', times: 1000 });
    await client.publishUntilStored(vmStart('vm-silent'));
    await until(
      'the leader has an append under way',
      () => program.log().some(({ msg }) => /append/.test(msg)),
      {
        timeout: 60_000,
      },
    );
    await client.close();
    expect(await program.stop()).toMatchObject({ signal: null });
  }, 120_000);
});
