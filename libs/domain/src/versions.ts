import { DECIDER_VERSION } from './decide.js';
import { EVENT_SCHEMA } from './events.js';

const LAST_DECIDER = Number(DECIDER_VERSION);

/**
 * Why an event of a log is none that this version may take in, for a person; undefined where it may. Older schemas and
 * deciders are known. A newer one may mean something else by the same words, so its events are not taken in, even where
 * they could be; and what is no version at all counts as one that is not known.
 *
 * @param schema version of the shape of its data, as it stands in the log.
 * @param decider version of the decider that decided it, as it stands in the log.
 */
export function unknownVersion(
  position: number,
  type: string,
  schema: unknown,
  decider: unknown,
): string | undefined {
  // What nearly every event of a log has.
  if (schema === EVENT_SCHEMA && decider === DECIDER_VERSION) return undefined;
  const wrong: string[] = [];
  if (!Number.isInteger(schema) || (schema as number) < 1 || (schema as number) > EVENT_SCHEMA)
    wrong.push(`has schema ${said(schema)}`);
  if (typeof decider !== 'string' || !/^[1-9]\d{0,8}$/.test(decider) || Number(decider) > LAST_DECIDER)
    wrong.push(`was decided by version ${said(decider)} of the decider`);
  if (wrong.length === 0) return undefined;
  return (
    `event ${position}, a '${type}', ${wrong.join(' and ')}, which this version does not know ` +
    `(schemas up to ${EVENT_SCHEMA}, deciders up to ${DECIDER_VERSION}): run a newer version`
  );
}

/** A version as it stands there, cut where it is no version. */
function said(version: unknown): string {
  if (version === undefined) return '(none)';
  const text =
    typeof version === 'string' && /^[\w.-]{1,32}$/.test(version) ? version : JSON.stringify(version);
  return text.length > 40 ? `${text.slice(0, 40)}…` : text;
}
