/** The rows of a grid: tasks and groups in the server's order, without what is inside folded groups. */
export function gridRows({ tasks, rows }, folded) {
  const shown = [];
  const depthOf = new Map();
  let hiddenBelow = Infinity;
  for (const row of rows) {
    if (Array.isArray(row)) {
      const [id, label, depth, members] = row;
      depthOf.set(id, depth + 1);
      if (depth > hiddenBelow) continue;
      hiddenBelow = folded.has(id) ? depth : Infinity;
      shown.push({ id, label, depth, tasks: members, folded: folded.has(id) });
    } else {
      const task = tasks[row];
      const depth = task.group ? (depthOf.get(task.group) ?? 0) : 0;
      if (depth > hiddenBelow) continue;
      hiddenBelow = Infinity;
      shown.push({ id: task.task_id, label: task.label, depth, task: row, operator: task.operator, isMapped: task.is_mapped });
    }
  }
  return shown;
}
