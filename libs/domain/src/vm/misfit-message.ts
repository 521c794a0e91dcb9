import type { Misfit } from '../placement.js';
import { whyNotReady } from '../standing.js';
import type { State } from '../state.js';
import type { NicPlan } from '../nic-plan.js';
import type { Obstacle, RefusalCode } from '../refusal-codes.js';

const WHY: Record<Obstacle, string> = {
  VF_EXHAUSTED: 'no free VF is left',
  PF_CORDONED: 'the PF is cordoned',
  PF_LINK_DOWN: 'the PF has no link',
  PF_BUSY: 'the PF is being split',
  PF_RESTORING: 'the PF is being restored',
  PF_LOST: 'the driver of the PF is gone',
  PF_IDENTITY_CHANGED: 'other hardware sits at the address of the PF, and no operator has accepted it',
  HOST_CORDONED: 'the host is cordoned',
  HOST_NOT_READY: 'the hosts are not ready for VFs: no IOMMU, or no interrupt remapping',
  HOST_LOST: 'the host is not heard from, or fenced',
  PF_NOT_VIRTUALIZED: 'the PF is not split into VFs',
  PF_NOT_VIRTUALIZABLE: 'the PF has no SR-IOV',
};

/** A sentence for a person on why a start, or an attach, finds no place (OUT-2). */
export function explainMisfit(
  state: State,
  misfit: Misfit,
  asked: { readonly hostId?: string; readonly hosts?: readonly string[] },
  wanted: readonly NicPlan[],
): string {
  const networks = [...new Set(wanted.map((plan) => plan.network))].filter((name) => name !== '');
  const what = wanted.length === 0 ? 'the VM' : `${wanted.length} VF${wanted.length === 1 ? '' : 's'}`;
  const on = networks.length === 0 ? '' : ` on ${networks.join(', ')}`;
  const where =
    asked.hostId === undefined
      ? asked.hosts === undefined
        ? 'no host of the cluster'
        : `none of the ${asked.hosts.length} named hosts`
      : `host ${asked.hostId}`;
  const serves = asked.hostId === undefined ? 'takes' : 'does not take';
  return `${where} ${serves} ${what}${on}: ${notReady(state, misfit) ?? explain(misfit.reason, asked, networks)}`;
}

/** HOST-1, HOST-2: the causes, each with the first host that has it. */
function notReady({ hosts }: State, { reason, considered }: Misfit): string | undefined {
  if (reason !== 'HOST_NOT_READY') return undefined;
  const causes = new Map<string, string>();
  for (const miss of considered) {
    const host = miss.reason === reason ? hosts.get(miss.hostId) : undefined;
    if (host === undefined) continue;
    const why = whyNotReady(host);
    const cause = why.slice(`host ${host.id}`.length);
    if (!causes.has(cause)) causes.set(cause, why);
  }
  return causes.size === 0 ? undefined : [...causes.values()].join('; ');
}

function explain(
  reason: RefusalCode,
  { hostId, hosts }: { readonly hostId?: string; readonly hosts?: readonly string[] },
  networks: readonly string[],
): string {
  if (reason === 'HOST_UNKNOWN') {
    if (hostId !== undefined) return 'it has never reported';
    return hosts === undefined ? 'no host has reported yet' : 'they have never reported';
  }
  if (reason === 'PF_UNKNOWN') {
    return networks.length === 0 ? 'there is no PF' : `no PF belongs to ${networks.join(' or ')}`;
  }
  if (reason === 'SEPARATE_PFS_IMPOSSIBLE') return 'there are free VFs, but not on that many different PFs';
  return WHY[reason as Obstacle];
}
