import type { Refusal } from '../events.js';
import { refusal } from '../refusal.js';
import type { State } from '../state.js';

/** The tenant's quota of VFs, checked in the decision itself. */
export function overQuota(state: State, tenant: string | undefined, more: number): Refusal | undefined {
  if (tenant === undefined || !Object.hasOwn(state.policy.quotas, tenant)) return undefined;
  const quota = state.policy.quotas[tenant] as number;
  const held = state.heldByTenant.get(tenant) ?? 0;
  if (held + more <= quota) return undefined;
  return refusal(
    'QUOTA_EXCEEDED',
    `tenant ${tenant} may hold ${quota} VFs and holds ${held}: there is no room for ${more} more`,
  );
}
