/**
 * The lines of two texts side by side: `[' ', line]` in both, `['-', line]` only before, `['+', line]` only after. Myers' method; texts that
 * share almost nothing are shown as removed and added whole.
 */
const STEPS_MAX = 2000;

export function diff(before, after) {
  const a = before.split('\n');
  const b = after.split('\n');
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head++;
  let tail = 0;
  while (tail < a.length - head && tail < b.length - head && a.at(-1 - tail) === b.at(-1 - tail)) tail++;
  const middle = between(a.slice(head, a.length - tail), b.slice(head, b.length - tail));
  const same = (line) => [' ', line];
  return [...a.slice(0, head).map(same), ...middle, ...a.slice(a.length - tail).map(same)];
}

function between(a, b) {
  const reach = new Map([[1, 0]]);
  const trace = [];
  for (let step = 0; step <= Math.min(a.length + b.length, STEPS_MAX); step++) {
    trace.push(new Map(reach));
    for (let k = -step; k <= step; k += 2) {
      const down = k === -step || (k !== step && reach.get(k - 1) < reach.get(k + 1));
      let x = down ? reach.get(k + 1) : reach.get(k - 1) + 1;
      while (x < a.length && x - k < b.length && a[x] === b[x - k]) x++;
      reach.set(k, x);
      if (x >= a.length && x - k >= b.length) return back(a, b, trace);
    }
  }
  return [...a.map((line) => ['-', line]), ...b.map((line) => ['+', line])];
}

function back(a, b, trace) {
  const lines = [];
  let [x, y] = [a.length, b.length];
  for (let step = trace.length - 1; step >= 0; step--) {
    const reach = trace[step];
    const k = x - y;
    const down = k === -step || (k !== step && reach.get(k - 1) < reach.get(k + 1));
    const from = down ? k + 1 : k - 1;
    const [beforeX, beforeY] = [reach.get(from), reach.get(from) - from];
    while (x > beforeX && y > beforeY) {
      lines.push([' ', a[--x]]);
      y--;
    }
    if (step > 0) lines.push(down ? ['+', b[--y]] : ['-', a[--x]]);
  }
  return lines.reverse();
}

/** The lines of a diff without long parts that are the same: `['…', count]` stands for them. */
export function folded(lines, around = 4) {
  const near = new Array(lines.length).fill(false);
  lines.forEach(([sign], i) => {
    if (sign !== ' ') for (let j = Math.max(0, i - around); j <= Math.min(lines.length - 1, i + around); j++) near[j] = true;
  });
  const shown = [];
  lines.forEach((line, i) => {
    if (near[i]) shown.push(line);
    else if (shown.at(-1)?.[0] === '…') shown.at(-1)[1]++;
    else shown.push(['…', 1]);
  });
  return shown;
}
