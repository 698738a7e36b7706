/** Answers with the server's columns of tasks, as views use them: a task is an object, and rows without groups are all tasks in order. */
const known = new WeakMap();

export function readTasks(answer) {
  if (!answer?.tasks) return answer && { ...answer, tasks: [] };
  if (known.has(answer)) return known.get(answer);
  const { ids, labels, groups, group, operators, operator, mapped } = answer.tasks;
  const within = (id, its) => (its && id.startsWith(`${its}.`) ? id.slice(its.length + 1) : id);
  const isMapped = new Set(mapped);
  const tasks = ids.map((task_id, i) => ({
    task_id,
    label: labels[i] ?? within(task_id, groups[group[i]]),
    group: groups[group[i]] ?? null,
    operator: operators[operator[i]],
    is_mapped: isMapped.has(i),
  }));
  const read = { ...answer, tasks, rows: answer.rows ?? tasks.map((_, i) => i) };
  known.set(answer, read);
  return read;
}
