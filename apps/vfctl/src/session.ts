import { accessSync, constants } from 'node:fs';
import {
  VfError,
  VfRefusal,
  VfScheduler,
  type Granted,
  type InputType,
  type Inputs,
  type OutgoingEvent,
  type PfView,
} from '#client';
import { readPciAddress } from '#wire';
import { UsageError } from './exit-codes.js';
import { painter, type Paint, type Terminal } from './terminal.js';

/** What stands before or after every command. */
export interface GlobalOptions {
  readonly server?: readonly string[];
  readonly cluster?: string;
  readonly creds?: string;
  readonly timeout: number;
  readonly json?: boolean;
}

const NATS = 'nats://127.0.0.1:4222';
const HTTP = 'http://127.0.0.1:8080';

/** One run of vfctl: whom it talks to, and how it says what it found. */
export class Session {
  readonly paint: Paint;
  #client: Promise<VfScheduler> | undefined;

  constructor(
    readonly terminal: Terminal,
    readonly options: GlobalOptions,
  ) {
    this.paint = painter(terminal);
  }

  get cluster(): string {
    return this.options.cluster ?? this.terminal.env['VFCTL_CLUSTER'] ?? 'default';
  }

  get natsUrl(): string {
    const { env } = this.terminal;
    return this.#server(/^(nats|tls|wss?):\/\//) ?? env['VFCTL_NATS_URL'] ?? env['VF_NATS_URL'] ?? NATS;
  }

  get httpUrl(): string {
    return this.#server(/^https?:\/\//) ?? this.terminal.env['VFCTL_HTTP_URL'] ?? HTTP;
  }

  /** The client, connected at the first use. */
  client(): Promise<VfScheduler> {
    const { creds, timeout } = this.options;
    if (creds !== undefined) refuseUnreadable('--creds', creds);
    this.#client ??= VfScheduler.connect({
      servers: this.natsUrl.split(','),
      cluster: this.cluster,
      source: '/vfctl',
      timeout: timeout * 1000,
      connectTimeout: Math.min(5000, timeout * 1000),
      ...(creds !== undefined && { credentialsFile: creds }),
    });
    return this.#client;
  }

  async query<T>(name: string, request: object = {}): Promise<T> {
    const client = await this.client();
    return client.query<T>(name, withoutUndefined(request), { signal: this.terminal.signal });
  }

  /**
   * What an input would lead to, without a trace. It is the decider that says so, by what is known now and by the
   * policy.
   *
   * @throws VfRefusal where it would be refused.
   */
  async plan<T extends InputType>(type: T, data: Inputs[T]): Promise<readonly OutgoingEvent[]> {
    const { events } = await this.query<{ events: readonly OutgoingEvent[] }>('plan', {
      inputs: [{ type, data: withoutUndefined(data) }],
    });
    const last = events.at(-1);
    if (last !== undefined && /Rejected$/.test(last.type)) throw new VfRefusal(last);
    return events;
  }

  /** A list of all pages, up to a limit. */
  async list<T>(
    name: string,
    request: object,
    limit: number,
  ): Promise<{ items: T[]; more: boolean; reply: object }> {
    const items: T[] = [];
    let cursor: string | undefined;
    let first: object | undefined;
    do {
      const reply = await this.query<Record<string, unknown>>(name, {
        ...request,
        limit: Math.min(1000, limit - items.length),
        cursor,
      });
      first ??= reply;
      items.push(...((reply[name === 'history' ? 'events' : name] ?? []) as T[]));
      cursor = reply['cursor'] as string | undefined;
    } while (cursor !== undefined && items.length < limit);
    return { items, more: cursor !== undefined, reply: first };
  }

  /** Prints a result: for programs as it is, for people as lines. */
  print(result: unknown, lines: () => readonly string[]): void {
    if (this.options.json) this.terminal.out(`${JSON.stringify(result, null, 2)}\n`);
    else for (const line of lines()) this.terminal.out(`${line}\n`);
  }

  /**
   * Prints what was granted: that it was done, or why it changed nothing.
   *
   * @throws VfError `NOT_FOUND` where the scheduler does not know what it was about.
   */
  granted({ event, ...granted }: Granted, done: string): void {
    const { ignored, position } = granted;
    if (ignored === 'unknown') {
      const [kind = '', id = ''] = event.subject.split('/');
      const { type } = event.data as { type?: string };
      const what = `${type?.startsWith('Pf') === true ? 'such PF of ' : ''}${kind === 'vm' ? 'VM' : kind} '${id}'`;
      throw new VfError('NOT_FOUND', `the scheduler knows no ${what}: that changes nothing`, { ...granted });
    }
    this.print({ ...granted, outcome: event }, () => [
      ignored === undefined ? `${done} (position ${position}).` : `That changes nothing: ${ignored}.`,
    ]);
  }

  /** Says something to a person that is not the result. */
  note(text: string): void {
    this.terminal.err(`${text}\n`);
  }

  /** A PF by its address in any form (PF-8), or by its name on that host. */
  async pf(hostId: string, named: string): Promise<string> {
    const address = readPciAddress(named);
    if (address !== undefined) return address;
    const { pfs } = await this.query<{ pfs: readonly PfView[] }>('availability', { hostId });
    const found = pfs.filter(({ ifname }) => ifname === named);
    if (found.length === 1) return (found[0] as PfView).pf;
    throw new VfError(
      'NOT_FOUND',
      `host '${hostId}' has no PF '${named}'; it has ${pfs.map(({ ifname, pf }) => `${ifname} (${pf})`).join(', ') || 'none'}`,
    );
  }

  /**
   * Asks a person to say yes.
   *
   * @throws VfError `NOT_CONFIRMED` when the answer is another one, or there is nobody to ask.
   */
  async confirm(question: string, yes: boolean | undefined): Promise<void> {
    if (yes === true) return;
    const { ask } = this.terminal;
    if (ask === undefined) {
      throw new VfError(
        'NOT_CONFIRMED',
        `${question}\nThere is no terminal to ask on: say --yes if that is what you want. Nothing was done.`,
      );
    }
    const answer = (await ask(`${question}\nGo on? [y/N] `)).trim().toLowerCase();
    if (answer === 'y' || answer === 'yes') return;
    throw new VfError('NOT_CONFIRMED', 'Nothing was done.');
  }

  async close(): Promise<void> {
    const client = await this.#client?.catch(() => undefined);
    await client?.close();
  }

  #server(scheme: RegExp): string | undefined {
    for (const url of this.options.server ?? []) {
      if (!/^(nats|tls|wss?|https?):\/\//.test(url))
        throw new UsageError(`--server ${url}: it is neither nats://… nor http://…`);
    }
    return this.options.server?.findLast((url) => scheme.test(url));
  }
}

/** @throws UsageError that names the option. */
export function refuseUnreadable(option: string, file: string): void {
  try {
    accessSync(file, constants.R_OK);
  } catch (error) {
    throw new UsageError(`${option} ${file}: it cannot be read (${(error as { code?: string }).code})`);
  }
}

/** What the scheduler refuses because the very thing is not there. */
export async function orNotFound<T>(code: string, asked: Promise<T>): Promise<T> {
  return asked.catch((error: unknown) => {
    if (error instanceof VfRefusal && error.code === code)
      throw new VfError('NOT_FOUND', error.message, error.facts, { cause: error });
    throw error;
  });
}

/** JSON has no undefined, and a query takes no null for "not said". */
export const withoutUndefined = (request: object): object =>
  Object.fromEntries(Object.entries(request).filter(([, value]) => value !== undefined));

/** An address of a VF or PF in any form. @throws UsageError */
export function addressOf(text: string): string {
  const address = readPciAddress(text);
  if (address !== undefined) return address;
  throw new UsageError(`'${text}' is not a PCI address such as 0000:82:10.1, 82:10.1 or pci_0000_82_10_1`);
}
