import { hash } from 'node:crypto';
import type { Input, InputType } from '#domain';
import { MAX_INPUT_BYTES, quote, readCloudEvent } from './cloud-event.js';
import { INPUT_CATALOG, isInputType } from './inputs/catalog.js';
import { DataChecker } from './inputs/data-checker.js';
import { clusterOfSubject, parseInputSubject } from './subjects.js';

/** An input that can be decided, with what its events carry on. */
export interface ReadInput {
  readonly input: Input;
  readonly correlationId: string;
  readonly traceparent?: string;
  /** The CloudEvent in structured mode, as it is kept in the log. */
  readonly text: string;
}

/** An input that cannot: a sentence for a person, and the event's id where there is one. */
export interface UnreadableInput {
  readonly problem: string;
  readonly eventId?: string;
}

export interface RawInput {
  readonly subject: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly payload: Uint8Array;
  /** Milliseconds since 1970. */
  readonly time: number;
}

const checkers = new Map<InputType, DataChecker>();

function checkerOf(type: InputType): DataChecker {
  let checker = checkers.get(type);
  if (checker === undefined) {
    checker = new DataChecker(INPUT_CATALOG[type].dto);
    checkers.set(type, checker);
  }
  return checker;
}

export const isReadable = (read: ReadInput | UnreadableInput): read is ReadInput => 'input' in read;

/** Reads and checks a message of `VF_IN`: a CloudEvent of a known type, whose subject, type and ids agree. */
export function readInput(message: RawInput): ReadInput | UnreadableInput {
  const subject = parseInputSubject(message.subject);
  const read = readCloudEvent(message.payload, message.headers);
  if ('problem' in read) return { problem: read.problem, eventId: read.id };
  const { event } = read;
  const unreadable = (problem: string): UnreadableInput => ({ problem, eventId: event.id });
  if (subject === undefined) {
    const form = 'vf.in.<cluster>.{vm,host,network,cluster}.<id>.<Type>';
    return unreadable(`subject ${quote(message.subject)} is not of the form ${form}`);
  }
  if (!isInputType(event.type)) return unreadable(`type ${quote(event.type)} is not an input`);
  if (event.type !== subject.type) {
    return unreadable(`the subject says ${quote(subject.type)}, the event's type is ${event.type}`);
  }
  const entry = INPUT_CATALOG[event.type];
  if (entry.kind !== subject.kind) {
    return unreadable(`${event.type} belongs under '${entry.kind}', the subject says '${subject.kind}'`);
  }
  const checked = checkerOf(event.type).check(event.data);
  if ('problem' in checked) return unreadable(checked.problem);
  const about = entry.idField === undefined ? subject.cluster : checked.data[entry.idField];
  if (about !== subject.id) {
    const field = entry.idField === undefined ? 'the cluster is' : `data.${entry.idField} is`;
    return unreadable(`${field} ${JSON.stringify(about)}, the subject says ${JSON.stringify(subject.id)}`);
  }
  const strange = tooMany(event.type, checked.data);
  if (strange !== undefined) return unreadable(strange);
  const content = JSON.stringify(checked.data);
  // Written out, a number such as 1E20 is five times as long; what is taken goes out again, and must fit into
  // a message.
  if (content.length > MAX_INPUT_BYTES) {
    const most = `at most ${MAX_INPUT_BYTES} are taken`;
    return unreadable(`data has ${content.length} characters with its numbers written out; ${most}`);
  }
  const { id, type, traceparent } = event;
  const { time } = message;
  const input = {
    id,
    type,
    data: checked.data,
    time,
    saidAt: saidAt(event),
    digest: digestOf(type, content),
  };
  const result = {
    input: input as unknown as Input,
    correlationId: event.correlationid ?? id,
    text: read.text,
  };
  return traceparent === undefined || traceparent === null ? result : { ...result, traceparent };
}

/**
 * What an input says, as 16 hex digits: a repeat written in another order of keys is still the same (EX-6).
 */
const digestOf = (type: string, content: string): string =>
  hash('sha256', `${type}\n${content}`).slice(0, 16);

/** When its sender says that it was, in milliseconds; a leap second counts as the one before it. */
const saidAt = ({ time }: { readonly time: string }): number =>
  Date.parse(time.slice(17, 19) === '60' ? `${time.slice(0, 17)}59${time.slice(19)}` : time);

/** Limits of a host that its lists alone do not show: 1,024 VFs over all its PFs, each address once. */
function tooMany(type: InputType, data: Record<string, unknown>): string | undefined {
  if (type !== 'HostReported') return undefined;
  const seen = new Set<string>();
  let vfs = 0;
  for (const pf of data['pfs'] as readonly { pciAddress: string; vfs: readonly { pciAddress: string }[] }[]) {
    for (const { pciAddress } of [pf, ...pf.vfs]) {
      if (seen.has(pciAddress)) return `data.pfs names ${pciAddress} twice`;
      seen.add(pciAddress);
    }
    vfs += pf.vfs.length;
  }
  return vfs > 1024 ? `data.pfs has ${vfs} VFs; a host has at most 1024` : undefined;
}

/** The cluster under which a message that cannot be read is dead-lettered. */
export const deadCluster = (subject: string): string => clusterOfSubject(subject) ?? '_';
