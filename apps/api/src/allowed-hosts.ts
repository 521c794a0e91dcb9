import { isIPv4, isIPv6 } from 'node:net';
import type { NextFunction, Request, Response } from 'express';
import { Problem } from './problem.js';

/** `api.example:8080`, `[::1]:8080`, `API.Example.`: the name alone, as it is compared. */
const nameOf = (host: string): string =>
  (isIPv6(host) ? `[${host}]` : host)
    .replace(/:\d*$/, '')
    .replace(/^\[(.*)\]$/, '$1')
    .replace(/\.$/, '')
    .toLowerCase();

/** Names by which nobody but this machine is reached. */
function isLoopback(name: string): boolean {
  return name === 'localhost' || name === '::1' || (isIPv4(name) && name.startsWith('127.'));
}

/**
 * Refuses requests for a host that this is not. A page of another site reaches what listens on this machine by
 * having its own name point here (DNS rebinding): to a browser both are one site then, and only the `Host`
 * gives it away. It is asked of reads too: who has which VF is nobody else's business.
 *
 * @param listens what it listens on. On loopback it answers to loopback only, else to any name.
 * @param allowed other names that it is known by; where they are said they and loopback are all.
 */
export function refuseOtherHosts(listens: string, allowed: readonly string[] | undefined) {
  const names = new Set(allowed?.map(nameOf));
  const any = allowed === undefined && !isLoopback(nameOf(listens));
  return (request: Request, _: Response, next: NextFunction): void => {
    const { host } = request.headers;
    // HTTP/1.0 without a Host is no browser.
    if (any || host === undefined) return next();
    const name = nameOf(host);
    if (isLoopback(name) || names.has(name)) return next();
    next(
      new Problem(
        403,
        'FORBIDDEN',
        `this API is not known as '${name.slice(0, 100)}': ask it by its own address, or name that in VF_HTTP_ALLOWED_HOSTS`,
      ),
    );
  };
}
