import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import type { Input } from './support/inputs.js';
import { NatsClient } from './support/nats-client.js';
import { Programs } from './support/programs.js';

/**
 * The operator's stories of `docs/how-to`: each message is published to a real standalone with an empty log, and what it
 * leads to is compared with the block behind it. `VF_TEST_WRITE_STORIES=1` writes those blocks instead.
 */
const STORIES = [
  'give-a-network-vfs.md',
  'add-a-nic.md',
  'maintain-a-pf.md',
  'migrate-a-vm.md',
  'adopt-a-fleet.md',
];
const FOLDER = resolve(import.meta.dirname, '../docs/how-to');
const PATIENCE = { timeout: process.env['VF_TEST_WRITE_STORIES'] === undefined ? 30_000 : 3000 };
const WRITE = process.env['VF_TEST_WRITE_STORIES'] !== undefined;

/** A message as the `nats` command line sends it, and the block of events behind it. */
const STEP = /```sh\nnats request (\S+) '([^']*)'\n```\n\n```json\n([^]*?)```/g;

const programs = new Programs();
afterAll(() => programs.end());

describe.each(STORIES)('%s', (file) => {
  test('is what a real scheduler does', async () => {
    const path = join(FOLDER, file);
    const text = readFileSync(path, 'utf8');
    const steps = [...text.matchAll(STEP)].map(([, subject, payload, events]) => ({
      input: { subject, event: JSON.parse(payload as string) as Input['event'] } as Input,
      expected: JSON.parse(events as string) as readonly unknown[],
    }));
    expect(steps.length).toBeGreaterThan(5);
    // Each message of the document is one of the steps.
    expect(text.match(/nats request/g)).toHaveLength(steps.length);

    const program = await programs.start('standalone');
    const client = await NatsClient.connect((await program.ready(60_000)).nats);
    const out = client.follow();
    const seen: unknown[][] = [];
    for (const { input, expected } of steps) {
      await client.publishUntilStored(input);
      const { id } = input.event;
      const came = () => out.first(`an event of ${id}`, ({ causationid }) => causationid === id, PATIENCE);
      // What leaves no event is overtaken by the next message, which does.
      if (WRITE) await came().catch(() => undefined);
      else if (expected.length > 0) await came();
    }
    await out.advance();
    for (const { input } of steps)
      seen.push(out.of(input.event.id).map(({ type, data }) => ({ type, data })));
    expect(await client.dead()).toEqual([]);
    await client.close();
    await program.stop();
    if (WRITE) {
      let step = 0;
      const filled = text.replace(
        STEP,
        (_all, subject: string, payload: string) =>
          `\`\`\`sh\nnats request ${subject} '${payload}'\n\`\`\`\n\n\`\`\`json\n${JSON.stringify(seen[step++], null, 2)}\n\`\`\``,
      );
      writeFileSync(path, filled);
      return;
    }
    expect(seen).toEqual(steps.map(({ expected }) => expected));
  }, 90_000);
});
