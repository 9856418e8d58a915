// Where a value lies on a slider, and what it means there. The slider moves along `stops` where there are such, as for
// learning rates, and evenly between its ends otherwise; of a rule such as `macs:0.5` it moves the number.
/**
 * @param {Pick<View.Control, "low" | "high" | "step" | "stops" | "prefix">} control
 * @returns {{ ends: { min: number, max: number, step: number }, place: (text: string) => number | null, value: (place: number) => number | string }}
 */
export function track({ low, high, step, stops, prefix }) {
  const [from, to] = stops.length ? [stops[0], stops[stops.length - 1]] : [low ?? NaN, high ?? NaN];
  /** @param {number} value */
  const nearest = (value) => stops.reduce((best, one, n) => (Math.abs(one - value) < Math.abs(stops[best] - value) ? n : best), 0);
  return {
    ends: stops.length ? { min: 0, max: stops.length - 1, step: 1 } : { min: from, max: to, step },
    // null: this value is not on the slider
    place: (text) => {
      const value = text.startsWith(prefix) && text !== prefix ? Number(text.slice(prefix.length)) : NaN;
      return value >= from && value <= to ? (stops.length ? nearest(value) : value) : null;
    },
    value: (place) => (stops.length ? stops[place] : prefix ? prefix + place : place),
  };
}
