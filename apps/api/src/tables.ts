import type { Response } from 'express';

/** Sends pieces of text as they come; no faster than they are taken. */
export async function sendLines<T>(
  response: Response,
  type: string,
  pieces: AsyncGenerator<string, T>,
): Promise<void> {
  let gone = false;
  response.on('close', () => (gone = true));
  let begun = false;
  try {
    for (;;) {
      const piece = await pieces.next();
      if (!begun) {
        begun = true;
        response.status(200).set('Content-Type', type);
      }
      if (piece.done === true) {
        response.end();
        return;
      }
      if (gone) return;
      if (!response.write(piece.value)) {
        await taken(response);
      }
    }
  } finally {
    await pieces.return(undefined as T);
  }
}

/** Waits until what was written is taken, or nobody is there any more. */
const taken = (response: Response): Promise<void> =>
  new Promise((resolve) => {
    const go = (): void => {
      response.off('drain', go);
      response.off('close', go);
      resolve();
    };
    response.on('drain', go);
    response.on('close', go);
    // It may have gone while nobody listened.
    if (response.destroyed) go();
  });

type Cell = unknown;

/** A line of RFC 4180. A text that a spreadsheet would take for a formula is made to be one no more. */
export const csvLine = (cells: readonly Cell[]): string => `${cells.map(csvCell).join(',')}\r\n`;

function csvCell(cell: Cell): string {
  if (cell === undefined || cell === null) return '';
  const text = typeof cell === 'string' ? cell : JSON.stringify(cell);
  const safe = typeof cell === 'string' && /^[=+\-@\t\r]/.test(text) && text !== '-' ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
