import { board, enc, get, query } from './api.js';

/** What the server takes at once. */
const TASKS_MAX = 500;
const STRETCHES_MAX = 50;
const PAGE = 100;
const AGAIN = 5000;

const ENDED = new Set('sxfuv');
/** What has not begun has no times: nobody is asked for them. */
const begun = (page, task) => page.tries[task] > 0 || page.states[task] === 'r' || page.tasks[task].is_mapped;

/** What changes when a task is at another point: its state and its try. */
const sign = (page, task) => page.states[task] + page.tries[task];
const endedOf = (page, task) => page.mapped[task]?.[1] ?? 0;

/** `0-99,120,7@2000`, as the server reads it. */
function asText(wanted) {
  const parts = [];
  let last = null;
  for (const [task, from] of wanted) {
    if (from) parts.push(`${task}@${from}`);
    else if (last?.[1] === task - 1) last[1] = task;
    else parts.push((last = [task, task]));
  }
  return parts.map((one) => (typeof one === 'string' ? one : one[0] === one[1] ? one[0] : `${one[0]}-${one[1]}`)).join(',');
}

/** Asks for what is wanted, a part at a time, until there is nothing left to ask for. */
class Asking {
  /** Grows with each answer: what reads it is drawn anew. */
  turn = $state(0);
  error = $state.raw(null);
  path = '';
  page = null;
  wanted = [];
  known = new Map();
  #busy = false;
  #timer = 0;

  /** From now on these are wanted of a run, as its latest answer shows it. */
  want(dagId, runId, page, wanted) {
    const path = board('dags', dagId, 'runs', runId);
    if (path !== this.path) this.known = new Map();
    [this.path, this.page, this.wanted] = [path, page, wanted];
    this.again();
  }

  again = async () => {
    clearTimeout(this.#timer);
    if (this.#busy) return;
    this.#busy = true;
    try {
      for (let next = this.next(); next && !document.hidden; next = this.next()) {
        const [known, page] = [this.known, this.page];
        const answer = await get(this.path + next.rest);
        // Another run may be wanted by now, or this one again, of which nothing is known.
        if (known === this.known) next.take(answer, page);
        this.turn++;
      }
      this.error = null;
    } catch (error) {
      this.error = error;
      this.#timer = setTimeout(this.again, AGAIN);
    }
    this.#busy = false;
  };

  /** Ends the asking: the view is gone. */
  end() {
    this.wanted = [];
    clearTimeout(this.#timer);
  }
}

/** What parts of a mapped task come to. */
function together(parts) {
  const starts = parts.map((part) => part.start).filter((at) => at !== null);
  const running = parts.some((part) => part.start !== null && part.end === null);
  const ends = running ? [] : parts.map((part) => part.end).filter((at) => at !== null);
  const message = parts.find((part) => part.message)?.message ?? null;
  return { start: starts.length ? Math.min(...starts) : null, end: ends.length ? Math.max(...ends) : null, message, next: parts.at(-1).next };
}

/** When tasks of a run began and ended, those in sight: asked for as they come into it, and again when they have moved. */
export class Times extends Asking {
  /** `{ start, end, message, upstream }` of a task, in milliseconds since the run began; none before it is known. */
  at(task) {
    void this.turn;
    return this.known.get(task);
  }

  next() {
    const missing = [];
    let stretches = 0;
    let before = -2;
    for (const task of [...new Set(this.wanted)].sort((a, b) => a - b)) {
      const from = this.#from(task);
      if (from === null) continue;
      if (task !== before + 1) stretches++;
      if (missing.length === TASKS_MAX || stretches > STRETCHES_MAX) break;
      before = task;
      missing.push([task, from]);
    }
    return missing.length && { rest: `/times${query({ tasks: asText(missing) })}`, take: (answer, page) => missing.forEach(([task, from]) => this.#take(task, from, answer.tasks[task], page)) };
  }

  /** From which instance on a task is to be asked for, 0 where it is not mapped; null: nothing is missing. */
  #from(task) {
    const { page } = this;
    if (!begun(page, task)) return null;
    const its = this.known.get(task);
    if (its?.sign !== sign(page, task)) return 0;
    if (!its.parts) return null;
    // Instances that had ended were cleared: nothing is as it was.
    if (endedOf(page, task) < its.ended) return 0;
    if (its.next !== null) return its.next;
    // While it runs, what had not ended is looked at again with each answer about the run.
    return its.page === page ? null : (its.parts.find((part) => part.open !== null)?.from ?? null);
  }

  #take(task, from, got, page) {
    const of = { sign: sign(page, task), upstream: got.upstream };
    if (!page.tasks[task].is_mapped) {
      this.known.set(task, { ...got, ...of });
      return;
    }
    const parts = [...(from ? this.known.get(task).parts.filter((part) => part.from < from) : []), { ...got, from }];
    this.known.set(task, { ...together(parts), ...of, parts, page, ended: endedOf(page, task) });
  }
}

/** The instances of mapped tasks, a hundred at a time. */
export class Instances extends Asking {
  /** `{ state, start, end, name }` of an instance; none before it is known. */
  at(task, index) {
    void this.turn;
    const its = this.known.get(`${task}/${Math.floor(index / PAGE)}`)?.answer;
    const at = index % PAGE;
    return its && at < its.states.length ? { state: its.states[at], start: its.start[at], end: its.end[at], name: its.names[at] } : undefined;
  }

  /** `wanted`: pairs of a task and an index. */
  next() {
    for (const [task, index] of this.wanted) {
      const number = Math.floor(index / PAGE);
      const key = `${task}/${number}`;
      const its = this.known.get(key);
      if (its && (its.page === this.page || (its.sign === sign(this.page, task) && ENDED.has(this.page.states[task])))) continue;
      const rest = `/tasks/${enc(this.page.tasks[task].task_id)}/instances${query({ limit: PAGE, offset: number * PAGE })}`;
      return { rest, take: (answer, page) => this.known.set(key, { answer, page, sign: sign(page, task) }) };
    }
    return null;
  }
}
