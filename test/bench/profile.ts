import { readdir, readFile, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { flameGraph, type Frame } from './flame-graph.js';

/** A V8 CPU profile, as `node --cpu-prof` writes it. */
interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
    readonly children?: readonly number[];
  }[];
  readonly samples: readonly number[];
  /** Microseconds before each sample. */
  readonly timeDeltas: readonly number[];
}

/** Functions that are listed of each thread. */
const LISTED = 20;
/** A thread that was busy for less, in milliseconds, is left out. */
const WORTH_A_LOOK = 100;
const IDLE = new Set(['(idle)', '(root)']);

/**
 * Where the time goes: for each thread that a row started, its functions by self time, and a flame graph
 * beside it.
 *
 * @returns the tables, which are also written to `summary.md` in the directory.
 */
export async function summarise(row: string, directory: string): Promise<string> {
  const files = (await readdir(directory)).filter((file) => file.endsWith('.cpuprofile')).sort();
  const parts: { busy: number; text: string }[] = [];
  for (const file of files) {
    const profile = JSON.parse(await readFile(join(directory, file), 'utf8')) as CpuProfile;
    const root = frames(profile);
    const selfTimes = new Map<string, number>();
    collect(root, selfTimes);
    let busy = 0;
    for (const [name, self] of selfTimes) if (!IDLE.has(name)) busy += self;
    if (busy < WORTH_A_LOOK) continue;
    const name = `${row}: ${guess(profile)}`;
    const picture = `${basename(file, '.cpuprofile')}.svg`;
    await writeFile(join(directory, picture), flameGraph(name, root));
    const lines = [...selfTimes]
      .filter(([frame]) => !IDLE.has(frame))
      .sort((a, b) => b[1] - a[1])
      .slice(0, LISTED)
      .map(
        ([frame, self]) => `| ${((self / busy) * 100).toFixed(1)} % | ${Math.round(self)} ms | ${frame} |`,
      );
    const head = `\n### ${name}, ${Math.round(busy)} ms busy (${picture})\n\n| self | | function |\n| ---: | ---: | --- |\n`;
    parts.push({ busy, text: `${head}${lines.join('\n')}\n` });
  }
  const text = parts
    .sort((a, b) => b.busy - a.busy)
    .map((part) => part.text)
    .join('');
  await writeFile(join(directory, 'summary.md'), text);
  return text;
}

/** The program that a profile is of: the first of our files that runs in it. */
function guess(profile: CpuProfile): string {
  const urls = profile.nodes.map(({ callFrame }) => callFrame.url);
  const named =
    urls.find((url) => /(main|worker|raw-chain|measure-row)\.js$/.test(url)) ??
    urls.find((url) => url.includes('/dist/')) ??
    '';
  return named === '' ? 'node' : place(named);
}

const place = (url: string): string => {
  const path = url.startsWith('file:') ? fileURLToPath(url) : url;
  const ours = /\/dist\/(.*)$/.exec(path)?.[1];
  const theirs = /\/node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1];
  return theirs ?? ours ?? path;
};

function nameOf({ functionName, url, lineNumber }: CpuProfile['nodes'][number]['callFrame']): string {
  const name = functionName === '' ? '(anonymous)' : functionName;
  return url === '' ? name : `${name} ${place(url)}:${lineNumber + 1}`;
}

/** The call tree with its times in milliseconds. */
function frames({ nodes, samples, timeDeltas }: CpuProfile): Frame {
  const self = new Map<number, number>();
  for (const [index, id] of samples.entries())
    self.set(id, (self.get(id) ?? 0) + (timeDeltas[index] as number) / 1000);
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const build = (id: number): Frame => {
    const node = byId.get(id) as CpuProfile['nodes'][number];
    const children = (node.children ?? []).map(build);
    const own = self.get(id) ?? 0;
    return {
      name: nameOf(node.callFrame),
      self: own,
      total: children.reduce((sum, { total }) => sum + total, own),
      children,
    };
  };
  return build((nodes[0] as CpuProfile['nodes'][number]).id);
}

function collect(frame: Frame, into: Map<string, number>): void {
  into.set(frame.name, (into.get(frame.name) ?? 0) + frame.self);
  for (const child of frame.children) collect(child, into);
}
