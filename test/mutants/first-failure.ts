import { writeFileSync } from 'node:fs';
import { basename } from 'node:path';

interface FileResult {
  readonly testFilePath: string;
  readonly failureMessage?: string | null;
  readonly testResults: readonly { readonly status: string; readonly fullName: string }[];
}

/**
 * A reporter of jest that writes down which test failed first: with `--bail` jest ends before it writes its
 * own report.
 */
export default class FirstFailure {
  private tests = 0;
  private found = false;

  onTestResult(_test: unknown, { testFilePath, testResults, failureMessage }: FileResult): void {
    this.tests += testResults.length;
    const failed = testResults.find(({ status }) => status === 'failed');
    if (this.found || (failed === undefined && (failureMessage ?? '') === '')) return;
    this.found = true;
    const why = failed?.fullName ?? failureMessage?.split('\n').find((line) => line.trim() !== '');
    this.write(`${basename(testFilePath)}: ${why?.trim()}`);
  }

  onRunComplete(): void {
    if (!this.found) this.write(`${this.tests}`);
  }

  private write(text: string): void {
    const file = process.env['VF_FIRST_FAILURE'];
    if (file !== undefined) writeFileSync(file, text);
  }
}
