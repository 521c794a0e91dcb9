/**
 * What keeps an allocator from leading a cluster until a person has looked:
 *
 * - `LOG_BEHIND`: the log is shorter than what was relayed from it.
 * - `LOG_DIFFERS`: the log and `VF_OUT_<cluster>` tell different histories.
 * - `UNKNOWN_VERSION`: an event of a newer schema or decider, or of none that is known.
 * - `DEPOSED`: another allocator writes to the cluster; load again.
 */
export type PipelineErrorCode = 'LOG_BEHIND' | 'LOG_DIFFERS' | 'UNKNOWN_VERSION' | 'DEPOSED';

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
