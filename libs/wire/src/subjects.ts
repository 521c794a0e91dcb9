/** The subjects of wire.md, in one place: built and read here and nowhere else. */

import { IDENTIFIER } from './formats.js';

/** Names of the streams. */
export const INPUT_STREAM = 'VF_IN';
export const DEAD_STREAM = 'VF_DEAD';
export const outputStream = (cluster: string): string => `VF_OUT_${cluster}`;

/** What a subject is about. */
export type SubjectKind = 'vm' | 'host' | 'network' | 'cluster';

const KINDS: ReadonlySet<string> = new Set(['vm', 'host', 'network', 'cluster']);

/** Whether a text is an identifier: `vmId`, `hostId`, `nicId`, network id, cluster or tenant. */
export const isIdentifier = (text: string): boolean => IDENTIFIER.test(text);

/** `vf.in.<cluster>.<kind>.<id>.<Type>`. */
export const inputSubject = (cluster: string, kind: SubjectKind, id: string, type: string): string =>
  `vf.in.${cluster}.${kind}.${id}.${type}`;

/** All inputs. */
export const ALL_INPUTS = 'vf.in.>';

/** All inputs of a cluster. */
export const inputsOf = (cluster: string): string => `vf.in.${cluster}.>`;

/** `vf.out.<cluster>.<kind>.<id>.<Type>`. */
export const outputSubject = (cluster: string, kind: SubjectKind, id: string, type: string): string =>
  `vf.out.${cluster}.${kind}.${id}.${type}`;

/** All events of a cluster. */
export const outputsOf = (cluster: string): string => `vf.out.${cluster}.>`;

/** Stands for the cluster in `vf.dead._` when the subject names none. */
export const NO_CLUSTER = '_';

/** All dead letters. */
export const ALL_DEAD = 'vf.dead.>';

/** `vf.dead.<cluster>`, or `vf.dead._` when the cluster cannot be read. */
export const deadSubject = (cluster: string): string => `vf.dead.${cluster}`;

/** `vf.query.<cluster>.<name>`. */
export const querySubject = (cluster: string, name: string): string => `vf.query.${cluster}.${name}`;

/** An input's subject, read. */
export interface InputSubject {
  readonly cluster: string;
  readonly kind: SubjectKind;
  readonly id: string;
  readonly type: string;
}

/**
 * The cluster that a subject under `vf.in` names, or undefined when the token there is not a cluster name.
 */
export function clusterOfSubject(subject: string): string | undefined {
  if (!subject.startsWith('vf.in.')) return undefined;
  const end = subject.indexOf('.', 6);
  const token = end === -1 ? subject.slice(6) : subject.slice(6, end);
  // `_` is the name of "no cluster" in `vf.dead._` and `vf.query._`: it is nobody's cluster.
  return isIdentifier(token) && token !== NO_CLUSTER ? token : undefined;
}

/** Reads `vf.in.<cluster>.<kind>.<id>.<Type>`; undefined when the subject is not of that form. */
export function parseInputSubject(subject: string): InputSubject | undefined {
  const tokens = subject.split('.');
  if (tokens.length !== 6 || tokens[0] !== 'vf' || tokens[1] !== 'in') return undefined;
  const [, , cluster, kind, id, type] = tokens as [string, string, string, string, string, string];
  if (cluster === NO_CLUSTER || !isIdentifier(cluster) || !KINDS.has(kind) || !isIdentifier(id))
    return undefined;
  return { cluster, kind: kind as SubjectKind, id, type };
}
