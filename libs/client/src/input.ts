import type { Inputs, InputType } from '#domain';
import {
  INPUT_CATALOG,
  inputSubject,
  isIdentifier,
  isInputType,
  isReadable,
  NO_CLUSTER,
  outputSubject,
  readInput,
} from '#wire';
import { VfError } from './errors.js';

/** What else a CloudEvent carries. */
export interface EventAttributes {
  /**
   * The input takes effect once by it: send the same again after any doubt, under the same id. A UUID is made
   * when it is left out.
   */
  readonly id?: string;
  /** Who says so, such as `/compute/controller-1`; the client's own by default. */
  readonly source?: string;
  /** Carried through to all that it leads to; default: the id. */
  readonly correlationId?: string;
  /** W3C trace context, carried through. */
  readonly traceparent?: string;
}

/** An input that the contract takes, ready to be sent. */
export interface PreparedInput {
  readonly id: string;
  readonly type: InputType;
  readonly subject: string;
  /** Where its outcome comes out: all events about the same thing. */
  readonly answers: string;
  readonly payload: string;
  /** Stands for type and data: the same id with another digest is another input. */
  readonly digest: string;
}

/**
 * Writes an input as the CloudEvent that goes into `VF_IN`, and reads it again as the scheduler will, so that
 * what it cannot take is known here and now.
 *
 * @throws VfError `BAD_INPUT`, with a sentence that names the field.
 */
export function prepareInput<T extends InputType>(
  cluster: string,
  type: T,
  data: Inputs[T],
  {
    id,
    source,
    correlationId,
    traceparent,
  }: EventAttributes & { readonly id: string; readonly source: string },
): PreparedInput {
  const bad = (problem: string): never => {
    throw new VfError('BAD_INPUT', `${type}: ${problem}`, { id, type });
  };
  if (!isInputType(type)) return bad('there is no such input');
  if (!isIdentifier(cluster) || cluster === NO_CLUSTER) return bad(`'${cluster}' is not a cluster name`);
  const { kind, idField } = INPUT_CATALOG[type];
  const about = idField === undefined ? cluster : (data as unknown as Record<string, unknown>)?.[idField];
  if (typeof about !== 'string' || !isIdentifier(about))
    return bad(`data.${idField} must be 1 to 64 of A-Z a-z 0-9 _ -`);
  const event = {
    specversion: '1.0',
    id,
    source,
    type,
    time: new Date().toISOString(),
    subject: `${kind}/${about}`,
    datacontenttype: 'application/json',
    correlationid: correlationId,
    traceparent,
    data,
  };
  const payload = JSON.stringify(event);
  const subject = inputSubject(cluster, kind, about, type);
  const read = readInput({ subject, payload: new TextEncoder().encode(payload), time: 0 });
  if (!isReadable(read)) return bad(read.problem);
  const answers = outputSubject(cluster, kind, about, '*');
  return { id, type, subject, answers, payload, digest: read.input.digest };
}
