/** The thread that owns the read side's file: projects the log into it, and answers from it. */
import { dumpState } from '#domain';
import { stepBack, type EventBody } from '#log';
import { ReadError } from './errors.js';
import { Projector } from './projector.js';
import type { Answered, Question } from './protocol.js';
import { serveCalls } from './serve-calls.js';
import * as temporal from './temporal-queries.js';
import { candidates, type CandidatesRequest } from './what-if.js';

/** What was taken in is written at the latest after this many milliseconds. */
const WRITE_AFTER = 500;

// Answers should not be late for it, and decisions not at all.
stepBack(5);

let projector: Projector | undefined;
let writing: NodeJS.Timeout | undefined;

/** Writes what was taken in, again and again until that works: what cannot be written is said by the next call that needs it. */
function writeSoon(open: Projector): void {
  writing ??= setTimeout(() => {
    writing = undefined;
    try {
      open.flush();
    } catch {
      writeSoon(open);
    }
  }, WRITE_AFTER);
}

const opened = (): Projector => {
  if (projector === undefined) throw new Error('the read side is not open');
  return projector;
};

serveCalls({
  open: ({ directory, rememberedInputs }) => {
    projector = new Projector(directory, rememberedInputs);
    const { path, madeAgain } = projector;
    return madeAgain === undefined ? { path } : { path, madeAgain };
  },
  standing: ({ cluster }) => opened().standing(cluster),
  begin: ({ cluster, again }) => opened().begin(cluster, again),
  take: ({ cluster, bodies, hashes }) => {
    const open = opened();
    open.take(cluster, JSON.parse(bodies) as EventBody[], hashes);
    writeSoon(open);
    return open.positionOf(cluster);
  },
  flush: ({ cluster }) => {
    opened().flush();
    return opened().positionOf(cluster);
  },
  dump: ({ cluster }) => {
    const live = opened().stateOf(cluster);
    return live === undefined ? undefined : { position: live.head.position, state: dumpState(live.state) };
  },
  ask: answer,
  close: async () => {
    clearTimeout(writing);
    await projector?.close();
  },
});

function answer({ cluster, name, request, at, after = '', limit = 100 }: Question): Answered {
  const open = opened();
  const live = open.stateOf(cluster);
  if (name === 'candidates') {
    if (live === undefined) throw new ReadError('NOT_CAUGHT_UP', 'the state is just being brought back');
    return {
      position: live.head.position,
      ...fieldsOf(candidates(live.state, request as CandidatesRequest)),
    };
  }
  open.flush();
  const id = open.clusterId(cluster);
  const head = open.standing(cluster);
  if (id === undefined || head === undefined) {
    throw new ReadError('NOT_FOUND', `the read side knows no cluster '${cluster}'`);
  }
  const position = positionFor(open, id, head.position, at);
  const moment = { db: open.db, cluster: id, position };
  switch (name) {
    case 'availability':
      return { position, fields: temporal.availability(moment, request) };
    case 'vm':
      return { position, ...fieldsOf(temporal.vmOf(moment, request as { vmId: string })) };
    case 'vf':
      return { position, ...fieldsOf(temporal.vfOf(moment, request as { hostId: string; vf: string })) };
    case 'host':
      return { position, ...fieldsOf(temporal.hostOf(moment, request as { hostId: string })) };
    case 'policy':
      return { position, ...fieldsOf(temporal.policy(moment)) };
    case 'tenants':
      return { position, ...fieldsOf(temporal.tenants(moment, request as { hostId: string; vf: string })) };
    case 'usage':
      return { position, ...fieldsOf(temporal.usage(moment, request as temporal.UsageRequest)) };
    case 'hosts':
      return list(position, 'hosts', temporal.hosts(moment, request, after, limit));
    case 'vms':
      return list(position, 'vms', temporal.vms(moment, request, after, limit));
    case 'vfs':
      return list(position, 'vfs', temporal.vfs(moment, request as { hostId: string }, after, limit));
    case 'networks':
      return list(position, 'networks', temporal.networks(moment, request, after, limit));
    case 'moment':
      return { position, fields: `"time":${temporal.timeOf(open.db, id, position) ?? 0}` };
    case 'history': {
      const asked = request as temporal.HistoryRequest & { fromTime?: number; toTime?: number };
      const first =
        asked.fromTime === undefined
          ? asked.first
          : Math.max(asked.first, 1 + temporal.positionAt(open.db, id, position, asked.fromTime - 1));
      const until =
        asked.toTime === undefined ? position : temporal.positionAt(open.db, id, position, asked.toTime);
      const found = temporal.history(moment, {
        ...asked,
        first,
        last: Math.min(asked.last, until, position),
      });
      return { position, ...fieldsOf({ positions: found }) };
    }
    case 'decisions':
      return {
        position,
        ...fieldsOf({ positions: temporal.decisionsOf(moment, (request as { input: number }).input) }),
      };
    case 'last-before': {
      const found = temporal.lastBefore(moment, request as Parameters<typeof temporal.lastBefore>[1]);
      return { position, ...fieldsOf(found ?? { found: null }) };
    }
    default:
      throw new ReadError('BAD_REQUEST', `the read side's tables do not answer '${name}'`);
  }
}

function positionFor(open: Projector, cluster: number, head: number, at: Question['at']): number {
  if (at === undefined) return head;
  if ('time' in at) return temporal.positionAt(open.db, cluster, head, at.time);
  if (at.position > head) {
    throw new ReadError('BAD_REQUEST', `position ${at.position} is beyond the log, which ends at ${head}`);
  }
  return at.position;
}

/** An object as JSON without its braces. */
function fieldsOf(value: object): { fields: string } {
  return { fields: JSON.stringify(value).slice(1, -1) };
}

const list = (position: number, name: string, { items, next }: temporal.Page): Answered => ({
  position,
  fields: `"${name}":${JSON.stringify(items)}`,
  ...(next === undefined ? undefined : { next }),
});
