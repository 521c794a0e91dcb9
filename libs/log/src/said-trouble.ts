/** How often a trouble that lasts is said again, in milliseconds. */
const SAY_AGAIN = 60_000;

/** Says a trouble that comes again and again at its first time, when it changes, and once a minute. */
export class SaidTrouble {
  private said: { readonly message: string; readonly at: number } | undefined;

  /** @param now milliseconds, by any clock. @returns whether it is to be said now. */
  isNews(message: string, now: number): boolean {
    const { said } = this;
    // A clock that was set back must not keep it silent until it has caught up.
    if (said?.message === message && now >= said.at && now - said.at < SAY_AGAIN) return false;
    this.said = { message, at: now };
    return true;
  }

  /** It is over: the same is news again. */
  forget(): void {
    this.said = undefined;
  }
}
