import { escaped } from './flame-graph.js';

/** A line of a panel: a value for each time; NaN where there is none. */
export interface Series {
  readonly name: string;
  readonly values: readonly number[];
}

/** Lines that share a scale. */
export interface Panel {
  readonly title: string;
  readonly unit: string;
  readonly series: readonly Series[];
}

const WIDTH = 900;
const PLOT = { left: 70, right: 20, top: 34, height: 110 };
const PANEL = PLOT.top + PLOT.height + 22;
const COLOURS = ['#1f6f8b', '#d1495b', '#66a182', '#8d6a9f'];

/** A round number that is not below. */
function roundUp(value: number): number {
  if (!(value > 0)) return 1;
  const step = 10 ** Math.floor(Math.log10(value));
  return (([1, 1.5, 2, 3, 4, 5, 6, 8, 10].find((factor) => factor * step >= value) ?? 10) as number) * step;
}

const number = (value: number): string => value.toLocaleString('en', { maximumFractionDigits: 2 });

/** Panels one below the other, over minutes, each from zero: a picture that shows whether things stay as they are. */
export function chart(
  title: string,
  lines: readonly string[],
  minutes: readonly number[],
  panels: readonly Panel[],
): string {
  const end = Math.max(minutes.at(-1) ?? 0, 1e-9);
  const plotWidth = WIDTH - PLOT.left - PLOT.right;
  const x = (minute: number): number => PLOT.left + (minute / end) * plotWidth;
  const head = 34 + lines.length * 16;
  const drawn = panels.map((panel, index) => {
    const top = roundUp(Math.max(0, ...panel.series.flatMap(({ values }) => values.filter(Number.isFinite))));
    const y = (value: number): number => PLOT.top + PLOT.height * (1 - value / top);
    const grid = [0, 0.5, 1].map(
      (share) =>
        `<line x1="${PLOT.left}" x2="${WIDTH - PLOT.right}" y1="${y(top * share)}" y2="${y(top * share)}" stroke="#ddd"/>` +
        `<text x="${PLOT.left - 6}" y="${y(top * share) + 4}" text-anchor="end">${number(top * share)}</text>`,
    );
    const curves = panel.series.map(({ values }, line) => {
      const points = values.flatMap((value, at) =>
        Number.isFinite(value) ? [`${x(minutes[at] as number).toFixed(1)},${y(value).toFixed(1)}`] : [],
      );
      return `<polyline points="${points.join(' ')}" fill="none" stroke="${COLOURS[line]}" stroke-width="1.4"/>`;
    });
    const legend = panel.series.map(
      ({ name }, line) =>
        `<tspan dx="14" fill="${COLOURS[line]}">${escaped(panel.series.length > 1 ? name : '')}</tspan>`,
    );
    return (
      `<g transform="translate(0,${head + index * PANEL})"><text x="${PLOT.left}" y="22" font-size="13">` +
      `${escaped(panel.title)} (${escaped(panel.unit)})${legend.join('')}</text>${grid.join('')}${curves.join('')}</g>`
    );
  });
  const height = head + panels.length * PANEL + 26;
  const axis = [0, 0.25, 0.5, 0.75, 1].map(
    (share) =>
      `<text x="${x(end * share)}" y="${height - 10}" text-anchor="middle">${number(end * share)} min</text>`,
  );
  const told = lines.map((line, index) => `<text x="20" y="${42 + index * 16}">${escaped(line)}</text>`);
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" ` +
    `font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="#fff"/>` +
    `<text x="20" y="24" font-size="15">${escaped(title)}</text>${told.join('')}${drawn.join('\n')}${axis.join('')}</svg>\n`
  );
}
