// How long a run of 10,000 task instances takes from the click to the picture, and how evenly it scrolls. Not a test: times depend on the machine.
//
//   updraft standalone --no-auth --dags DIR --port 8080
//   BASE=http://127.0.0.1:8080 DAGS=DIR node paint.mjs
//
// Makes two DAGs in DIR, unless they are there, and a run of each: 10,000 tasks, and one task mapped to 10,000 instances, each of which starts a
// process: some twenty seconds for each run by a release build.
import { existsSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { BASE, DAGS, api, browser, link, run, until } from './harness.mjs';

const TIMES = Number(process.env.TIMES ?? 11);
const COUNT = 10_000;
const head = (id) => `${id}:\n  schedule: null\n  start_date: 2026-01-01\n  tasks:\n`;
const tasks = Array.from({ length: COUNT }, (_, i) => `    task_${i}: {operator: BashOperator, bash_command: "true"${i < 100 ? '' : `, dependencies: [task_${i - 100}]`}}\n`);
const FILES = {
  paint_large: head('paint_large') + tasks.join(''),
  paint_wide: `${head('paint_wide')}    many:\n      operator: BashOperator\n      expand:\n        bash_command: [${Array(100).fill('"true"')}]\n        env: [${Array.from({ length: 100 }, (_, i) => `{N: "${i}"}`)}]\n`,
};

const ofNumbers = (numbers) => {
  const sorted = [...numbers].sort((a, b) => a - b);
  const at = (part) => Math.round(sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))]);
  return `min ${at(0)}, median ${at(0.5)}, nine of ten within ${at(0.9)} ms`;
};

async function latest(dagId) {
  if (!existsSync(`${DAGS}/${dagId}.yaml`)) await writeFile(`${DAGS}/${dagId}.yaml`, FILES[dagId]);
  await until(`${dagId} is read`, () => fetch(`${BASE}/api/v2/dags/${dagId}`).then((answer) => answer.ok), 60_000);
  const runs = () => api(`/api/v2/dags/${dagId}/dagRuns?order_by=-run_after&limit=1`);
  if ((await runs()).total_entries === 0) await run(dagId, {}, false);
  await until(`the run of ${dagId} ends`, async () => (await runs()).dag_runs[0].end_date, 1_800_000);
  return (await runs()).dag_runs[0].dag_run_id;
}

const page = await (await browser.newContext({ viewport: { width: 1440, height: 900 } })).newPage();
page.setDefaultTimeout(60_000);

/** From the new address to the frame after the one that has what is looked for. */
const opened = (hash, sign) =>
  page.evaluate(
    ([hash, sign]) =>
      new Promise((done) => {
        const from = performance.now();
        location.hash = hash;
        const look = () => (document.querySelector(sign) ? requestAnimationFrame(() => setTimeout(() => done(performance.now() - from))) : requestAnimationFrame(look));
        look();
      }),
    [hash, sign],
  );

async function measure(name, hash, sign) {
  const took = [];
  for (let i = 0; i < TIMES; i++) {
    await page.evaluate(() => (location.hash = '#/home'));
    await page.getByText('Server healthy').waitFor();
    await page.waitForTimeout(200);
    took.push(await opened(hash, sign));
  }
  const elements = await page.evaluate(() => document.querySelectorAll('*').length);
  console.log(`${name}: ${ofNumbers(took)}, ${elements} elements`);
}

async function scroll(name, selector) {
  const frames = await page.locator(selector).first().evaluate(async (box) => {
    const took = [];
    let last = performance.now();
    for (let i = 0; i < 120; i++) {
      box.scrollTop = (box.scrollHeight * i) / 120;
      await new Promise(requestAnimationFrame);
      took.push(performance.now() - last);
      last = performance.now();
    }
    return took;
  });
  console.log(`${name}: frames ${ofNumbers(frames)}`);
}

try {
  const [large, wide] = [await latest('paint_large'), await latest('paint_wide')];
  await page.goto(`${BASE}/#/home`);
  await measure('grid of 10,000 tasks', link('paint_large', 'grid'), 'td a.sign');
  await scroll('  scrolling it', 'section.grid');
  await measure('run of 10,000 tasks', link('paint_large', 'grid', { run: large }), '.side .task');
  await scroll('  scrolling it', '.side .box');
  await measure('Gantt of 10,000 tasks', link('paint_large', 'gantt', { run: large }), '.gantt .runs');
  await scroll('  scrolling it', '.gantt .box');
  await measure('run with 10,000 instances', link('paint_wide', 'grid', { run: wide }), '.side .task');
  await measure('Gantt with 10,000 instances', link('paint_wide', 'gantt', { run: wide }), '.gantt .runs');
  await page.getByRole('button', { name: 'Instances of many' }).click();
  await scroll('  unfolded, scrolling it', '.gantt .box');
  await measure('mapped task of 10,000 instances', link('paint_wide', 'grid', { run: wide, task: 'many' }), '.side .one a');
  await scroll('  scrolling it', '.side .box');
  await measure('one of 10,000 instances', link('paint_wide', 'grid', { run: wide, task: 'many', map: 7777 }), '.side [role=log], .side pre');
} finally {
  if (process.env.TIDY) await Promise.all(Object.keys(FILES).map((id) => rm(`${DAGS}/${id}.yaml`, { force: true })));
  await browser.close();
}
