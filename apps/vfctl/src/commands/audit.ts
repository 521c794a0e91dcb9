import type { Command } from 'commander';
import { createPublicKey } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, readFile, rm } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { VfError } from '#client';
import { EXIT, Ended, UsageError } from '../exit-codes.js';
import type { Run } from '../run.js';

interface Verification {
  readonly ok: boolean;
  readonly events: number | string;
  readonly head?: { readonly position: string; readonly hash: string };
  readonly firstBad?: { readonly position: string; readonly message?: string };
  readonly checks: {
    readonly chain: Check;
    readonly versions: Check;
    readonly states: Check & {
      readonly checked: readonly { what: string; position: string; same: boolean; named?: false }[];
    };
    readonly output: Check;
    readonly signedHead: Check;
    readonly readSide: Check;
  };
}

interface Check {
  readonly ok: boolean;
  /** What was compared; without it there was nothing to compare with. */
  readonly position?: string;
  /** What there is to say of it. */
  readonly message?: string;
}

const goodOrNot = ({ ok }: Check): string => (ok ? 'good' : 'NOT good');
const upTo = (check: Check): string => {
  if (check.ok && check.position === undefined) return check.message ?? 'there is none';
  const end = check.position === undefined ? '' : `, up to position ${check.position}`;
  return `${goodOrNot(check)}${end}${check.message === undefined ? '' : ` (${check.message})`}`;
};

function checkLines(checks: Verification['checks']): readonly string[] {
  const { chain, versions, states, output, signedHead, readSide } = checks;
  const compared = states.checked.map(
    ({ what, position, same, named }) =>
      `${what} at ${position}${same ? '' : ' DIFFERS'}${named === false ? ', which the log does not name' : ''}`,
  );
  return [
    `  hash chain: ${goodOrNot(chain)}`,
    `  versions of the events: ${versions.ok ? 'known' : 'NOT known'}`,
    `  replay against the states in use: ${chain.ok && versions.ok ? goodOrNot(states) : 'not tried'}${compared.length === 0 ? '' : ` (${compared.join(', ')})`}`,
    `  VF_OUT: ${upTo(output)}`,
    `  last signed head: ${upTo(signedHead)}`,
    `  read side: ${readSide.message ?? goodOrNot(readSide)}`,
  ];
}

export function auditCommands(program: Command, run: Run): void {
  const audit = program.command('audit').description('the log: verify it, export it signed, check an export');

  audit
    .command('verify')
    .description('check the chain from the first event, and what the scheduler makes of it')
    .addHelpText(
      'after',
      '\nExit code 7 when something is not as it was written.\n\nExample:\n  vfctl audit verify',
    )
    .action(
      run(async (session) => {
        const reply = await session.query<Verification>('verify');
        const { ok, events, head, firstBad, checks } = reply;
        session.print(reply, () => [
          ok
            ? `Good: ${events} events, the last with hash ${head?.hash}`
            : `NOT good: ${firstBad === undefined ? 'see below' : `position ${firstBad.position}${firstBad.message === undefined ? '' : `: ${firstBad.message}`}`}`,
          ...checkLines(checks),
        ]);
        if (!ok) throw new Ended(EXIT.damaged);
      }),
    );

  audit
    .command('export')
    .description('write the whole log into a file, signed')
    .argument('<file>')
    .addHelpText(
      'after',
      '\nIt comes over HTTP: see --server. The scheduler signs it with its key, which it has where VF_AUDIT_KEY names one.\n\nExample:\n  vfctl audit export default.ndjson',
    )
    .action(
      run(async (session, [file]) => {
        const url = new URL(`/v1/clusters/${encodeURIComponent(session.cluster)}/export`, session.httpUrl);
        let response: Response;
        try {
          response = await fetch(url, { signal: session.terminal.signal });
        } catch (error) {
          throw new VfError(
            'UNAVAILABLE',
            `the HTTP API at ${session.httpUrl} does not answer: say --server http://…`,
            {},
            { cause: error },
          );
        }
        if (!response.ok || response.body === null) {
          const { code = 'INTERNAL', detail = response.statusText } = (await response
            .json()
            .catch(() => ({}))) as { code?: string; detail?: string };
          throw new VfError(code, detail, { status: response.status });
        }
        const target = await open(file as string, 'wx').catch(async (error: { code?: string }) => {
          await response.body?.cancel();
          throw new UsageError(
            error.code === 'EEXIST'
              ? `${file} is there already: name another file`
              : `${file} cannot be written (${error.code})`,
          );
        });
        try {
          // Half an export is none.
          await pipeline(Readable.fromWeb(response.body as never), target.createWriteStream());
        } catch (error) {
          await rm(file as string, { force: true });
          throw new VfError(
            'UNAVAILABLE',
            `the export broke off: ${(error as Error).message}`,
            {},
            { cause: error },
          );
        }
        session.print({ file, cluster: session.cluster }, () => [
          `Written: ${file}. Check it with: vfctl audit check ${file} --key <public key>`,
        ]);
      }),
    );

  audit
    .command('check')
    .description('check an export by itself: no server is needed')
    .argument('<file>')
    .requiredOption('--key <file>', 'the public key that you trust, in PEM')
    .addHelpText(
      'after',
      '\nExit code 7 when it is not good.\n\nExample:\n  vfctl audit check default.ndjson --key scheduler.pub',
    )
    .action(
      run(async (session, [file], { key }: { key: string }) => {
        const pem = await readFile(key, 'utf8').catch((error: { code?: string }) => {
          throw new UsageError(`--key ${key}: it cannot be read (${error.code})`);
        });
        refuseOtherKey(key, pem);
        // Only here: it brings a database along.
        const { checkExport } = await import('#log');
        let found: Awaited<ReturnType<typeof checkExport>>;
        try {
          found = await checkExport(createReadStream(file as string), pem);
        } catch (error) {
          const { code, message } = error as { code?: string; message: string };
          throw new UsageError(
            code === 'ENOENT' || code === 'EACCES' || code === 'EISDIR'
              ? `${file} cannot be read (${code})`
              : `${file} cannot be checked: ${message}`,
          );
        }
        session.print(found, () => [
          found.ok
            ? `Good: ${found.events} events of cluster '${found.cluster}', whole and unchanged, signed by that key at ${found.exportedAt}`
            : `NOT good: ${found.problem}`,
        ]);
        if (!found.ok) throw new Ended(EXIT.damaged);
      }),
    );
}

/** What OpenSSL says of a file that is no key helps nobody. */
function refuseOtherKey(file: string, pem: string): void {
  let type: string | undefined;
  try {
    type = createPublicKey(pem).asymmetricKeyType;
  } catch {
    throw new UsageError(`--key ${file}: it is no public key in PEM`);
  }
  if (type !== 'ed25519') throw new UsageError(`--key ${file}: it is a key of ${type}, not of Ed25519`);
}
