/** One measured figure. */
export interface Figure {
  readonly figure: string;
  readonly value: number;
  readonly unit: string;
  /** What benchmarks ask for, in words; absent for a figure that only stands beside another. */
  readonly goal?: string;
}
