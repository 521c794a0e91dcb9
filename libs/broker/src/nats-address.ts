import { BrokerError } from './errors.js';

/** Where NATS is, and as whom it is to be asked where the address says so. */
export interface NatsAddress {
  /** Without user, password and token: for sentences and logs, too. */
  readonly servers: readonly string[];
  readonly login?: { readonly user: string; readonly pass: string } | { readonly token: string };
}

/** What stands before the name of the server: up to the last @ of what names it. */
const LOGIN = /^([a-z]+:\/\/)?([^/?#]*)@/i;

/**
 * Takes `nats://user:password@host:4222` apart, or `nats://token@host:4222`, of one server or several. The client passes
 * over what stands there, and would print it in each of its errors.
 *
 * @throws BrokerError `REFUSED` when it is not percent-encoded, or when two servers would be asked as two users.
 */
export function readNatsAddress(url: string | readonly string[]): NatsAddress {
  const urls = (typeof url === 'string' ? [url] : url).flatMap((some) => some.split(','));
  const servers = urls.map((one) => one.trim().replace(LOGIN, '$1'));
  const said = new Set(urls.flatMap((one) => LOGIN.exec(one.trim())?.[2] ?? []));
  if (said.size === 0) return { servers };
  const where = servers.join(', ');
  if (said.size > 1) {
    throw new BrokerError(
      'REFUSED',
      `The addresses of NATS at ${where} name different users or passwords (VF_NATS_URL): one connection has one.`,
    );
  }
  const [login = ''] = said;
  const colon = login.indexOf(':');
  try {
    if (colon === -1) return { servers, login: { token: decodeURIComponent(login) } };
    const [user, pass] = [login.slice(0, colon), login.slice(colon + 1)].map(decodeURIComponent);
    return { servers, login: { user: user ?? '', pass: pass ?? '' } };
  } catch {
    throw new BrokerError(
      'REFUSED',
      `The user or the password for NATS at ${where} is not percent-encoded (VF_NATS_URL): write % as %25.`,
    );
  }
}

/** An address, or several with commas between them, as it may be shown to anybody. */
export const withoutLogin = (url: string): string =>
  url
    .split(',')
    .map((one) => one.trim().replace(LOGIN, '$1'))
    .join(',');
