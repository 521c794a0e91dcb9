/** Where vfctl reads and writes: the process, or a test. */
export interface Terminal {
  out(text: string): void;
  outBytes(bytes: Uint8Array): void;
  err(text: string): void;
  /** Whether a person reads what goes out. */
  readonly outIsTerminal: boolean;
  /** Asks a person; undefined where there is none to ask. */
  ask?(question: string): Promise<string>;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Aborts at Ctrl-C. */
  readonly signal: AbortSignal;
}

export type Colour = 'red' | 'green' | 'yellow' | 'dim' | 'bold';
export type Paint = (colour: Colour, text: string) => string;

const CODES: Record<Colour, number> = { red: 31, green: 32, yellow: 33, dim: 2, bold: 1 };

/** Colours, where a person reads and has not asked for none (https://no-color.org). */
export function painter({ outIsTerminal, env }: Terminal): Paint {
  const colours = outIsTerminal && !env['NO_COLOR'] && env['TERM'] !== 'dumb';
  return colours ? (colour, text) => `\u001b[${CODES[colour]}m${text}\u001b[0m` : (_, text) => text;
}

/** What a word of the contract says at a glance. */
const MEANING: Readonly<Record<string, Colour>> = {
  ...Object.fromEntries(
    ['up', 'ready', 'free', 'running', 'virtualized', 'vf', 'yes'].map((word) => [word, 'green']),
  ),
  ...Object.fromEntries(
    [
      'pending',
      'virtualizing',
      'restoring',
      'scrubbing',
      'cordoned',
      'degraded',
      'not-ready',
      'unavailable',
    ].map((word) => [word, 'yellow']),
  ),
  ...Object.fromEntries(
    ['down', 'lost', 'fenced', 'quarantined', 'detached-by-force', 'unknown', 'no'].map((word) => [
      word,
      'red',
    ]),
  ),
} as Record<string, Colour>;

// Controls in what others said would move the cursor or change colours.
// oxlint-disable-next-line no-control-regex
const CONTROLS = /[\u0000-\u001f\u007f-\u009f]+/g;

export const oneLine = (text: string): string => text.replace(CONTROLS, ' ');

/** Rows under a heading, in columns. Words that have a meaning are coloured. */
export function table(
  heading: readonly string[],
  rows: readonly (readonly unknown[])[],
  paint: Paint = (_, text) => text,
): readonly string[] {
  const cells = rows.map((row) =>
    row.map((cell) => (cell === undefined || cell === null || cell === '' ? '-' : oneLine(String(cell)))),
  );
  const widths = heading.map((title, column) =>
    Math.max(title.length, ...cells.map((row) => row[column]?.length ?? 0)),
  );
  const line = (row: readonly string[], colour: (cell: string) => Colour | undefined): string => {
    // Nothing is padded after the last cell: trailing blanks are a nuisance when copied.
    return row
      .map((cell, column) => {
        const said = colour(cell);
        const painted = said === undefined ? cell : paint(said, cell);
        return column === row.length - 1
          ? painted
          : painted + ' '.repeat((widths[column] ?? 0) - cell.length);
      })
      .join('  ')
      .trimEnd();
  };
  return [line(heading, () => 'bold'), ...cells.map((row) => line(row, (cell) => MEANING[cell]))];
}
