import type { Command } from 'commander';
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { parse } from 'yaml';
import type { Availability, OutgoingEvent } from '#client';
import { EXIT, Ended, UsageError } from '../exit-codes.js';
import type { Run } from '../run.js';
import { fleetTable, plannedRow } from '../tables.js';
import { table } from '../terminal.js';

export function askCommands(program: Command, run: Run): void {
  program
    .command('clusters')
    .description('list the clusters of the site, and who leads each')
    .addHelpText('after', '\nExample:\n  vfctl clusters')
    .action(
      run(async (session) => {
        const client = await session.client();
        const clusters = await client.clusters({ signal: session.terminal.signal });
        session.print(clusters, () =>
          table(
            ['CLUSTER', 'LEADER', 'POSITION'],
            clusters.map(({ cluster, leader, position }) => [cluster, leader, position]),
            session.paint,
          ),
        );
      }),
    );

  program
    .command('availability')
    .description('how many VFs are free, and where')
    .option('--host <host>', 'on one host')
    .option('--network <name>', 'on a physical network or bond')
    .option('--l3 <id>', 'on an L3 network')
    .option('--at <moment>', 'as it was: a position, or a time')
    .addHelpText(
      'after',
      '\nExamples:\n  vfctl availability\n  vfctl availability --l3 net-9 --at 2026-11-24T09:30:00Z',
    )
    .action(
      run(async (session, _, options: { host?: string; network?: string; l3?: string; at?: string }) => {
        const { host: hostId, network: physicalNetwork, l3: networkId, at } = options;
        const reply = await session.query<Availability & { position: string }>('availability', {
          ...{ hostId, physicalNetwork, networkId, at },
        });
        const { position, total, free, allocated, unavailable, pfs } = reply;
        session.print(reply, () => [
          `${free} of ${total} VFs free, ${allocated} allocated, ${unavailable} unavailable (position ${position})`,
          ...fleetTable(pfs, session.paint),
        ]);
      }),
    );

  program
    .command('plan')
    .description('what inputs would lead to, now or at a past moment; nothing is written')
    .requiredOption('-f, --file <file>', 'JSON or YAML: a list of { type, data }; - reads standard input')
    .option('--at <moment>', 'as if it were then: a position, or a time')
    .addHelpText(
      'after',
      `
Exit code 3 when one of them would be refused.

Example, plan.yaml:
  - type: PfVirtualizeRequested
    data: { hostId: host-1, pf: '0000:82:00.1', numVfs: 16 }
  - type: VmStartRequested
    data: { vmId: vm-99, nics: [{ nicId: nic-0, physicalNetwork: em2 }] }

  vfctl plan -f plan.yaml`,
    )
    .action(
      run(async (session, _, { file, at }: { file: string; at?: string }) => {
        const inputs = await readInputs(file);
        const reply = await session.query<{ position: string; events: readonly OutgoingEvent[] }>('plan', {
          inputs,
          at,
        });
        session.print(reply, () => [
          `From position ${reply.position} on, ${inputs.length} inputs would lead to ${reply.events.length} events:`,
          ...reply.events.map(plannedRow),
        ]);
        if (reply.events.some(({ type }) => /(Failed|Rejected)$/.test(type) && !/^Pf\w+Failed$/.test(type)))
          throw new Ended(EXIT.refused);
      }),
    );
}

async function readInputs(file: string): Promise<readonly unknown[]> {
  let text: string;
  try {
    text = file === '-' ? readFileSync(0, 'utf8') : await readFile(file, 'utf8');
  } catch (error) {
    throw new UsageError(`${file} cannot be read (${(error as { code?: string }).code})`);
  }
  let found: unknown;
  try {
    // JSON is YAML too.
    found = parse(text);
  } catch (error) {
    throw new UsageError(`${file} is neither JSON nor YAML: ${(error as Error).message.split('\n')[0]}`);
  }
  const list = Array.isArray(found) ? found : (found as { inputs?: unknown } | null)?.inputs;
  if (Array.isArray(list) && list.length > 0) return list as unknown[];
  throw new UsageError(`${file} must be a list of { type, data }, with one at least`);
}
