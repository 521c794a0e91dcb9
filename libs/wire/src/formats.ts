/** The formats of wire.md, each written once. */

/** Ids of VMs, hosts, NICs and networks, cluster names, tenants. */
export const IDENTIFIER = /^[A-Za-z0-9_-]{1,64}$/;
/** `dddd:bb:dd.f`, hexadecimal, lower case (PF-8). */
export const PCI_ADDRESS = /^[0-9a-f]{4}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]$/;
/** CloudEvent ids. */
export const EVENT_ID = /^[A-Za-z0-9_:./-]{1,128}$/;
