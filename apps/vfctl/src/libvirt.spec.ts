import { describe, expect, test } from '@jest/globals';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { NicView } from '#client';
import { interfaceXml } from './libvirt.js';

const nic = (fields: Partial<NicView>): NicView => ({
  nicId: 'nic-0',
  type: 'vf',
  state: 'vf',
  mac: '02:b3:71:e0:44:12',
  vf: '0000:82:10.1',
  ...fields,
});

const ALL: readonly NicView[] = [
  nic({}),
  nic({ vlanId: 42 }),
  nic({ guestSlot: 31, vlanId: 4094 }),
  nic({ guestSlot: '0001:ff:1f.7', vf: 'abcd:ef:1f.7' }),
];

describe('[OUT-4 acts] the interface of a NIC for libvirt', () => {
  test('has the addresses in hexadecimal, the MAC, the VLAN and the place in the guest', () => {
    expect(interfaceXml(nic({ vlanId: 42, guestSlot: 16 }))).toBe(`<interface type='hostdev' managed='yes'>
  <source>
    <address type='pci' domain='0x0000' bus='0x82' slot='0x10' function='0x1'/>
  </source>
  <mac address='02:b3:71:e0:44:12'/>
  <vlan>
    <tag id='42'/>
  </vlan>
  <address type='pci' domain='0x0000' bus='0x00' slot='0x10' function='0x0'/>
</interface>`);
  });

  test('has no VLAN and no place where there is none', () => {
    expect(interfaceXml(nic({}))).toBe(`<interface type='hostdev' managed='yes'>
  <source>
    <address type='pci' domain='0x0000' bus='0x82' slot='0x10' function='0x1'/>
  </source>
  <mac address='02:b3:71:e0:44:12'/>
</interface>`);
  });

  test('is none for a NIC without a VF', () => {
    expect(interfaceXml(nic({ vf: undefined, state: 'degraded' }))).toBeUndefined();
  });

  const SCHEMA = '/usr/share/libvirt/schemas/domain.rng';
  const hasXmllint = spawnSync('xmllint', ['--version']).status === 0;
  const missing = [...(existsSync(SCHEMA) ? [] : [SCHEMA]), ...(hasXmllint ? [] : ['xmllint'])];
  const title = 'is what the schema of libvirt itself takes';
  const lint = (interfaces: readonly string[]): string => {
    const directory = mkdtempSync(join(tmpdir(), 'vf-libvirt-'));
    try {
      const file = join(directory, 'domain.xml');
      writeFileSync(
        file,
        `<domain type='kvm'><name>vm</name><memory>1</memory><os><type>hvm</type></os><devices>${interfaces.join('\n')}</devices></domain>`,
      );
      const { stderr } = spawnSync('xmllint', ['--noout', '--relaxng', SCHEMA, file], { encoding: 'utf8' });
      return stderr.replaceAll(file, 'it').trim();
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  };

  if (missing.length > 0) {
    test.skip(`${title} (left out here: ${missing.join(' and ')} is missing; Debian has it in libvirt0 and libxml2-utils)`, () =>
      undefined);
  } else {
    test(title, () => {
      expect(lint(ALL.map((one) => interfaceXml(one) as string))).toBe('it validates');
    });

    test('would not pass with a decimal place, a VLAN out of range or a MAC that is none', () => {
      const good = interfaceXml(nic({ vlanId: 42 })) as string;
      for (const bad of [
        good.replace("slot='0x10'", "slot='0x20'"),
        good.replace("id='42'", "id='4096'"),
        good.replace("<mac address='02:", "<mac address='"),
      ]) {
        expect(lint([bad])).toContain('fails to validate');
      }
    });
  }
});
