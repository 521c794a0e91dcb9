import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { spawnSync } from 'node:child_process';
import { connectNats } from '#broker';
import { VfScheduler, type Inputs } from '#client';
import type { Standalone } from '#standalone';
import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Input } from '#domain';
import { SqliteLog } from '#log';
import { startScheduler } from '../../../libs/client/src/testing/scheduler.js';
import { writeInputs } from '../../../libs/read-model/src/testing/written-log.js';
import { runVfctl } from './program.js';

let standalone: Standalone;
let client: VfScheduler;
let directory: string;

const EM1 = '0000:82:00.0';
const report = (hostId: string, vfs: number): Inputs['HostReported'] => ({
  hostId,
  bootId: 'boot-1',
  seq: 1,
  iommu: { enabled: true, ready: true },
  interruptRemapping: true,
  pfs: [
    {
      pciAddress: EM1,
      ifname: 'em1',
      model: 'Dell 82599ES',
      link: 'up',
      speedMbps: 10_000,
      totalVfs: 63,
      vfs: Array.from({ length: vfs }, (_, index) => ({ pciAddress: `0000:82:10.${index}`, index })),
    },
    { pciAddress: '0000:82:00.1', ifname: 'em2', link: 'up', totalVfs: 63, vfs: [] },
    { pciAddress: '0000:84:00.0', ifname: 'em3', model: 'I350', link: 'down', totalVfs: 0, vfs: [] },
  ],
});

interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
  readonly asked: readonly string[];
}

interface Setting {
  /** What a person answers; without it there is no terminal. */
  readonly answer?: string;
  readonly terminal?: boolean;
  readonly env?: Record<string, string>;
  readonly signal?: AbortSignal;
  readonly server?: string;
  readonly http?: string;
}

/** Runs vfctl as it is typed, words apart by blanks. */
async function vfctl(line: string, setting: Setting = {}): Promise<Ran> {
  let out = '';
  let err = '';
  const asked: string[] = [];
  const { answer, terminal = false, env = {}, signal = new AbortController().signal } = setting;
  const words = line.split(' ').filter((word) => word !== '');
  const server = setting.server ?? standalone.ready.nats;
  const code = await runVfctl(
    [...words, '--server', server, '--server', setting.http ?? standalone.ready.http],
    {
      out: (text) => void (out += text),
      outBytes: (bytes) => void (out += Buffer.from(bytes).toString('latin1')),
      err: (text) => void (err += text),
      outIsTerminal: terminal,
      env,
      signal,
      ...(answer !== undefined && {
        ask: (question: string) => {
          asked.push(question);
          return Promise.resolve(answer);
        },
      }),
    },
    '1.2.3',
  );
  return { code, out, err, asked };
}

const end = async (): Promise<number> => (await client.span())?.last ?? 0;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'vf-vfctl-'));
  standalone = await startScheduler();
  client = await VfScheduler.connect({ servers: standalone.ready.nats });
  await client.publish('HostReported', report('host-1', 4));
  await client.publish('HostReported', report('host-2', 2));
}, 30_000);

afterAll(async () => {
  await client.close();
  await standalone.stop();
  await rm(directory, { recursive: true, force: true });
}, 30_000);

describe('a new user', () => {
  test('finds everything from --help, with examples', async () => {
    const seen: string[] = [];
    const walk = async (path: string): Promise<void> => {
      const { code, out } = await vfctl(`${path} --help`);
      expect([path, code]).toEqual([path, 0]);
      expect(out).toMatch(/^Usage: vfctl/);
      expect(out).toMatch(/\n {2}vfctl |plan\.yaml/);
      seen.push(path);
      const [, commands = ''] = /\nCommands:\n([^]*?)(?:\n\n|$)/.exec(out) ?? [];
      for (const [, name = ''] of commands.matchAll(/^ {2}(\S+)/gm))
        if (name !== 'help') await walk(`${path} ${name}`.trim());
    };
    await walk('');
    expect(seen).toEqual(expect.arrayContaining(['pf restore', 'vm explain', 'audit verify', 'dead retry']));
    expect(seen.length).toBeGreaterThan(30);
  });

  test('is told what is wrong with what was typed: exit code 2', async () => {
    expect(await vfctl('pf lss')).toMatchObject({
      code: 2,
      err: expect.stringContaining('(Did you mean ls?)'),
    });
    expect(await vfctl('pf split host-1 em1 many')).toMatchObject({
      code: 2,
      err: expect.stringContaining('whole number'),
    });
    expect(await vfctl('vf who host-1 82')).toMatchObject({
      code: 2,
      err: expect.stringContaining('is not a PCI address'),
    });
    expect(await vfctl('pf ls', { server: 'gopher://x' })).toMatchObject({ code: 2 });
    expect((await vfctl('')).code).toBe(2);
    expect(await vfctl('--version')).toMatchObject({ code: 0, out: '1.2.3\n' });
  });

  test('is told so in JSON with --json, whatever is wrong', async () => {
    for (const [line, code, sentence] of [
      ['pf lss --json', 2, "unknown command 'lss'"],
      ['--json', 2, 'say a command'],
      ['pf --json', 2, 'say a command'],
      ['pf split host-1 em1 many --json', 2, 'whole number'],
      ['vm explain --json', 2, 'say a VM'],
      ['release host-1 a-1 --json', 2, '--reason'],
      ['pf restore host-1 em1 --on-busy banana --json', 2, 'unload, reject'],
      ['pf ls --creds /none/here.creds --json', 2, '--creds /none/here.creds'],
      ['host fence host-2 --json', 8, 'There is no terminal'],
      ['vm show vm-nobody --json', 4, 'vm-nobody'],
    ] as const) {
      const ran = await vfctl(line);
      expect([line, ran.code, ran.out]).toEqual([line, code, '']);
      expect([line, JSON.parse(ran.err)]).toEqual([
        line,
        { error: expect.objectContaining({ message: expect.stringContaining(sentence) }) },
      ]);
    }
  });

  test('is told which file cannot be read, and that a NIC has a name', async () => {
    expect(await vfctl('pf ls --creds /none/here.creds')).toMatchObject({
      code: 2,
      err: 'vfctl: --creds /none/here.creds: it cannot be read (ENOENT)\n',
    });
    const before = await end();
    for (const nic of ['--nic=', '--nic=a,', '--nic==em1', '--nic=a=']) {
      const { code, err } = await vfctl(`vm start vm-none ${nic}`);
      expect([nic, code, err]).toEqual([nic, 2, expect.stringContaining('say a name')]);
    }
    expect(await end()).toBe(before);
  });

  test('is told where nobody answers: exit code 5', async () => {
    const { code, err } = await vfctl('pf ls --timeout 0.3', { server: 'nats://127.0.0.1:1' });
    expect([code, err]).toEqual([5, expect.stringContaining('No NATS server answers at nats://127.0.0.1:1')]);
    const cluster = await vfctl('pf ls --cluster nowhere --timeout 0.5');
    expect([4, 5]).toContain(cluster.code);
    expect(cluster.err).toContain("cluster 'nowhere'");
  });
});

describe('pf', () => {
  test('[OUT-5 acts] ls shows name, model, link, speed, virtualization, available/total', async () => {
    expect((await vfctl('pf ls host-1')).out).toBe(
      [
        'NAME  MODEL         LINK  SPEED       VIRTUALIZATION     AVAILABLE/TOTAL',
        'em1   Dell 82599ES  up    10000 Mbps  virtualized        4/4',
        'em2   -             up    -           virtualizable      -',
        'em3   I350          down  -           not-virtualizable  -',
        '',
      ].join('\n'),
    );
    const all = (await vfctl('pf ls')).out.split('\n');
    expect(all[0]).toMatch(/^HOST +ADDRESS +NAME/);
    expect(all.filter((line) => line.startsWith('host-'))).toHaveLength(6);
    expect(await vfctl('pf ls nobody')).toMatchObject({ code: 4 });
  });

  test('--json prints the answer as it is', async () => {
    const { out } = await vfctl('pf ls host-1 --json');
    expect(JSON.parse(out)).toEqual(await client.availability({ hostId: 'host-1' }));
  });

  test('colours are for terminals only, and not where NO_COLOR is set', async () => {
    const escape = '\u001b[';
    expect((await vfctl('pf ls')).out).not.toContain(escape);
    expect((await vfctl('pf ls', { terminal: true })).out).toContain(`${escape}32mvirtualized${escape}0m`);
    expect((await vfctl('pf ls', { terminal: true, env: { NO_COLOR: '1' } })).out).not.toContain(escape);
  });

  test('[PF-2 acts] [PF-2 refuses] [PF-8 acts] split orders, by name or by any form of the address; a refusal is exit code 3', async () => {
    expect(await vfctl('pf split host-1 em2 8')).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^Ordered: em2 of host-1 is to be split into 8 VFs \(position \d+\)/),
    });
    const again = await vfctl('pf split host-1 pci_0000_82_00_1 8');
    expect([again.code, again.err]).toEqual([3, expect.stringMatching(/^vfctl: refused, PF_BUSY: /)]);
    expect(await vfctl('pf split host-1 em9 8')).toMatchObject({
      code: 4,
      err: expect.stringContaining("host 'host-1' has no PF 'em9'; it has em1 (0000:82:00.0)"),
    });
    const json = await vfctl('pf split host-1 em1 0 --json');
    expect([json.code, JSON.parse(json.err)]).toEqual([
      3,
      { error: expect.objectContaining({ code: 'PF_ALREADY_VIRTUALIZED' }) },
    ]);
  });

  test('[HOST-6 refuses] cordon keeps it from new allocations', async () => {
    expect((await vfctl('pf cordon host-1 em1')).out).toMatch(/^Cordoned \(position \d+\)\.\n$/);
    expect((await vfctl('pf ls host-1')).out).toContain('0/4');
    expect((await vfctl('pf cordon host-1 em1')).out).toContain('That changes nothing');
    expect((await vfctl('pf cordon host-1 em1 --off')).code).toBe(0);
  });
});

describe('vm', () => {
  test('[VM-1 acts] [OUT-4 acts] starts, is shown, for people and for libvirt, and stops', async () => {
    await vfctl('net l2 l2-9 em1 --vlan 42');
    await vfctl('net l3 net-9 l2-9 --kind flat');
    const started = await vfctl('vm start vm-1 --nic nic-0=network:net-9 --nic nic-1=em1 --host host-1');
    expect([started.code, started.out.split('\n')]).toEqual([
      0,
      [
        expect.stringMatching(/^vm-1 may start on host-1 \(position \d+\)$/),
        expect.stringMatching(/^ {2}nic-0: 0000:82:10\.0, MAC 02:[0-9a-f:]{14}, VLAN 42$/),
        expect.stringMatching(/^ {2}nic-1: 0000:82:10\.1, MAC 02:[0-9a-f:]{14}$/),
        '',
      ],
    ]);
    const shown = (await vfctl('vm show vm-1')).out;
    expect(shown).toMatch(/^vm-1: pending on host-1, memory pinned, cannot migrate live\n/);
    const xml = (await vfctl('vm show vm-1 --libvirt')).out;
    expect(xml.match(/<interface type='hostdev' managed='yes'>/g)).toHaveLength(2);
    expect(xml).toContain("bus='0x82' slot='0x10' function='0x1'");
    expect(xml).toContain("<tag id='42'/>");
    expect(await vfctl('vm start vm-1 --nic nic-0')).toMatchObject({ code: 3 });
    expect((await vfctl('vm stop vm-1 --reason done')).out).toMatch(/^vm-1 has stopped/);
    expect(await vfctl('vm show vm-nobody')).toMatchObject({ code: 4 });
  });

  test('[EX-6 quiet] start with an id takes effect once', async () => {
    const first = await vfctl('vm start vm-2 --nic a --id start-vm-2');
    expect(await vfctl('vm start vm-2 --nic a --id start-vm-2')).toEqual(first);
    expect(await vfctl('vm start vm-2 --nic b --id start-vm-2')).toMatchObject({ code: 2 });
    expect(await vfctl('outcome start-vm-2')).toMatchObject({
      code: 0,
      out: expect.stringContaining('VmStartAccepted'),
    });
    expect(await vfctl('outcome nobody-knows')).toMatchObject({ code: 4 });
  });

  test('[VM-6 acts] [VM-7 acts] attaches and detaches a NIC', async () => {
    await client.vmStarted('vm-2');
    expect((await vfctl('vm attach vm-2 nic-7=em1')).out).toMatch(/^Attached: 0000:82:10\.\d, MAC /);
    expect((await vfctl('vm detach vm-2 nic-7')).code).toBe(0);
    expect((await vfctl('vm detach vm-2 nic-7')).code).toBe(3);
  });
});

describe('what is not there', () => {
  test.each([
    ['vm stop never-was', "the scheduler knows no VM 'never-was'"],
    ['host cordon nope', "the scheduler knows no host 'nope'"],
    ['pf cordon host-1 0000:99:00.0', "no such PF of host 'host-1'"],
    ['host rm nope', 'nope'],
    ['net rm nope', 'nope'],
  ])('%s: exit code 4', async (line, sentence) => {
    const { code, out, err } = await vfctl(line);
    expect([code, out, err]).toEqual([4, '', expect.stringContaining(sentence)]);
    const json = await vfctl(`${line} --json`);
    expect([json.code, json.out, JSON.parse(json.err)]).toEqual([
      4,
      '',
      { error: expect.objectContaining({ code: 'NOT_FOUND', message: expect.stringContaining(sentence) }) },
    ]);
  });

  test('an allocation: it says so, and does not ask', async () => {
    const { code, asked, err } = await vfctl('release host-1 a-nope --reason lost', { answer: 'yes' });
    expect([code, asked, err]).toEqual([3, [], expect.stringContaining('refused, ALLOCATION_UNKNOWN')]);
  });
});

describe('what cannot be taken back', () => {
  test('[HOST-5 refuses] a fence names the VMs, asks, and does nothing without a yes', async () => {
    await vfctl('vm start vm-20 --nic a --host host-2');
    const before = await end();
    const silent = await vfctl('host fence host-2');
    expect([silent.code, silent.err]).toEqual([
      8,
      expect.stringContaining('There is no terminal to ask on: say --yes'),
    ]);
    const no = await vfctl('host fence host-2', { answer: 'n' });
    expect([no.code, no.asked]).toEqual([
      8,
      [expect.stringContaining('Its VMs lose their VFs: vm-2 vm-20.')],
    ]);
    expect((await vfctl('host fence host-2', { answer: '' })).code).toBe(8);
    expect(await end()).toBe(before);
    expect((await vfctl('host fence host-2', { answer: 'yes' })).code).toBe(0);
    expect(await end()).toBeGreaterThan(before);
  });
});

describe('what was, why, and what if', () => {
  let other: Standalone;
  let asked: VfScheduler;
  let server: string;
  const ask = (line: string, setting: Setting = {}): Promise<Ran> =>
    vfctl(line, { server, http: other.ready.http, ...setting });

  beforeAll(async () => {
    const { privateKey, publicKey } = generateKeyPairSync('ed25519');
    await writeFile(join(directory, 'key.pem'), privateKey.export({ type: 'pkcs8', format: 'pem' }));
    await writeFile(join(directory, 'pub.pem'), publicKey.export({ type: 'spki', format: 'pem' }));
    other = await startScheduler({ VF_AUDIT_KEY: join(directory, 'key.pem') });
    server = other.ready.nats;
    asked = await VfScheduler.connect({ servers: server });
    await asked.publish('HostReported', report('host-1', 2));
    await asked.publish('HostReported', report('host-2', 2));
    await asked.startVm('vm-1', { hostId: 'host-1', nics: [{ nicId: 'nic-0' }] });
    await asked.vmStarted('vm-1');
  }, 30_000);

  afterAll(async () => {
    await asked.close();
    await other.stop();
  }, 30_000);

  test('lists hosts, VMs, VFs and networks', async () => {
    expect((await ask('host ls')).out.split('\n')[1]).toMatch(/^host-1 +ready +1 +3 +1\/2 +0$/);
    expect((await ask('vm ls --host host-1')).out.split('\n')[1]).toMatch(
      /^vm-1 +running +host-1 +- +1 +1 +no$/,
    );
    expect((await ask('vf ls host-1 --state allocated')).out.trimEnd().split('\n')[1]).toMatch(
      /^0000:82:10\.0 +0000:82:00\.0 +allocated +vm-1 +nic-0 +02:[0-9a-f:]+ +-$/,
    );
    await ask('net l2 l2-1 em1 --vlan 7');
    expect((await ask('net ls')).out.split('\n')[1]).toMatch(/^l2-1 +L2 +L2VlanNetwork +em1 +7 +yes$/);
    expect((await ask('host show host-1')).out).toContain('VMs: vm-1');
  });

  test('tells the past', async () => {
    expect((await ask('availability --at 2')).out).toMatch(/^4 of 4 VFs free, 0 allocated/);
    expect((await ask('availability')).out).toMatch(/^3 of 4 VFs free, 1 allocated/);
    expect((await ask('vf who host-1 pci_0000_82_10_0')).out).toMatch(/: vm-1, nic-0 \(allocated, MAC 02:/);
    expect((await ask('vf who host-1 82:10.0 --at 2')).out).toContain('nobody holds it');
    expect((await ask('vf who host-1 82:10.0 --at 999999')).code).toBe(2);
    expect((await ask('vf history host-1 82:10.0')).out.split('\n')[1]).toMatch(/^vm-1 +nic-0/);
  });

  test('[OUT-2 acts] says why a start failed', async () => {
    await asked.startVm('vm-9', { nics: ['a', 'b', 'c'].map((nicId) => ({ nicId })) }).catch(() => undefined);
    const { code, out } = await ask('vm explain vm-9');
    expect(code).toBe(0);
    expect(out).toContain('VF_EXHAUSTED: no host of the cluster takes 3 VFs');
    expect(out).toMatch(/\n {2}host-2 +0000:82:00\.0 +VF_EXHAUSTED +2\/2\n/);
    expect(out).toMatch(/Decided again, it is the same\.\n$/);
    expect((await ask('vm explain vm-nobody')).code).toBe(4);
    expect((await ask('vm explain')).code).toBe(2);
  });

  test('plans, and writes nothing', async () => {
    const file = join(directory, 'plan.yaml');
    const before = (await asked.span())?.last;
    await writeFile(file, '- type: VmStartRequested\n  data: { vmId: vm-5, nics: [{ nicId: a }] }\n');
    expect(await ask(`plan -f ${file}`)).toMatchObject({
      code: 0,
      out: expect.stringContaining('VmStartAccepted           vm/vm-5'),
    });
    await writeFile(
      file,
      JSON.stringify([{ type: 'PfVirtualizeRequested', data: { hostId: 'host-1', pf: EM1, numVfs: 1 } }]),
    );
    expect(await ask(`plan -f ${file}`)).toMatchObject({
      code: 3,
      out: expect.stringContaining('PF_ALREADY_VIRTUALIZED'),
    });
    await writeFile(file, '- type: [');
    expect((await ask(`plan -f ${file}`)).code).toBe(2);
    await writeFile(file, '[{"type":"Nothing","data":{}}]');
    expect(await ask(`plan -f ${file}`)).toMatchObject({ code: 2, err: expect.stringContaining('Nothing') });
    expect((await ask(`plan -f ${file}.missing`)).code).toBe(2);
    expect((await ask('pf split host-1 em2 4 --dry-run')).out).toContain('PfVirtualizationOrdered');
    for (const [count, reason] of [
      ['99', 'VF_COUNT_OUT_OF_RANGE'],
      ['0', 'VF_COUNT_OUT_OF_RANGE'],
    ]) {
      const { code, err } = await ask(`pf split host-1 em2 ${count} --dry-run`);
      expect([code, err]).toEqual([3, expect.stringContaining(`refused, ${reason}`)]);
      const json = await ask(`pf split host-1 em2 ${count} --dry-run --json`);
      expect([json.code, JSON.parse(json.err)]).toEqual([
        3,
        { error: expect.objectContaining({ code: reason }) },
      ]);
    }
    expect((await asked.span())?.last).toBe(before);
  });

  test('[PF-4 refuses] a restore lists who loses a VF, asks, and does nothing without a yes', async () => {
    const before = (await asked.span())?.last;
    const victims = 'One VM loses its VFs there:\n  vm-1: nic-0 (could go to host-2)';
    expect((await ask('pf restore host-1 em1 --dry-run')).out).toBe(`Nothing was done. ${victims}\n`);
    const free = await ask('pf restore host-1 em1 --on-busy reject --dry-run');
    expect([free.code, free.out, free.err]).toEqual([
      3,
      '',
      expect.stringMatching(/^vfctl: refused, PF_BUSY: .*\n {2}held by vm-1, nic-0/),
    ]);
    const silent = await ask('pf restore host-1 em1');
    expect([silent.code, silent.err]).toEqual([
      8,
      expect.stringContaining(`${victims}\nThere is no terminal`),
    ]);
    const no = await ask('pf restore host-1 em1', { answer: 'no' });
    expect([no.code, no.asked]).toEqual([8, [`${victims}\nGo on? [y/N] `]]);
    expect((await ask('pf restore host-1 em1 --on-busy reject')).code).toBe(3);
    expect((await asked.span())?.last).toBe((before ?? 0) + 1);
    // The policy is the decider's to know, and where it refuses nobody is asked.
    await asked.ask('ClusterPolicyChanged', { restoreOnBusy: 'reject' });
    expect((await ask('pf restore host-1 em1 --dry-run')).code).toBe(3);
    const polite = await ask('pf restore host-1 em1', { answer: 'yes' });
    expect([polite.code, polite.asked]).toEqual([3, []]);
    expect((await ask('pf restore host-1 em1 --on-busy unload --dry-run')).out).toContain(victims);
    await asked.ask('ClusterPolicyChanged', { restoreOnBusy: 'unload' });
    expect(await ask('pf restore host-1 em3 --dry-run')).toMatchObject({
      code: 3,
      err: expect.stringContaining('refused, PF_NOT_VIRTUALIZABLE'),
    });
    expect(await ask('pf restore host-1 em1 --on-busy banana', { answer: 'yes' })).toMatchObject({
      code: 2,
      asked: [],
      err: expect.stringContaining('unload, reject'),
    });
    const done = await ask('pf restore host-1 em1 --yes');
    expect([done.code, done.out]).toEqual([0, expect.stringContaining('vm-1 has lost 0000:82:10.0 (nic-0)')]);
    // Nobody is left to lose anything: it does not ask.
    expect((await ask('pf restore host-2 em1')).code).toBe(0);
  });

  test('exports the log, and checks the export without a server', async () => {
    const [file, key] = [join(directory, 'log.ndjson'), join(directory, 'pub.pem')];
    expect((await ask(`audit export ${file}`)).code).toBe(0);
    expect(await ask(`audit export ${file}`)).toMatchObject({
      code: 2,
      err: expect.stringContaining('is there already'),
    });
    const nowhere = 'nats://127.0.0.1:1';
    const check = (of: string) => ask(`audit check ${of} --key ${key}`, { server: nowhere });
    expect(await check(file)).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^Good: \d+ events of cluster 'default'/),
    });
    const text = await readFile(file, 'utf8');
    await writeFile(`${file}.edited`, text.replace('vm-1', 'vm-2'));
    expect(await check(`${file}.edited`)).toMatchObject({
      code: 7,
      out: expect.stringMatching(/^NOT good: .*position 3/),
    });
    await writeFile(`${file}.cut`, text.split('\n').slice(0, 4).join('\n'));
    expect((await check(`${file}.cut`)).code).toBe(7);
    expect((await check(`${file}.missing`)).code).toBe(2);
    expect((await ask('audit export x --cluster nowhere')).code).toBe(4);
    const away = join(directory, 'none', 'log.ndjson');
    expect(await ask(`audit export ${away}`)).toMatchObject({
      code: 2,
      err: `vfctl: ${away} cannot be written (ENOENT)\n`,
    });
    // The other scheduler has no key.
    expect(await vfctl(`audit export ${file}.none`)).toMatchObject({
      code: 3,
      err: expect.stringContaining('VF_AUDIT_KEY'),
    });
    await writeFile(`${key}.bad`, 'no key');
    expect(await ask(`audit check ${file} --key ${key}.bad`)).toMatchObject({
      code: 2,
      err: `vfctl: --key ${key}.bad: it is no public key in PEM\n`,
    });
  });
});

describe('events', () => {
  test('are printed up to now, as lines or in full', async () => {
    const last = await end();
    const lines = (await vfctl('events --last 3')).out.trimEnd().split('\n');
    expect(lines.map((line) => Number(line.trim().split(/\s+/)[0]))).toEqual([last - 2, last - 1, last]);
    const full = (await vfctl('events --after 0 --json')).out.trimEnd().split('\n');
    expect(full.map((line) => (JSON.parse(line) as { position: string }).position)).toEqual(
      Array.from({ length: last }, (_, at) => String(at + 1)),
    );
    const some = (await vfctl('events --after 0 --vm vm-1 --type VmStopped,VmStartAccepted')).out;
    expect(
      some
        .trimEnd()
        .split('\n')
        .map((line) => line.trim().split(/\s+/)[2]),
    ).toEqual(['VmStartAccepted', 'VmStopped']);
  });

  test('--last counts those that are asked for, however far back', async () => {
    const first = await client.stopVm('vm-far');
    const second = await client.stopVm('vm-far');
    for (let turn = 0; turn < 300; turn++) await client.publish('VmRebooted', { vmId: 'vm-other' });
    await client.stopVm('vm-other');
    const positions = async (line: string): Promise<readonly (string | undefined)[]> =>
      (await vfctl(line)).out
        .trimEnd()
        .split('\n')
        .map((one) => one.trim().split(/\s+/)[0]);
    expect(await positions('events --vm vm-far --last 1')).toEqual([second.position]);
    expect(await positions('events --vm vm-far')).toEqual([first.position, second.position]);
    expect((await positions('events --type InputIgnored --last 30')).length).toBe(30);
    expect((await vfctl('events --last 0')).out).toBe('');
    expect((await vfctl('events --last 3 --after 1')).code).toBe(2);
    expect((await vfctl('events --type ,')).code).toBe(2);
    expect((await vfctl('events --vm=')).code).toBe(2);
    expect((await vfctl('events --follow --host=')).code).toBe(2);
    expect((await vfctl('events --after 99999999')).code).toBe(2);
  });

  test('--follow begins with the last that there are, as the help says', async () => {
    const over = new AbortController();
    const asked = await client.stopVm('vm-78');
    let out = '';
    const code = await runVfctl(['events', '--follow', '--vm', 'vm-78', '--server', standalone.ready.nats], {
      out: (text) => {
        out += text;
        over.abort();
      },
      outBytes: () => undefined,
      err: () => undefined,
      outIsTerminal: false,
      env: {},
      signal: over.signal,
    });
    expect([code, out.trim().split(/\s+/)[0]]).toEqual([0, asked.position]);
  });

  test('that VF_OUT no longer has are missed aloud', async () => {
    const other = await startScheduler();
    const broker = await connectNats({ url: other.ready.nats });
    const one = await VfScheduler.connect({ servers: other.ready.nats });
    try {
      for (let turn = 0; turn < 5; turn++) await one.stopVm('vm-1');
      await broker.link.jetStream.streams.purge('VF_OUT_default', { keep: 2 });
      const setting = { server: other.ready.nats };
      expect(await vfctl('events --after 0', setting)).toMatchObject({
        code: 4,
        out: '',
        err: expect.stringContaining('no longer has position 1; the oldest it has is 4'),
      });
      expect((await vfctl('events --last 10', setting)).out.trimEnd().split('\n')).toHaveLength(2);
    } finally {
      await one.close();
      await broker.close();
      await other.stop();
    }
  }, 30_000);

  test('--follow goes on until it is ended', async () => {
    const over = new AbortController();
    const following = vfctl('events --follow --vm vm-77', { signal: over.signal });
    let seen = false;
    void following.then(() => (seen = true));
    for (let turn = 0; turn < 5; turn++) await client.stopVm('vm-77');
    expect(seen).toBe(false);
    over.abort();
    expect((await following).code).toBe(0);
  });
});

describe('dead', () => {
  test('letters are listed, shown, and sent again', async () => {
    expect((await vfctl('--cluster none dead ls')).out).toBe('There is none.\n');
    // What was asked above under an id that had been used (EX-6).
    const [, reused, ...others] = (await vfctl('dead ls')).out.trimEnd().split('\n');
    expect(reused).toMatch(/^1 .* the id start-vm-2 was used before with other content/);
    expect(others).toEqual([]);
    const broker = await connectNats({ url: standalone.ready.nats });
    const subject = 'vf.in.default.vm.vm-1.VmStopped';
    await broker.input.publish(subject, Buffer.from('{"no event":\u001b[31m'));
    await broker.input.publish(subject, Buffer.from('[]'));
    await client.ask('VmRebooted', { vmId: 'vm-1' });
    await broker.close();
    const [, ...rows] = (await vfctl('dead ls')).out.trimEnd().split('\n');
    expect(rows).toEqual([
      expect.stringMatching(
        /^3 .* default +vf\.in\.default\.vm\.vm-1\.VmStopped +the payload is not a JSON object$/,
      ),
      expect.stringMatching(/^2 .* the payload is not JSON/),
      reused,
    ]);
    const shown = (await vfctl('dead show 2')).out;
    expect(shown).toContain('reason:  the payload is not JSON');
    expect(shown).not.toContain('\u001b');
    expect((await vfctl('dead show 2 --raw')).out).toBe('{"no event":\u001b[31m');
    expect((await vfctl('dead show 9')).code).toBe(4);
    expect(
      (JSON.parse((await vfctl('dead ls --json')).out) as { time: string }[]).map(({ time }) => time),
    ).toEqual([
      expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
      expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
      expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
    ]);
    expect((await vfctl('dead retry 3')).code).toBe(8);
    expect(await vfctl('dead retry 3 --yes')).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^Published once more: \d+ in VF_IN/),
    });
    // It is put aside again, because it cannot be read now either.
    while (!(await vfctl('dead ls')).out.includes('\n4 ')) await client.ask('VmRebooted', { vmId: 'vm-1' });
  });
});

describe('audit', () => {
  test('verify checks the chain', async () => {
    const { code, out } = await vfctl('audit verify');
    expect([code, out]).toEqual([
      0,
      expect.stringMatching(/^Good: \d+ events, the last with hash [0-9a-f]{64}\n/),
    ]);
  });
});

describe('a log that was rewritten, hashes and all', () => {
  test('has vm explain end with 7; a hash chain alone does not tell', async () => {
    const data = await mkdtemp(join(directory, 'rewritten-'));
    const log = await SqliteLog.open(join(data, 'events.db'));
    const time = Date.UTC(2026, 0, 1);
    const inputs = [
      { id: 'report', type: 'HostReported', time, data: report('host-1', 1) },
      { id: 'start', type: 'VmStartRequested', time, data: { vmId: 'vm-1', nics: [{ nicId: 'nic-0' }] } },
    ] as unknown as Input[];
    // The start's outcome is said to have been a better one.
    await writeInputs(log, 'default', inputs, (event) =>
      event.type === 'VmStartAccepted'
        ? { ...event, data: { ...event.data, why: { ...event.data.why, score: 99 } } }
        : event,
    );
    await log.close();
    const settings = { VF_DATA_DIR: data, VF_EVENT_LOG: `sqlite:${join(data, 'events.db')}` };
    const scheduler = await startScheduler(settings);
    try {
      const { nats, http } = scheduler.ready;
      const { code, out } = await vfctl('vm explain vm-1', { server: nats, http });
      expect([code, out]).toEqual([
        7,
        expect.stringMatching(
          /\nDECIDED AGAIN, IT IS NOT THE SAME: THE SAME DECIDER \(version \d+\) DECIDES OTHERWISE NOW/,
        ),
      ]);
      // Its chain holds, and what went out is what it says: only who was there before could tell.
      const verified = await vfctl('audit verify', { server: nats, http });
      expect([verified.code, verified.out]).toEqual([0, expect.stringContaining('hash chain: good')]);
    } finally {
      await scheduler.stop();
    }
  }, 60_000);
});

describe('completion', () => {
  test.each(['bash', 'zsh'])('for %s is a script that this shell takes', async (shell) => {
    const { code, out } = await vfctl(`completion ${shell}`);
    expect(code).toBe(0);
    const { error, status, stderr } = spawnSync(shell, ['-n'], { input: out, encoding: 'utf8' });
    // A shell that is not here cannot say.
    if (error === undefined) expect([status, stderr]).toEqual([0, '']);
  });

  test('for bash completes commands, options and commands below', async () => {
    const { out } = await vfctl('completion bash');
    await writeFile(join(directory, 'completion'), out);
    const complete = (...words: string[]): readonly string[] => {
      const typed = words.map((word) => `'${word}'`).join(' ');
      const script = `source ${join(directory, 'completion')}; COMP_WORDS=(${typed}); COMP_CWORD=${words.length - 1}; _vfctl; printf '%s\\n' "\${COMPREPLY[@]}"`;
      return spawnSync('bash', ['-c', script], { encoding: 'utf8' }).stdout.trimEnd().split('\n');
    };
    expect(complete('vfctl', 'v')).toEqual(['vf', 'vm']);
    expect(complete('vfctl', 'pf', 're')).toEqual(['restore']);
    expect(complete('vfctl', '--json', 'pf', 'restore', '--d')).toEqual(['--dry-run']);
    expect(complete('vfctl', 'pf', 'restore', 'host-1', '--y')).toEqual(['--yes']);
    expect(complete('vfctl', 'dead', '')).toEqual(['ls', 'show', 'retry', 'help', '--help']);
    // What an option takes, also where it is no command, and files.
    expect(complete('vfctl', 'pf', 'restore', 'host-1', 'em1', '--on-busy', '')).toEqual([
      'unload',
      'reject',
    ]);
    expect(complete('vfctl', 'vf', 'ls', 'host-1', '--state', 'un')).toEqual(['unavailable', 'unknown']);
    expect(complete('vfctl', '-c', 'vm', 'host', 'sh')).toEqual(['show']);
    expect(complete('vfctl', '--cluster=vm', 'host', 'sh')).toEqual(['show']);
    expect(complete('vfctl', '--cluster', '')).toEqual(['']);
    expect(complete('vfctl', 'completion', '')).toEqual(['bash', 'zsh', '--help']);
    expect(complete('vfctl', 'he')).toEqual(['help']);
    expect(complete('vfctl', 'help', 'pf', 're')).toEqual(['restore']);
    const file = join(directory, 'completion');
    const part = file.slice(0, -3);
    for (const words of [
      ['plan', '-f', part],
      ['plan', '--file', part],
      ['--creds', part],
      ['audit', 'check', part],
      ['audit', 'check', 'x', '--key', part],
      ['audit', 'export', part],
    ])
      expect([words, complete('vfctl', ...words)]).toEqual([words, [file]]);
  });

  test('of another shell there is none', async () => {
    expect((await vfctl('completion fish')).code).toBe(2);
  });
});
