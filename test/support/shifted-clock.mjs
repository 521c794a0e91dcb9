/**
 * Loaded before a program (`NODE_OPTIONS=--import=…`): its clock differs from that of the machine by CLOCK_SHIFT_MS milliseconds. Time that
 * passes is as it is, as on a machine whose clock was set wrong.
 */
const shift = Number(process.env.CLOCK_SHIFT_MS ?? 0);
const RealDate = Date;

globalThis.Date = class Date extends RealDate {
  constructor(...parts) {
    if (parts.length === 0) super(RealDate.now() + shift);
    else super(...parts);
  }

  static now() {
    return RealDate.now() + shift;
  }
};
