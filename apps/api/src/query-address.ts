/** What an address can only say as text, by the field's name: it is the same field in every query. */
const NUMBERS: ReadonlySet<string> = new Set(['limit', 'numaNode']);
const FLAGS: ReadonlySet<string> = new Set(['summary', 'causes', 'separatePfs']);
const LISTS: ReadonlySet<string> = new Set(['types', 'hosts']);

/** A request as it stands in an address: `?limit=5&types=VfAllocated,VfReleased`. */
export function fromAddress(asked: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(asked).map(([name, value]) => [name, read(name, value)]));
}

function read(name: string, value: unknown): unknown {
  if (LISTS.has(name)) {
    return (Array.isArray(value) ? value : [value]).flatMap((one) =>
      typeof one === 'string' ? one.split(',') : [one],
    );
  }
  if (typeof value !== 'string') return value;
  if (NUMBERS.has(name) && /^\d{1,9}$/.test(value)) return Number(value);
  if (FLAGS.has(name) && (value === 'true' || value === 'false')) return value === 'true';
  // The plus sign of a time zone is a blank in an address.
  if (/^\d{4}-\d\d-\d\dT[\d:.]+ \d\d:\d\d$/.test(value)) return value.replace(' ', '+');
  return value;
}
