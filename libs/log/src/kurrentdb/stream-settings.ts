/** What a stream's metadata do to it. */

/** Metadata that take events away, by their names in the server. */
const cutting = ['$maxCount', '$maxAge', '$tb'] as const;
/** The `$tb` that a stream gets when it is deleted so that it can begin again. */
const deleted = 2 ** 53;

/**
 * What takes, or will take, events away from a stream, and how that is taken back.
 *
 * @returns undefined when nothing does.
 */
export function cutBy(stream: string, values: Readonly<Record<string, unknown>>): string | undefined {
  const set = cutting.filter((name) => values[name] !== undefined && values[name] !== 0);
  if (set.length === 0) return undefined;
  const what =
    Number(values['$tb']) >= deleted
      ? `the stream ${stream} was deleted ($tb in its metadata)`
      : `the stream ${stream} has ${set.map((name) => `${name} ${JSON.stringify(values[name])}`).join(' and ')} in its metadata`;
  return (
    `${what}: that hides the beginning of the history, and the next scavenge deletes it for good. ` +
    `Write the metadata again without ${set.join(' and ')} (see run-on-kurrentdb.md)`
  );
}

/**
 * Metadata with the rights of a stream that only this user writes.
 *
 * @returns undefined when somebody has set its rights already.
 */
export function protectedFor(
  user: string,
  values: Readonly<Record<string, unknown>>,
): Readonly<Record<string, unknown>> | undefined {
  if (values['$acl'] !== undefined) return undefined;
  const ours = [...new Set([user, '$admins'])];
  // Who may read is left as it is on that server.
  return { ...values, $acl: { $w: ours, $d: ['$admins'], $mw: ours } };
}
