/**
 * One VM from its start to its stop, against a running scheduler: `node docs/examples/first-event.mjs [nats url]`.
 *
 * It plays three parts that are three programs in a real site: the agent of a host, an operator, and the compute control plane.
 */
import { jetstream } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { randomUUID } from 'node:crypto';

const connection = await connect({ servers: process.argv[2] ?? 'nats://127.0.0.1:4222' });
const print = (line) => process.stdout.write(`${line}\n`);

// Names of their own for each run, so that the file can be run again on the same scheduler.
const run = Date.now().toString(36);
const [hostId, vmId, physicalNetwork] = [`host-${run}`, `vm-${run}`, `lab-${run}`];
const pf = '0000:82:00.0';

/** Publishes an input. Resolves with its id once JetStream has stored it. */
async function publish(kind, id, type, data) {
  const event = {
    specversion: '1.0',
    id: randomUUID(),
    source: '/docs/first-event',
    type,
    time: new Date().toISOString(),
    data,
  };
  const subject = `vf.in.default.${kind}.${id}.${type}`;
  await jetstream(connection).publish(subject, JSON.stringify(event));
  return event.id;
}

/** What came out so far, and who waits for more. */
const events = [];
const waiting = new Set();
connection.subscribe('vf.out.default.>', {
  callback: (error, message) => {
    if (error !== null) return;
    const event = message.json();
    events.push(event);
    print(`  ${event.position.padStart(4)}  ${event.type.padEnd(24)} ${event.subject}`);
    for (const look of waiting) look();
  },
});
await connection.flush();

/** Waits for the event of one of these types that an input led to. */
const outcome = (id, ...types) =>
  new Promise((resolve) => {
    const look = () => {
      const found = events.find((event) => event.causationid === id && types.includes(event.type));
      if (found === undefined) return;
      waiting.delete(look);
      resolve(found);
    };
    waiting.add(look);
    look();
  });

/** Asks a query, and gives its answer. */
const ask = async (name, request) =>
  (await connection.request(`vf.query.default.${name}`, JSON.stringify(request), { timeout: 5000 })).json();

print(`The agent of ${hostId} reports what the host has`);
const report = await publish('host', hostId, 'HostReported', {
  hostId,
  bootId: 'boot-1',
  seq: 1,
  iommu: { enabled: true, ready: true },
  interruptRemapping: true,
  pfs: [{ pciAddress: pf, ifname: 'em1', link: 'up', totalVfs: 8, physicalNetwork, vfs: [] }],
});
await outcome(report, 'HostRegistered');

print('An operator asks for 2 VFs; the agent makes them and reports them');
const split = await publish('host', hostId, 'PfVirtualizeRequested', { hostId, pf, numVfs: 2 });
await outcome(split, 'PfVirtualizationOrdered', 'PfVirtualizationRejected');
const done = await publish('host', hostId, 'PfVirtualized', {
  hostId,
  pf,
  vfs: [
    { pciAddress: '0000:82:10.0', index: 0 },
    { pciAddress: '0000:82:10.2', index: 1 },
  ],
});
await outcome(done, 'PfVirtualized');

print('The control plane starts a VM with one VF NIC');
const start = await publish('vm', vmId, 'VmStartRequested', {
  vmId,
  nics: [{ nicId: 'nic-0', physicalNetwork }],
});
const started = await outcome(start, 'VmStartAccepted', 'VmStartFailed');
print(`  ${started.type}: ${JSON.stringify(started.data.nics ?? started.data.message)}`);
const running = await publish('vm', vmId, 'VmStarted', { vmId, hostId: started.data.hostId });
await outcome(running, 'VmStarted');

const { vm } = await ask('vm', { vmId });
print(`  the query vm says: ${vm.state} on ${vm.hostId}, memory pinned: ${vm.memoryPinned}`);
const { total, free, allocated } = await ask('availability', { physicalNetwork });
print(`  the query availability says: ${free} of ${total} VFs free, ${allocated} allocated`);
const again = await ask('outcome', { id: start });
print(`  the query outcome says: ${again.outcome.type} at position ${again.outcome.position}`);

print('The VM stops, and its VF is free again');
const stopped = await publish('vm', vmId, 'VmStopped', { vmId });
await outcome(stopped, 'VmStopped');
print(`  ${(await ask('availability', { physicalNetwork })).free} of ${total} VFs free`);

await connection.drain();
