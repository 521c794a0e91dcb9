import type { Mutant } from './mutant.js';

/** What a host's agent says of its numbers and clocks, believed. */
export const CLOCKS: readonly Mutant[] = [
  {
    name: 'agent-heard-with-its-second-report',
    breaks: 'HOST-9',
    file: 'libs/domain/src/host/report-order.ts',
    find: 'RESTARTED_AFTER = 3',
    replace: 'RESTARTED_AFTER = 2',
  },
  {
    name: 'agent-never-heard-again',
    breaks: 'HOST-9',
    file: 'libs/domain/src/host/report-order.ts',
    find: 'if (row === undefined || row.count < RESTARTED_AFTER)',
    replace: 'if (true)',
  },
  {
    name: 'clock-ahead-believed',
    breaks: 'HOST-9',
    file: 'libs/domain/src/host/report-order.ts',
    find: 'Math.min(input.saidAt, input.time)',
    replace: 'input.saidAt',
  },
  {
    name: 'boot-in-the-future-believed',
    breaks: 'HOST-9',
    file: 'libs/domain/src/host/report-order.ts',
    find: 'Math.min(Date.parse(bootedAt), now)',
    replace: 'Date.parse(bootedAt)',
  },
  {
    name: 'replay-passes-for-an-agent',
    breaks: 'HOST-9',
    file: 'libs/domain/src/host/report-order.ts',
    find: ' || saidAt(input) <= lastReportOf(state, host).said',
    replace: '',
  },
  {
    name: 'boot-that-is-over-comes-back',
    breaks: 'HOST-9',
    file: 'libs/domain/src/host/report-order.ts',
    find: 'host.earlierBoots.includes(bootId) || ',
    replace: '',
  },
  {
    name: 'sign-of-life-passes-for-a-report',
    breaks: 'HOST-9',
    file: 'libs/domain/src/host/report-order.ts',
    find: "order !== 'stale' || input.type === 'HostSeen'",
    replace: "order !== 'stale'",
  },
  {
    name: 'every-stale-report-said',
    breaks: 'HOST-9',
    file: 'libs/domain/src/host/report.ts',
    find: 'if (state.observed.rows.has(hostId)) return [];',
    replace: '',
  },
  {
    name: 'order-of-reports-not-in-the-log',
    breaks: 'HOST-9',
    file: 'libs/domain/src/step.ts',
    find: ', ...reportOf(state, timed) }',
    replace: ' }',
  },
  {
    name: 'restart-of-an-agent-not-in-the-log',
    breaks: 'HOST-9',
    file: 'libs/domain/src/host/report.ts',
    find: '} else if (agentRestarted) {',
    replace: '} else if (false) {',
  },
];

/** A clock of a process of ours, believed. */
export const CLOCKS_OF_PROCESSES: readonly Mutant[] = [
  {
    name: 'future-by-the-clock-of-the-process',
    breaks: 'clocks',
    file: 'apps/api/src/freshness.ts',
    find: 'if (time <= broker.now()) return false;',
    replace: 'if (time <= Date.now()) return false;',
  },
  {
    name: 'usage-until-the-clock-of-the-process',
    breaks: 'clocks',
    file: 'apps/api/src/queries.ts',
    find: 'now: parts.broker.now(), by }',
    replace: 'now: Date.now(), by }',
  },
  {
    name: 'relayed-again-by-the-clock-of-the-process',
    breaks: 'clocks',
    file: 'libs/pipeline/src/relay.ts',
    find: 'broker.now() - outMaxAge',
    replace: 'Date.now() - outMaxAge',
  },
  {
    name: 'wrong-clock-not-said',
    breaks: 'clocks',
    file: 'libs/pipeline/src/clock-watch.ts',
    find: 'if (Math.abs(behind) <= MOST_DIFFERENCE) return undefined;',
    replace: 'return undefined;',
  },
  {
    name: 'what-the-leader-heard-not-shown',
    breaks: 'HOST-9',
    file: 'apps/api/src/queries.ts',
    find: 'text(heardLately(parts, cluster, answered))',
    replace: 'text(answered)',
  },
];
