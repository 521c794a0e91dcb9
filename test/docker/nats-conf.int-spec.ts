import { spawnSync } from 'node:child_process';
import { join, resolve } from 'node:path';
import { expect, test } from '@jest/globals';
import { findNatsServer } from '#broker';

const DOCKER = resolve(import.meta.dirname, '../../docker');

test.each(['nats.conf', 'nats-cluster.conf'])(
  '%s is a configuration that nats-server takes',
  async (name) => {
    const { path } = await findNatsServer();
    const { status, stderr } = spawnSync(path, ['-t', '-c', join(DOCKER, name)], {
      encoding: 'utf8',
      env: { NATS_NAME: 'nats-1' },
    });
    expect([status, stderr]).toEqual([0, expect.stringContaining('is valid')]);
  },
);
