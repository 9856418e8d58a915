// Timing in turns: how fine the clock is, when a network is warm, and how long it takes in a block of runs.

/** Steps of the clock that a part of a block takes at least: a hundredth is the error of a reading. */
const STEPS = 100;
/** A part that takes longer is a block of its own: nothing that interrupts it for a moment matters. */
const SLOW_MS = 300;

/** Milliseconds between two readings of the clock that differ; browsers round it to hide what pages could spy on. */
export function resolution() {
  let finest = Number.POSITIVE_INFINITY;
  const until = performance.now() + 12;
  for (let before = performance.now(), now = before; now < until; before = now) {
    do now = performance.now();
    while (now === before);
    finest = Math.min(finest, now - before);
  }
  return finest;
}

export const quantile = (values, share) => [...values].sort((a, b) => a - b)[Math.floor((values.length - 1) * share)];

/** Milliseconds of one of `count` runs. */
export async function timed(run, count) {
  const begun = performance.now();
  for (let i = 0; i < count; i++) await run();
  return (performance.now() - begun) / count;
}

/** Runs until the last five blocks are as fast as the five before (within 5 %); gives how a block is then timed. */
export async function warmUp(run, finest, longestMs, blockMs) {
  const first = Math.max(await timed(run, 1), 1e-3);
  let inner = Math.max(1, Math.ceil((STEPS * finest) / first));
  const seen = [];
  const until = performance.now() + longestMs;
  while (performance.now() < until) {
    seen.push(await timed(run, inner));
    const n = seen.length;
    if (n >= 10 && quantile(seen.slice(n - 5), 0.5) > 0.95 * quantile(seen.slice(n - 10, n - 5), 0.5)) break;
  }
  const ms = Math.max(quantile(seen.slice(-5), 0.5) || first, 1e-3);
  inner = Math.max(1, Math.ceil((STEPS * finest) / ms));
  return { inner, outer: Math.max(inner * ms > SLOW_MS ? 1 : 3, Math.min(40, Math.round(blockMs / (inner * ms)))) };
}

/** Milliseconds of one run: the lower quartile of the parts of a block, since what interrupts a part does not count. */
export async function block(run, { inner, outer }) {
  const parts = [];
  for (let i = 0; i < outer; i++) parts.push(await timed(run, inner));
  return quantile(parts, 0.25);
}

export function shuffled(count) {
  const order = [...Array(count).keys()];
  for (let i = count - 1; i > 0; i--) {
    const k = Math.floor(Math.random() * (i + 1));
    [order[i], order[k]] = [order[k], order[i]];
  }
  return order;
}
