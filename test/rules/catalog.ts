import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../contract/root.js';

/** How a test proves a rule: see CONTRIBUTING.md. */
export const KINDS = ['acts', 'refuses', 'quiet'] as const;
export type Kind = (typeof KINDS)[number];

export interface Rule {
  readonly id: string;
  readonly text: string;
  /** Keys of the sources. */
  readonly from: readonly string[];
  /** Why there can be no test of a kind. */
  readonly without?: Readonly<Partial<Record<Kind, string>>>;
}

export interface Catalog {
  readonly sources: Readonly<Record<string, string>>;
  readonly groups: readonly { readonly title: string; readonly rules: readonly Rule[] }[];
}

export const CATALOG_FILE = 'docs/reference/rules-catalog.json';
export const DOCUMENT_FILE = 'docs/rules.md';

export const readCatalog = (): Catalog =>
  JSON.parse(readFileSync(join(ROOT, CATALOG_FILE), 'utf8')) as Catalog;

export const rulesOf = ({ groups }: Catalog): readonly Rule[] => groups.flatMap(({ rules }) => rules);
