/**
 * 53 bits of a text, evenly spread (cyrb53, public domain). Not cryptographic: it names things, it protects
 * nothing. The core imports nothing, so that the same names come out in any runtime.
 */
export function hash53(text: string, seed = 0): number {
  let a = 0xdeadbeef ^ seed;
  let b = 0x41c6ce57 ^ seed;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    a = Math.imul(a ^ code, 2654435761);
    b = Math.imul(b ^ code, 1597334677);
  }
  a = Math.imul(a ^ (a >>> 16), 2246822507) ^ Math.imul(b ^ (b >>> 13), 3266489909);
  b = Math.imul(b ^ (b >>> 16), 2246822507) ^ Math.imul(a ^ (a >>> 13), 3266489909);
  return 4294967296 * (2097151 & b) + (a >>> 0);
}

/**
 * A fencing token (EX-4): `<position>-<8 hex digits>`. The position grows with each allocation of the
 * cluster; the digits come from the cluster and the input, so that a log restored from an older backup does
 * not give the same token to another VM.
 */
export const allocationId = (cluster: string, position: number, inputId: string): string =>
  // Joined, not concatenated: what is kept for long shall be one flat text, not a tree of its parts. Here and
  // below.
  [position, (hash53(`${cluster}\n${inputId}`) % 0x1_0000_0000).toString(16).padStart(8, '0')].join('-');

/**
 * The MAC of a NIC that asked for none (NET-9): locally administered and unicast, `02:` and 40 bits of a hash
 * of cluster, VM and NIC; `attempt` counts collisions.
 */
export function generatedMac(cluster: string, vmId: string, nicId: string, attempt: number): string {
  const bits = hash53(`${cluster}\n${vmId}\n${nicId}`, attempt) % 0x100_0000_0000;
  const hex = bits.toString(16).padStart(10, '0');
  const bytes = ['02', hex.slice(0, 2), hex.slice(2, 4), hex.slice(4, 6), hex.slice(6, 8), hex.slice(8, 10)];
  return bytes.join(':');
}
