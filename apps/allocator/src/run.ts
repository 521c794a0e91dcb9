import { SettingsError } from '#wire';

/**
 * Runs a service as a process: prints the ready line, drains on SIGTERM and SIGINT, and turns what keeps it from starting into one
 * sentence and exit code 1.
 */
export async function runProcess(
  start: () => Promise<{ readonly ready: object; stop(): Promise<void>; readonly died?: Promise<Error> }>,
): Promise<void> {
  const asked = new Promise<void>((resolve) => {
    process.once('SIGTERM', () => resolve());
    process.once('SIGINT', () => resolve());
  });
  try {
    const service = await start();
    process.stdout.write(`${JSON.stringify(service.ready)}\n`);
    const death = await Promise.race([asked, ...(service.died === undefined ? [] : [service.died])]);
    await service.stop();
    if (death instanceof Error) throw death;
  } catch (error) {
    const sentence = error instanceof Error ? error.message : String(error);
    process.stderr.write(
      `vf-scheduler: ${error instanceof SettingsError ? 'bad setting: ' : ''}${sentence}\n`,
    );
    process.exitCode = 1;
  }
}
