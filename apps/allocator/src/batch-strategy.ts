import { Server, type CustomTransportStrategy } from '@nestjs/microservices';
import { lastValueFrom, isObservable } from 'rxjs';
import { Allocator, type AllocatorOptions, type InputBatch } from '#pipeline';

/** The pattern under which a batch of inputs comes to its handler. */
export const INPUT_BATCH = 'vf.in';

/**
 * Nest's transport for `VF_IN`: the allocator reads, and each batch goes through the handler of {@link
 * INPUT_BATCH}, so that what Nest offers around a handler (interceptors, filters, hooks) works, at the price
 * of one call for each batch and not for each message (docs/decisions/005-dispatch-per-batch.md).
 */
export class BatchStrategy extends Server implements CustomTransportStrategy {
  /** An error of the handler is ours to act on: the leader drops what it had decided and loads again. */
  override readonly propagatesEventHandlerErrors = true;
  readonly allocator: Allocator;

  constructor(options: Omit<AllocatorOptions, 'dispatch'>) {
    super();
    this.allocator = new Allocator({ ...options, dispatch: (batch) => this.dispatch(batch) });
  }

  override listen(done: (error?: unknown) => void): void {
    this.allocator.start().then(
      () => done(),
      (error: unknown) => done(error),
    );
  }

  override close(): Promise<void> {
    return this.allocator.stop();
  }

  override on(): never {
    throw new Error('the input transport has no events of its own');
  }

  override unwrap<T>(): T {
    return this.allocator as T;
  }

  /**
   * Hands a batch to its handler, and waits until it is decided.
   *
   * @throws what the decision threw, whatever a filter or an interceptor has made of it; otherwise what the handler
   *   threw. A batch that no handler has decided must not be passed over: that is an error, too.
   */
  private async dispatch(batch: InputBatch): Promise<void> {
    const handler = this.getHandlerByPattern(INPUT_BATCH);
    if (handler === null)
      throw new Error(`no handler for '${INPUT_BATCH}': is the InputController in a module?`);
    let decided: Promise<void> | undefined;
    const process = (): Promise<void> => {
      decided ??= batch.process();
      // It is awaited below, also where the handler does not.
      decided.catch(() => undefined);
      return decided;
    };
    let failure: { readonly error: unknown } | undefined;
    try {
      const result: unknown = await handler({ ...batch, process });
      if (isObservable(result)) await lastValueFrom(result, { defaultValue: undefined });
    } catch (error) {
      failure = { error };
    }
    await decided;
    if (failure !== undefined) throw failure.error;
    if (decided === undefined)
      throw new Error(`the handler of '${INPUT_BATCH}' did not decide its batch: it must call process()`);
  }
}
