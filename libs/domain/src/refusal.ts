import type { HolderRef, Refusal } from './events.js';
import type { RefusalCode } from './refusal-codes.js';

/** Why a request is refused (OUT-2): its code, a sentence for people, and who is in the way, if anybody is. */
export const refusal = (reason: RefusalCode, message: string, holders?: readonly HolderRef[]): Refusal =>
  holders === undefined || holders.length === 0 ? { reason, message } : { reason, message, holders };
