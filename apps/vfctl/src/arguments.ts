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

/** Collects what an option is given with, several times or with commas. */
export function several(text: string, before: readonly string[] = []): readonly string[] {
  const parts = text.split(',');
  // Nothing is not "none of them", and hardly what was meant.
  if (parts.includes('')) throw new InvalidArgumentError('It must not be empty.');
  return [...before, ...parts];
}
