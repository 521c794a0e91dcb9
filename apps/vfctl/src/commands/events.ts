import type { Command } from 'commander';
import { VfError, type DeadLetterOnRecord, type OutgoingEvent } from '#client';
import { several, wholeNumber } from '../arguments.js';
import { EXIT, Ended, UsageError } from '../exit-codes.js';
import type { Run } from '../run.js';
import { timelineRow } from '../tables.js';
import { oneLine, table } from '../terminal.js';

interface EventOptions {
  readonly follow?: boolean;
  readonly after?: number;
  readonly vm?: string;
  readonly host?: string;
  readonly type?: readonly string[];
  readonly last?: number;
}

export function eventCommands(program: Command, run: Run): void {
  program
    .command('events')
    .description('print the events of the cluster, one a line; --json prints them in full')
    .option('-f, --follow', 'go on with what comes')
    .option('--after <position>', 'begin after a position', wholeNumber)
    .option('--last <n>', 'begin with the last so many; 20 unless --after says where', wholeNumber)
    .option('--vm <vm>', 'only those about one VM')
    .option('--host <host>', 'only those about one host')
    .option('--type <types>', 'only these types, with commas', several)
    .addHelpText(
      'after',
      '\nExamples:\n  vfctl events --last 50\n  vfctl events --follow --host host-1\n  vfctl events --after 0 --json > all.ndjson',
    )
    .action(
      run(async (session, _, options: EventOptions) => {
        const client = await session.client();
        const span = await client.span();
        const end = span?.last ?? 0;
        if (options.follow !== true && span === undefined) {
          // Nobody's cluster, and one that has not begun, look the same from here.
          throw new VfError('CLUSTER_UNKNOWN', `cluster '${session.cluster}' has no events`);
        }
        const after =
          options.after ??
          Math.max((span?.first ?? 1) - 1, end - (options.last ?? (options.follow ? 0 : 20)));
        if (options.follow !== true && after >= end) return;
        const about = ({ data, subject }: OutgoingEvent): boolean => {
          const { vmId, hostId } = data as { vmId?: string; hostId?: string };
          const { vm, host } = options;
          return (
            (vm === undefined || vmId === vm || subject === `vm/${vm}`) &&
            (host === undefined || hostId === host || subject === `host/${host}`)
          );
        };
        const { signal } = session.terminal;
        for await (const event of client.follow({ after: after === 0 ? 0 : after, signal })) {
          const wanted = options.type === undefined || options.type.includes(event.type);
          if (wanted && about(event)) {
            session.terminal.out(`${session.options.json ? JSON.stringify(event) : timelineRow(event)}\n`);
          }
          if (options.follow !== true && Number(event.position) >= end) return;
        }
      }),
    );
}

export function deadCommands(program: Command, run: Run): void {
  const dead = program
    .command('dead')
    .description('what the scheduler could not take (VF_DEAD): list, show, retry');

  dead
    .command('ls')
    .description('list dead letters, newest first')
    .option('--all', 'of all clusters, and of none')
    .option('--limit <n>', 'at most so many', wholeNumber, 50)
    .option('--from <number>', 'begin with this one', wholeNumber)
    .addHelpText('after', '\nExamples:\n  vfctl dead ls\n  vfctl dead ls --all --json')
    .action(
      run(async (session, _, { all, limit, from }: { all?: boolean; limit: number; from?: number }) => {
        const client = await session.client();
        const letters: (Omit<DeadLetterOnRecord, 'payload'> & { bytes: number })[] = [];
        if (limit > 0) {
          for await (const { payload, ...letter } of client.deadLetters({ all, from })) {
            letters.push({ ...letter, bytes: payload.length });
            if (letters.length >= limit) break;
          }
        }
        session.print(letters, () =>
          letters.length === 0
            ? ['There is none.']
            : table(
                ['NUMBER', 'TIME', 'CLUSTER', 'SUBJECT', 'REASON'],
                letters.map((one) => [
                  one.deadSequence,
                  new Date(one.time).toISOString(),
                  one.cluster,
                  one.subject,
                  one.reason,
                ]),
                session.paint,
              ),
        );
      }),
    );

  dead
    .command('show')
    .description('show a dead letter: why, and what was sent')
    .argument('<number>', 'as `dead ls` tells it', wholeNumber)
    .option('--raw', 'print the payload only, byte for byte')
    .addHelpText('after', '\nExamples:\n  vfctl dead show 17\n  vfctl dead show 17 --raw > payload')
    .action(
      run(async (session, [number], { raw }: { raw?: boolean }) => {
        const { payload, ...letter } = await letterOf(await session.client(), Number(number));
        const text = Buffer.from(payload).toString('utf8');
        if (raw === true) {
          session.terminal.outBytes(payload);
          return;
        }
        session.print({ ...letter, payloadBase64: Buffer.from(payload).toString('base64') }, () => [
          `reason:  ${oneLine(letter.reason)}`,
          `subject: ${oneLine(letter.subject)} (${letter.sequence} in VF_IN)`,
          `time:    ${new Date(letter.time).toISOString()}`,
          ...Object.entries(letter.headers).map(
            ([name, value]) => `header:  ${oneLine(`${name}: ${value}`)}`,
          ),
          oneLine(text.length > 4000 ? `${text.slice(0, 4000)}… (${payload.length} bytes)` : text),
        ]);
      }),
    );

  dead
    .command('retry')
    .description('publish a dead letter once more, byte for byte')
    .argument('<number>', 'as `dead ls` tells it', wholeNumber)
    .option('-y, --yes', 'do not ask')
    .addHelpText(
      'after',
      '\nFor what was put aside by a fault that is mended. What cannot be read now is put aside again.\n\nExample:\n  vfctl dead retry 17',
    )
    .action(
      run(async (session, [number], { yes }: { yes?: boolean }) => {
        const client = await session.client();
        const letter = await letterOf(client, Number(number));
        if (!letter.subject.startsWith('vf.in.'))
          throw new UsageError(`it was published under '${letter.subject}', which is not below vf.in`);
        await session.confirm(
          `It was put aside because ${oneLine(letter.reason)}.\nIt goes to ${letter.subject} once more.`,
          yes,
        );
        const sequence = await client.publishAgain(letter);
        session.print({ deadSequence: letter.deadSequence, sequence }, () => [
          `Published once more: ${sequence} in VF_IN${letter.eventId === undefined ? '' : `. See what it leads to: vfctl outcome ${letter.eventId}`}`,
        ]);
      }),
    );

  program
    .command('outcome')
    .description('what a request led to, by its id')
    .argument('<id>')
    .addHelpText(
      'after',
      '\nExit code 4 while nobody knows, 3 when it was refused or put aside.\n\nExample:\n  vfctl outcome start-vm-7',
    )
    .action(
      run(async (session, [id]) => {
        const reply = await session.query<{ outcome?: OutgoingEvent; dead?: { reason: string } }>('outcome', {
          id,
        });
        const { outcome, dead: letter } = reply;
        session.print(reply, () =>
          outcome !== undefined
            ? [timelineRow(outcome).trim()]
            : [
                letter === undefined
                  ? `Nobody knows of '${id}' (yet).`
                  : `Put aside: ${oneLine(letter.reason)}`,
              ],
        );
        if (letter !== undefined || /(Failed|Rejected)$/.test(outcome?.type ?? ''))
          throw new Ended(EXIT.refused);
        if (outcome === undefined) throw new Ended(EXIT.notFound);
      }),
    );
}

async function letterOf(
  client: { deadLetter(sequence: number): Promise<DeadLetterOnRecord | undefined> },
  number: number,
): Promise<DeadLetterOnRecord> {
  const letter = await client.deadLetter(number);
  if (letter === undefined) throw new VfError('NOT_FOUND', `there is no dead letter ${number}`);
  return letter;
}
