import type { Response } from 'express';

/**
 * Sends pieces of text as they come; no faster than they are taken.
 *
 * @param finish is given what the pieces end with, before the answer ends.
 */
export async function sendLines<T>(
  response: Response,
  type: string,
  pieces: AsyncGenerator<string, T>,
  finish?: (result: T) => Promise<void>,
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
        await finish?.(piece.value);
        response.end();
        return;
      }
      if (gone) return;
      if (!response.write(piece.value)) {
        await new Promise<void>((resolve) => {
          response.once('drain', resolve);
          response.once('close', resolve);
        });
      }
    }
  } finally {
    await pieces.return(undefined as T);
  }
}

type Cell = unknown;

/** The columns of a table: the fields of its rows, those of the first row first. */
export function csvHead(rows: readonly Readonly<Record<string, Cell>>[]): readonly string[] {
  const columns = new Set<string>();
  for (const row of rows) for (const column of Object.keys(row)) columns.add(column);
  return [...columns];
}

/** A line of RFC 4180. A text that a spreadsheet would take for a formula is made to be one no more. */
export const csvLine = (cells: readonly Cell[]): string => `${cells.map(csvCell).join(',')}\r\n`;

function csvCell(cell: Cell): string {
  if (cell === undefined || cell === null) return '';
  const text = typeof cell === 'string' ? cell : JSON.stringify(cell);
  const safe = typeof cell === 'string' && /^[=+\-@\t\r]/.test(text) && text !== '-' ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
