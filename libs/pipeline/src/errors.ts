/**
 * What keeps an allocator from leading a cluster until a person has looked:
 *
 * - `LOG_BEHIND`: the log is shorter than what was relayed from it.
 * - `LOG_DIFFERS`: the log and `VF_OUT_<cluster>` tell different histories.
 * - `OTHER_LOG`: the log is not the one that this NATS, or the allocator that leads the cluster, works with.
 * - `UNKNOWN_VERSION`: an event of a newer schema or decider, or of none that is known.
 * - `TWO_HOLDERS`: the log hands one VF out twice (EX-1).
 * - `DEPOSED`: another allocator writes to the cluster; load again.
 */
export type PipelineErrorCode =
  'LOG_BEHIND' | 'LOG_DIFFERS' | 'OTHER_LOG' | 'UNKNOWN_VERSION' | 'TWO_HOLDERS' | 'DEPOSED';

/** An error of the pipeline. The message says what, why and what to do. */
export class PipelineError extends Error {
  override readonly name = 'PipelineError';

  constructor(
    readonly code: PipelineErrorCode,
    message: string,
    options?: { cause?: unknown },
  ) {
    super(message, options);
  }
}

/**
 * What was thrown, as a sentence. Whatever can be thrown has one: where it is no error it is shown as it is, because
 * `[object Object]` helps nobody.
 */
export function sentenceOf(thrown: unknown): string {
  if (thrown instanceof Error) return thrown.message === '' ? thrown.name : thrown.message;
  if (typeof thrown === 'string') return thrown;
  let shown: string | undefined;
  try {
    shown = JSON.stringify(thrown);
  } catch {
    // It is a circle, or has a number that JSON has not.
  }
  return `something that is no error was thrown: ${shown ?? String(thrown)}`;
}
