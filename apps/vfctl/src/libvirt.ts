import type { NicView } from '#client';

/** A NIC's guest address: `5` is slot 5 of bus 0. */
function guestAddress(slot: number | string): string {
  const text = typeof slot === 'number' ? `0000:00:${slot.toString(16).padStart(2, '0')}.0` : slot;
  return addressElement(text);
}

/** `<address type='pci' …/>`: libvirt reads numbers with `0x` as hexadecimal, others as decimal. */
function addressElement(pci: string): string {
  const [, domain, bus, slot, func] = /^([0-9a-f]{4}):([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])$/.exec(pci) ?? [];
  if (func === undefined) throw new TypeError(`'${pci}' is not a PCI address`);
  return `<address type='pci' domain='0x${domain}' bus='0x${bus}' slot='0x${slot}' function='0x${func}'/>`;
}

/**
 * What libvirt needs to attach a NIC's VF (OUT-4): an interface of type hostdev, which libvirt binds to vfio and
 * gives the MAC and the VLAN.
 *
 * @returns undefined for a NIC that holds no VF.
 */
export function interfaceXml({ vf, mac, vlanId, guestSlot }: NicView): string | undefined {
  if (vf === undefined) return undefined;
  return [
    "<interface type='hostdev' managed='yes'>",
    '  <source>',
    `    ${addressElement(vf)}`,
    '  </source>',
    `  <mac address='${mac}'/>`,
    ...(vlanId === undefined ? [] : ['  <vlan>', `    <tag id='${vlanId}'/>`, '  </vlan>']),
    ...(guestSlot === undefined || guestSlot === null ? [] : [`  ${guestAddress(guestSlot)}`]),
    '</interface>',
  ].join('\n');
}
