import { PCI_ADDRESS } from './formats.js';

const HEX = /^(?:pci[_-])?(?:([0-9a-f]{1,4})[:_])?([0-9a-f]{1,2})[:_]([0-9a-f]{1,2})[._]([0-7])$/;
/** `domain='0x0000' bus='0x82' …`, `domain=0 bus=130 …`, or the elements that `virsh nodedev-dumpxml` prints. */
const PART = /\b(domain|bus|slot|function)\s*(?:=\s*['"]?|>\s*)(0x[0-9a-f]+|\d+)/g;

/**
 * A PCI address in the one form of the contract, `dddd:bb:dd.f` (PF-8), from the forms that people and libvirt
 * write: upper case, without its domain, with underscores (`pci_0000_82_10_1`), or in parts, which are decimal
 * unless they begin with `0x` (`domain='0' bus='130' slot='16' function='1'`).
 *
 * @returns undefined when it is none.
 */
export function readPciAddress(text: string): string | undefined {
  const lower = text.trim().toLowerCase();
  if (PCI_ADDRESS.test(lower)) return lower;
  const [, domain = '0', bus, device, func] = HEX.exec(lower) ?? [];
  if (bus !== undefined && device !== undefined && func !== undefined)
    return written([`0x${domain}`, `0x${bus}`, `0x${device}`, func]);
  const parts = new Map<string, string>();
  for (const [, name = '', value = ''] of lower.matchAll(PART)) {
    if (parts.has(name)) return undefined;
    parts.set(name, value);
  }
  const [busPart, slot, functionPart] = [parts.get('bus'), parts.get('slot'), parts.get('function')];
  if (busPart === undefined || slot === undefined || functionPart === undefined) return undefined;
  return written([parts.get('domain') ?? '0', busPart, slot, functionPart]);
}

function written([domain, bus, device, func]: readonly [string, string, string, string]): string | undefined {
  const hex = (value: string, digits: number): string => Number(value).toString(16).padStart(digits, '0');
  const address = `${hex(domain, 4)}:${hex(bus, 2)}:${hex(device, 2)}.${hex(func, 1)}`;
  return PCI_ADDRESS.test(address) ? address : undefined;
}
