import { Catch, type RpcExceptionFilter } from '@nestjs/common';
import { throwError, type Observable } from 'rxjs';

/**
 * Lets what a handler throws through as it is. Nest's own filter puts `{ status: 'error', message: 'Internal server error' }`
 * in its place, which is right for an answer to a stranger; but here the caller is the allocator, and what it does next
 * (try again, load again, call a person) hangs on the error's class and code.
 */
@Catch()
export class ErrorsAsTheyAre implements RpcExceptionFilter {
  catch(error: unknown): Observable<never> {
    return throwError(() => error);
  }
}
