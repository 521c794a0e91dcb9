import type { NextFunction, Request, Response } from 'express';
import { Problem } from './problem.js';

/**
 * Refuses what a page of another site asks for through the browser of somebody who can reach this API: commands, and
 * reads, too. The page sees no answer, but the question has been asked then, and sixty pictures whose address is a
 * dear question cost as much as sixty questions. A person who follows a link to here is no page that asks.
 */
export function refuseOtherSites(request: Request, _: Response, next: NextFunction): void {
  if (!isOfOtherSite(request)) return next();
  next(new Problem(403, 'FORBIDDEN', 'a page of another site can neither command nor ask the scheduler'));
}

function isOfOtherSite(request: Request): boolean {
  const origin = request.get('origin');
  if (origin !== undefined && !isHere(request, origin)) return true;
  const site = request.get('sec-fetch-site');
  if (site !== undefined) return site !== 'same-origin' && site !== 'none' && !isNavigation(request);
  // A browser of before 2023 says neither: only where it comes from, unless the page forbids that.
  const referer = request.get('referer');
  return referer !== undefined && !isHere(request, referer) && !asksForPage(request);
}

/** Somebody goes to an address of ours, in a window of its own and not in a frame of the other page. */
function isNavigation(request: Request): boolean {
  const destination = request.get('sec-fetch-dest') ?? 'document';
  return isRead(request) && request.get('sec-fetch-mode') === 'navigate' && destination === 'document';
}

/** What an older browser says when somebody goes to an address, and not when it loads a picture or a script. */
const asksForPage = (request: Request): boolean =>
  isRead(request) && (request.get('accept') ?? '').includes('text/html');

const isRead = ({ method }: Request): boolean => method === 'GET' || method === 'HEAD';

const isHere = (request: Request, address: string): boolean =>
  URL.canParse(address) && new URL(address).host === request.get('host');
