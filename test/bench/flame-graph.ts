/** A function in the call tree; times in milliseconds. */
export interface Frame {
  readonly name: string;
  readonly self: number;
  /** With all that it called. */
  readonly total: number;
  readonly children: readonly Frame[];
}

const WIDTH = 1200;
const ROW = 17;
/** Frames that are narrower, in pixels, are not drawn. */
const NARROWEST = 0.6;
const CHARACTER = 6.6;

export const escaped = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');

/** The call tree as a picture: callers above, width is time, idle time left out. */
export function flameGraph(title: string, root: Frame): string {
  const top = root.children.filter(({ name }) => name !== '(idle)');
  const total = top.reduce((sum, frame) => sum + frame.total, 0);
  const scale = WIDTH / Math.max(total, 1e-9);
  const boxes: string[] = [];
  let deepest = 0;
  const draw = (frame: Frame, x: number, depth: number): void => {
    const width = frame.total * scale;
    if (width < NARROWEST) return;
    deepest = Math.max(deepest, depth);
    const label = frame.name.slice(0, Math.max(0, Math.floor((width - 6) / CHARACTER)));
    const told = `${frame.name}: ${frame.total.toFixed(0)} ms, ${((frame.total / total) * 100).toFixed(1)} %`;
    boxes.push(
      `<g transform="translate(${x.toFixed(1)},${depth * ROW})"><title>${escaped(told)}</title>` +
        `<rect width="${width.toFixed(1)}" height="${ROW - 1}" fill="${colour(frame.name)}"/>` +
        (label.length > 2 ? `<text x="3" y="12">${escaped(label)}</text>` : '') +
        '</g>',
    );
    let at = x;
    for (const child of frame.children.toSorted((a, b) => b.total - a.total)) {
      draw(child, at, depth + 1);
      at += child.total * scale;
    }
  };
  let x = 0;
  for (const frame of top.toSorted((a, b) => b.total - a.total)) {
    draw(frame, x, 0);
    x += frame.total * scale;
  }
  const height = (deepest + 1) * ROW + 30;
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" ` +
    `font-family="monospace" font-size="11"><rect width="100%" height="100%" fill="#fff"/>` +
    `<text x="4" y="16" font-size="13">${escaped(title)}, ${total.toFixed(0)} ms</text>` +
    `<g transform="translate(0,26)">${boxes.join('\n')}</g></svg>\n`
  );
}

/** Ours is warm, libraries are cool, the engine is grey. */
function colour(name: string): string {
  if (name.startsWith('(')) return name === '(garbage collector)' ? '#c9a0dc' : '#ccc';
  if (/ (libs|apps|test)\//.test(name)) return '#f4a261';
  return name.includes(' ') ? '#8ecae6' : '#d9d9d9';
}
