import { Option, type Command } from 'commander';
import {
  VfError,
  type DeadLetterOnRecord,
  type OutgoingEvent,
  type OutputSpan,
  type VfScheduler,
} from '#client';
import { notEmpty, several, wholeNumber } from '../arguments.js';
import { EXIT, Ended, UsageError } from '../exit-codes.js';
import type { Run } from '../run.js';
import { timelineRow } from '../tables.js';
import { oneLine, table } from '../terminal.js';

/** What is shown of the past where nothing is said. */
const LAST = 20;
/** How many events are looked through first, for the last that are wanted. */
const PIECE = 256;

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
    .addOption(
      new Option('--after <position>', 'begin after a position; 0: with the first of all')
        .argParser(wholeNumber)
        .conflicts('last'),
    )
    .option('--last <n>', 'begin with the last so many of those; 20 unless --after says where', wholeNumber)
    .option('--vm <vm>', 'only those about one VM', notEmpty)
    .option('--host <host>', 'only those about one host', notEmpty)
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
        const wanted = ({ type, data, subject }: OutgoingEvent): boolean => {
          const { vmId, hostId } = data as { vmId?: string; hostId?: string };
          const { vm, host, type: types } = options;
          return (
            (types === undefined || types.includes(type)) &&
            (vm === undefined || vmId === vm || subject === `vm/${vm}`) &&
            (host === undefined || hostId === host || subject === `host/${host}`)
          );
        };
        const { signal } = session.terminal;
        const print = (event: OutgoingEvent): void =>
          session.terminal.out(`${session.options.json ? JSON.stringify(event) : timelineRow(event)}\n`);
        let { after } = options;
        if (after === undefined) {
          const { last = LAST } = options;
          if (span !== undefined)
            for (const event of await lastOf(client, span, last, wanted, signal)) print(event);
          after = end;
        }
        if (options.follow !== true && after === end) return;
        for await (const event of client.follow({ after, signal })) {
          if (wanted(event)) print(event);
          if (options.follow !== true && Number(event.position) >= end) return;
        }
      }),
    );
}

/** The last events that are wanted, oldest first: looked for from the end, in pieces that grow. */
async function lastOf(
  client: VfScheduler,
  { first, last }: OutputSpan,
  count: number,
  wanted: (event: OutgoingEvent) => boolean,
  signal: AbortSignal,
): Promise<readonly OutgoingEvent[]> {
  let found: OutgoingEvent[] = [];
  let end = last;
  for (let piece = Math.max(count, PIECE); found.length < count && end >= first; piece *= 4) {
    const after = Math.max(first - 1, end - piece);
    let some: OutgoingEvent[] = [];
    for await (const event of client.follow({ after, signal })) {
      if (wanted(event)) some.push(event);
      if (some.length > 2 * count + PIECE) some = some.slice(-count);
      if (Number(event.position) >= end) break;
    }
    if (signal.aborted) return [];
    found = [...some, ...found].slice(-count);
    end = after;
  }
  return found;
}

/** A letter as it is printed for programs: no number that means a time, and the payload in a form of its own. */
function forPrograms(
  found: DeadLetterOnRecord,
): Omit<DeadLetterOnRecord, 'time' | 'payload'> & { readonly time: string } {
  const { payload, time, ...letter } = found;
  void payload;
  return { ...letter, time: new Date(time).toISOString() };
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
        const letters: (ReturnType<typeof forPrograms> & { bytes: number })[] = [];
        if (limit > 0) {
          for await (const letter of client.deadLetters({ all, from })) {
            letters.push({ ...forPrograms(letter), bytes: letter.payload.length });
            if (letters.length >= limit) break;
          }
        }
        session.print(letters, () =>
          letters.length === 0
            ? ['There is none.']
            : table(
                ['NUMBER', 'TIME', 'CLUSTER', 'SUBJECT', 'REASON'],
                letters.map((one) => [one.deadSequence, one.time, one.cluster, one.subject, one.reason]),
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
        const found = await letterOf(await session.client(), Number(number));
        const { payload } = found;
        const letter = forPrograms(found);
        const text = Buffer.from(payload).toString('utf8');
        if (raw === true) {
          session.terminal.outBytes(payload);
          return;
        }
        session.print({ ...letter, payloadBase64: Buffer.from(payload).toString('base64') }, () => [
          `reason:  ${oneLine(letter.reason)}`,
          `subject: ${oneLine(letter.subject)} (${letter.sequence} in VF_IN)`,
          `time:    ${letter.time}`,
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
