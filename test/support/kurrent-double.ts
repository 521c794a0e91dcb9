import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';

const MAIN = join(import.meta.dirname, '../../dist/libs/log/src/kurrentdb/double-process.js');

/** A program that plays a KurrentDB server, in a process of its own. */
export class KurrentDoubleProcess {
  private constructor(
    readonly url: string,
    private readonly child: ChildProcess,
    private readonly lines: Interface,
  ) {}

  /** @param args those of the program. */
  static async start(...args: readonly string[]): Promise<KurrentDoubleProcess> {
    const child = spawn(process.execPath, [MAIN, ...args], { stdio: ['pipe', 'pipe', 'inherit'] });
    const lines = createInterface({ input: child.stdout! });
    const [line] = (await once(lines, 'line')) as [string];
    return new KurrentDoubleProcess((JSON.parse(line) as { url: string }).url, child, lines);
  }

  /** Has it do something, and waits until it has: see the program. */
  async tell(command: object): Promise<void> {
    const done = once(this.lines, 'line');
    this.child.stdin!.write(`${JSON.stringify(command)}\n`);
    await done;
  }

  /** As SIGSTOP and SIGCONT do. */
  freeze(): void {
    this.child.kill('SIGSTOP');
  }

  thaw(): void {
    this.child.kill('SIGCONT');
  }

  async end(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    this.child.kill('SIGKILL');
    await once(this.child, 'exit');
  }
}
