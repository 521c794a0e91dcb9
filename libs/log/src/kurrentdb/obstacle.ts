import { createConnection, isIP } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { KurrentAddress, Node } from './connection-string.js';
import { NodeCalls } from './node-calls.js';

/** What is between us and a node. */
export interface Obstacle {
  /** For people, to stand in brackets or behind a colon. */
  readonly why: string;
  /** It does not pass by itself: the connection string or the server is to be changed. */
  readonly lasting: boolean;
}

const unknownAuthority = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'CERT_UNTRUSTED',
  'INVALID_CA',
]);
const outOfTime: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: 'has expired',
  CERT_NOT_YET_VALID: 'is not valid yet',
  CERT_REVOKED: 'was revoked',
};

/**
 * Why a node does not talk to us: asked of its address itself, because the client says no more than that it is
 * unavailable.
 *
 * @param timeout milliseconds.
 * @returns undefined when nothing is in the way that can be seen from here.
 */
export async function obstacleAt(
  node: Node,
  { tls }: KurrentAddress,
  timeout: number,
): Promise<Obstacle | undefined> {
  const place = `${node.host}:${node.port}`;
  const closed = await failureOfConnecting(
    () => createConnection({ host: node.host, port: node.port }),
    'connect',
    timeout,
  );
  if (closed !== undefined) return { why: closed.message, lasting: false };
  const name = node.serverName ?? (isIP(node.host) === 0 ? node.host : undefined);
  const handshake = (options: object): Promise<TlsError | undefined> =>
    failureOfConnecting(
      () =>
        connectTls({
          host: node.host,
          port: node.port,
          ALPNProtocols: ['h2'],
          ...(name !== undefined && { servername: name }),
          ...options,
        }),
      'secureConnect',
      timeout,
    );
  if (tls === undefined) {
    const failure = await handshake({ rejectUnauthorized: false });
    if (failure !== undefined) return undefined;
    return { why: `${place} takes TLS only: write tls=true, or leave tls=false out`, lasting: true };
  }
  const { verify, ca, cert, key } = tls;
  const failure = await handshake({ rejectUnauthorized: verify, ca, cert, key });
  if (failure === undefined) return undefined;
  const { code = '', message } = failure;
  if (unknownAuthority.has(code)) {
    return {
      why: `the certificate of ${place} is signed by an unknown authority (${code}): name its certificate in tlsCAFile`,
      lasting: true,
    };
  }
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    return {
      why: `the certificate of ${place} is for other names (${message}): write one of them in the connection string`,
      lasting: true,
    };
  }
  const when = outOfTime[code];
  if (when !== undefined)
    return { why: `the certificate of ${place} ${when} (${code}): renew it`, lasting: true };
  const plain = await new NodeCalls({}).answers(node, timeout).then(
    () => true,
    () => false,
  );
  if (plain || /wrong.version.number/i.test(`${code} ${message}`)) {
    return {
      why: `${place} does not speak TLS: write tls=false, or give the server a certificate`,
      lasting: true,
    };
  }
  return { why: `TLS with ${place} fails: ${message}`, lasting: false };
}

interface TlsError {
  readonly code?: string;
  readonly message: string;
}

/** Connects and lets go. @returns why that failed. */
function failureOfConnecting(
  connect: () => ReturnType<typeof createConnection>,
  success: 'connect' | 'secureConnect',
  timeout: number,
): Promise<TlsError | undefined> {
  return new Promise((resolve) => {
    const socket = connect();
    const end = (result?: TlsError): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(result);
    };
    const timer = setTimeout(() => end({ message: `no answer within ${timeout} ms` }), timeout);
    socket.once(success, () => end());
    socket.on('error', end);
    socket.once('close', () => end({ message: 'the connection was closed' }));
  });
}
