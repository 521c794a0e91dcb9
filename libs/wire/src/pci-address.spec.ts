import { describe, expect, test } from '@jest/globals';
import { readPciAddress } from './pci-address.js';

describe('[PF-8 acts] a PCI address at the edge', () => {
  test.each([
    ['0000:82:10.1', '0000:82:10.1'],
    ['0000:82:1F.7', '0000:82:1f.7'],
    ['ABCD:EF:00.0', 'abcd:ef:00.0'],
    ['82:10.1', '0000:82:10.1'],
    ['3:0.1', '0000:03:00.1'],
    ['pci_0000_82_10_1', '0000:82:10.1'],
    ['PCI_0000_82_1F_1', '0000:82:1f.1'],
    ['0000_82_10_1', '0000:82:10.1'],
    [' 0000:82:10.1\n', '0000:82:10.1'],
    ["<address type='pci' domain='0x0000' bus='0x82' slot='0x10' function='0x1'/>", '0000:82:10.1'],
    ["domain='0' bus='130' slot='16' function='1'", '0000:82:10.1'],
    ['bus=130 slot=31 function=7', '0000:82:1f.7'],
    ['<domain>0</domain>\n<bus>130</bus>\n<slot>16</slot>\n<function>1</function>', '0000:82:10.1'],
  ])('%j is converted', (text, address) => {
    expect(readPciAddress(text)).toBe(address);
  });

  test.each([
    '',
    '82',
    '0000:82:10.8',
    '0000:82:20.0',
    '0000:82:10',
    '10000:82:10.1',
    '0000-82-10.1',
    'bus=256 slot=0 function=0',
    'bus=130 slot=32 function=0',
    'bus=130 slot=16',
    'bus=1 bus=2 slot=1 function=1',
    '０000:82:10.1',
  ])('%j is none', (text) => {
    expect(readPciAddress(text)).toBeUndefined();
  });
});
