// Numbers as they are read.

/** @param {number} value Four digits of it. */
export const digits = (value) => Number(value.toPrecision(4)).toLocaleString("en", { maximumSignificantDigits: 4 });

/** @param {number} share In [0, 1]. */
export const percent = (share) => `${Math.round(100 * share)} %`;

/** @param {number} seconds */
export const duration = (seconds) => {
  const whole = Math.max(0, Math.floor(seconds));
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${whole % 60} s`;
};

// What is left is known roughly: to five seconds, or to the minute.
/** @param {number} seconds */
export const about = (seconds) => {
  if (seconds < 10) return "a few seconds";
  return seconds < 55 ? `about ${5 * Math.ceil(seconds / 5)} s` : `about ${Math.ceil(seconds / 60)} min`;
};
