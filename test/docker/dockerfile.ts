/** An instruction of a Dockerfile, with its lines put together. */
export interface Instruction {
  readonly name: string;
  readonly args: string;
}

/** A stage: from one `FROM` to the next. */
export interface Stage {
  readonly image: string;
  readonly alias?: string;
  readonly instructions: readonly Instruction[];
}

/** Reads a Dockerfile as far as ours goes: comments, continued lines, stages. No heredocs, no escapes but `\`. */
export function readDockerfile(text: string): readonly Stage[] {
  const lines = text
    .split('\n')
    .filter((line) => !line.startsWith('#'))
    .join('\n')
    .replaceAll(/\\\n\s*/g, ' ')
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
  const stages: { image: string; alias?: string; instructions: Instruction[] }[] = [];
  for (const line of lines) {
    const [name = '', ...rest] = line.split(' ');
    const args = rest.join(' ').trim();
    if (name === 'FROM') {
      const [image = '', , alias] = args.split(' ');
      stages.push({ image, ...(alias === undefined ? undefined : { alias }), instructions: [] });
      continue;
    }
    const stage = stages.at(-1);
    if (stage === undefined) throw new Error(`${line}: before any FROM`);
    stage.instructions.push({ name, args });
  }
  return stages;
}

/** What a `COPY` takes and where it puts it; `from` is the stage it takes it from. */
export function readCopy(args: string): {
  readonly from?: string;
  readonly sources: readonly string[];
  readonly target: string;
} {
  const words = args.split(' ');
  const from = words[0]?.startsWith('--from=') ? words.shift()?.slice('--from='.length) : undefined;
  const target = words.pop() ?? '';
  return { ...(from === undefined ? undefined : { from }), sources: words, target };
}

/** The variables of an `ENV name=value name=value`. */
export const readEnv = (args: string): Record<string, string> =>
  Object.fromEntries(
    [...args.matchAll(/(\w+)=(\S+)/g)].map(([, name, value]) => [name as string, value as string]),
  );
