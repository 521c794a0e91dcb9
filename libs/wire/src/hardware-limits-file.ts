import type { HardwareLimit } from '#domain';
import { DataChecker } from './inputs/data-checker.js';
import { ClusterPolicyChangedDto } from './inputs/network.dto.js';

const checker = new DataChecker(ClusterPolicyChangedDto);

/** The fields of an entry: in a file, unlike in a message, an unknown one is a mistake. */
const FIELDS: readonly string[] = ['match', 'onSplit', 'guests'];
const GUEST_FIELDS: readonly string[] = ['match', 'warning'];

/**
 * Reads an operator's file of hardware limits (PF-12): a JSON list of what `hardwareLimits` of
 * `ClusterPolicyChanged` takes.
 *
 * @returns the list, or what is wrong with the file.
 */
export function readHardwareLimits(text: string): readonly HardwareLimit[] | { readonly problem: string } {
  let list: unknown;
  try {
    list = JSON.parse(text);
  } catch (error) {
    return { problem: `it is not JSON: ${(error as Error).message}` };
  }
  if (!Array.isArray(list)) return { problem: 'it must be a list' };
  const checked = checker.check({ hardwareLimits: list });
  if ('problem' in checked) return { problem: checked.problem.replaceAll('data.hardwareLimits', 'the list') };
  for (const [index, entry] of (list as readonly HardwareLimit[]).entries()) {
    const unknown =
      Object.keys(entry).find((field) => !FIELDS.includes(field)) ??
      Object.keys(entry.guests ?? {}).find((field) => !GUEST_FIELDS.includes(field));
    if (unknown !== undefined) return { problem: `the list[${index}] has an unknown field '${unknown}'` };
  }
  return (checked.data as { hardwareLimits: readonly HardwareLimit[] }).hardwareLimits;
}
