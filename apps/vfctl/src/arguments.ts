import { InvalidArgumentError } from 'commander';

/** A whole number, 0 or more. */
export function wholeNumber(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError('It must be a whole number.');
  return Number(text);
}

/** Seconds, a fraction too. */
export function seconds(text: string): number {
  const value = Number(text);
  if (!/^\d+(\.\d+)?$/.test(text) || value <= 0)
    throw new InvalidArgumentError('It must be seconds, above 0.');
  return value;
}

/** What is there. Nothing is not "any" or "none", and hardly what was meant. */
export function notEmpty(text: string): string {
  if (text === '') throw new InvalidArgumentError('It must not be empty.');
  return text;
}

/** Collects what an option is given with, several times or with commas. */
export function several(text: string, before: readonly string[] = []): readonly string[] {
  const parts = text.split(',');
  return [...before, ...parts.map(notEmpty)];
}
