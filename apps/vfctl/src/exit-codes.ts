import { VfError, VfRefusal } from '#client';

/** How the process ends, for scripts. A code keeps its meaning. */
export const EXIT = {
  ok: 0,
  defect: 1,
  usage: 2,
  refused: 3,
  notFound: 4,
  unavailable: 5,
  unknown: 6,
  damaged: 7,
  notConfirmed: 8,
  unwritten: 9,
} as const;

export const EXIT_HELP = `Exit codes:
  0  done, and the answer is yes
  1  a defect of vfctl or of the scheduler
  2  what was typed makes no sense, or cannot be read
  3  the scheduler decided against it
  4  there is no such cluster, host, PF, VF, VM, network, event or dead letter
  5  NATS, the scheduler or the HTTP API cannot be reached, or does not answer now
  6  the time is over, and the request may take effect all the same: the message names its id
  7  the audit found that something is not as it was written
  8  it was not confirmed
  9  what was to be printed could not be written: the disk it goes to is full, say`;

/** What was typed makes no sense. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** Ends the command with a code; what was to be said has been said. */
export class Ended extends Error {
  override readonly name = 'Ended';

  constructor(readonly exitCode: number) {
    super(`exit code ${exitCode}`);
  }
}

const BY_CODE: Readonly<Record<string, number>> = {
  BAD_INPUT: EXIT.usage,
  BAD_REQUEST: EXIT.usage,
  ID_REUSED: EXIT.usage,
  QUERY_UNKNOWN: EXIT.usage,
  ANSWER_TOO_LARGE: EXIT.usage,
  FORBIDDEN: EXIT.usage,
  NO_AUDIT_KEY: EXIT.refused,
  SIGNED_HEAD_DIFFERS: EXIT.damaged,
  DEAD_LETTERED: EXIT.refused,
  NOT_FOUND: EXIT.notFound,
  CLUSTER_UNKNOWN: EXIT.notFound,
  EVENTS_GONE: EXIT.notFound,
  UNAVAILABLE: EXIT.unavailable,
  NOT_STORED: EXIT.unavailable,
  NOT_CAUGHT_UP: EXIT.unavailable,
  BUSY: EXIT.unavailable,
  STOPPED: EXIT.unavailable,
  CLOSED: EXIT.unavailable,
  OUTCOME_UNKNOWN: EXIT.unknown,
  NOT_CONFIRMED: EXIT.notConfirmed,
};

export function exitCodeOf(error: unknown): number {
  if (error instanceof Ended) return error.exitCode;
  if (error instanceof UsageError) return EXIT.usage;
  if (error instanceof VfRefusal) return EXIT.refused;
  if (error instanceof VfError) return BY_CODE[error.code] ?? EXIT.defect;
  return EXIT.defect;
}
