// Runs of 10,000 task instances, with answers made here: how much is asked for, and how much is in the page. Counts, no times: those are
// measured by paint.mjs, and what the server reads for such answers is counted in shared/api/src/tests/large.rs.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BASE, at, until } from './harness.mjs';

const COUNT = 10_000;
const TAKEN = 500;
const SECOND = 1000;
const base = Date.parse('2026-01-01T00:00:00Z');
const instant = (since) => new Date(base + since).toISOString();
const columns = (ids, mapped) => ({ ids, labels: {}, groups: [], group: [], operators: ['BashOperator'], operator: ids.map(() => 0), mapped });
const began = (n) => n * 10;
const ended = (n) => began(n) + 5 * SECOND;

const SHAPES = {
  large: { tasks: columns(Array.from({ length: COUNT }, (_, n) => `task_${n}`), []), states: 'sfsxs'.repeat(COUNT / 5), tries: Array(COUNT).fill(1), mapped: {} },
  wide: { tasks: columns(['first', 'many', 'last'], [1]), states: 'sss', tries: [1, 0, 1], mapped: { 1: [COUNT, COUNT] } },
};

/** `0-99,7@2000` as pairs of a task and an instance. */
const wanted = (text) =>
  text.split(',').flatMap((part) => {
    const [tasks, from = '0'] = part.split('@');
    const [first, last = first] = tasks.split('-');
    return Array.from({ length: last - first + 1 }, (_, n) => [Number(first) + n, Number(from)]);
  });

function times(shape, url) {
  const asked = wanted(url.searchParams.get('tasks'));
  assert.ok(asked.length <= TAKEN, `${asked.length} tasks are asked for at once`);
  const one = ([task, from]) => {
    if (!(task in shape.mapped)) return [task, { start: began(task), end: ended(task), message: null, upstream: [] }];
    const behind = Math.min(COUNT, from + 2000);
    return [task, { start: began(from), end: ended(behind - 1), message: null, upstream: [0], total: COUNT, next: behind < COUNT ? behind : null, open: null }];
  };
  return { base, tasks: Object.fromEntries(asked.map(one)) };
}

function instances(url) {
  const offset = Number(url.searchParams.get('offset'));
  const numbers = Array.from({ length: 100 }, (_, n) => offset + n);
  return { total: COUNT, base, states: 's'.repeat(100), start: numbers.map(began), end: numbers.map(ended), names: numbers.map(() => null) };
}

function listed(url) {
  const { offset } = Object.fromEntries(url.searchParams);
  const one = (n) => ({ task_id: 'many', map_index: n, state: 'success', start_date: instant(began(n)), end_date: instant(ended(n)), rendered_map_index: null });
  return { total_entries: COUNT, task_instances: Array.from({ length: 100 }, (_, n) => one(Number(offset) + n)) };
}

/** What the board says of `many`, or of an instance of it. */
function task(url) {
  const index = url.searchParams.get('map_index');
  const instance = { ...listed(new URL('http://x/?offset=0')).task_instances[0], map_index: Number(index ?? -1) };
  const definition = { is_mapped: true, arguments: {}, template_fields: [] };
  return { instance, tries: [], message: null, run: {}, ready: null, definition, upstream: [], downstream: [], attempts: [], reasons: [] };
}

/** Counts from here. */
function anew(asked) {
  asked.length = 0;
  asked.from = Date.now();
}

/** Opens a page to which the DAG `shop` has such a run, and counts what is asked for. */
async function looking(name, what) {
  const shape = SHAPES[name];
  const facts = { run_type: 'manual', state: 'success', run_after: instant(0), start_date: instant(0), end_date: instant(ended(COUNT)) };
  const small = await (await fetch(`${BASE}/api/updraft/v1/dags/shop/grid?limit=1`)).json();
  const run = { run_id: name, ...facts, states: shape.states, tries: {}, mapped: shape.mapped, is_other_version: false };
  const answers = [
    [/\/shop\/grid$/, () => ({ ...small, tasks: shape.tasks, rows: null, runs: [run] })],
    [/\/times$/, (url) => times(shape, url)],
    [/\/many\/instances$/, instances],
    [/\/many\/listMapped$/, listed],
    [/\/tasks\/many$/, task],
    [new RegExp(`/runs/${name}$`), () => ({ run: { ...facts, dag_run_id: name, conf: {} }, rows: null, base, ...shape })],
  ];
  const asked = [];
  await at('#/home', async (page) => {
    await page.getByText('Server healthy').waitFor();
    await page.route(
      (url) => url.pathname.includes('/dags/shop/'),
      (route) => {
        const url = new URL(route.request().url());
        const [, answer] = answers.find(([path]) => path.test(url.pathname)) ?? [];
        if (!answer) return route.continue();
        const body = JSON.stringify(answer(url));
        asked.push({ path: url.pathname + url.search, bytes: body.length });
        return route.fulfill({ contentType: 'application/json', body });
      },
    );
    /** Goes to a view, and says how often each thing was asked for until it stood. */
    const open = async (view, sign) => {
      anew(asked);
      await page.evaluate((hash) => (location.hash = hash), `#/dags/shop/${view}`);
      await page.locator(sign).first().waitFor();
      await few(page);
    };
    await what(page, open, asked);
  });
}

/** However long a list is, its rows in the page are some dozens, and all elements some hundreds. */
async function few(page) {
  const { rows, all } = await page.evaluate(() => ({ rows: document.querySelectorAll('tbody tr, [role=listitem]').length, all: document.querySelectorAll('*').length }));
  assert.ok(rows <= 150, `${rows} rows are in the page`);
  assert.ok(all < 2500, `${all} elements are in the page`);
}

const of = (asked, kind) => asked.filter((one) => one.path.includes(kind));

/** Scrolls to the end in steps, a frame each. */
const scroll = (box) =>
  box.evaluate(async (element) => {
    for (let step = 1; step <= 60; step++) {
      element.scrollTop = (element.scrollHeight * step) / 60;
      await new Promise(requestAnimationFrame);
    }
  });

/** What was asked for is little, and so is each answer but those about the whole run. Views look again every few seconds: that may be more. */
function bounded(asked, most) {
  const looks = ((Date.now() - asked.from) / SECOND) * 1.5;
  assert.ok(asked.length <= most + looks, `${asked.length} requests, ${most} at most: ${asked.map((one) => one.path).join('\n')}`);
  for (const { path, bytes } of asked) {
    const whole = /grid\?|runs\/[a-z]+$/.test(path);
    assert.ok(bytes <= (whole ? 300_000 : 50_000), `${path} was answered with ${bytes} bytes`);
  }
}

test('a run of 10,000 tasks: only what is in sight is asked for and in the page', async () => {
  await looking('large', async (page, open, asked) => {
    await open('grid', 'td a.sign');
    const grid = page.getByRole('region', { name: 'Runs and tasks' });
    await scroll(grid);
    await page.getByRole('rowheader', { name: 'task_9999' }).waitFor();
    await few(page);
    bounded(asked, 3);
    await open('grid?run=large', '.side .task');
    await page.locator('.side .task', { hasText: 'task_0' }).first().getByText('5.0 s').waitFor();
    assert.ok(of(asked, '/times').length <= 2);
    bounded(asked, 5);
    await scroll(page.locator('.side .box'));
    await page.locator('.side .task', { hasText: 'task_9999' }).getByText('5.0 s').waitFor();
    await few(page);
    bounded(asked, 70);
    anew(asked);
    await page.getByLabel('Find a task').fill('777');
    await page.getByRole('link', { name: /task_7777 / }).getByText('5.0 s').waitFor();
    bounded(asked, 6);
    await open('gantt?run=large', '.gantt .runs');
    await page.locator('.gantt .line', { hasText: 'task_3' }).first().getByText('5.0 s').waitFor();
    bounded(asked, 8);
    await scroll(page.locator('.gantt .box'));
    await page.locator('.gantt .line', { hasText: 'task_9999' }).locator('.runs').waitFor();
    await few(page);
    bounded(asked, 80);
  });
});

test('a mapped task of 10,000 instances is one bar, and unfolds page by page', async () => {
  await looking('wide', async (page, open, asked) => {
    await open('grid?run=wide', '.side .task');
    bounded(asked, 10);
    await open('gantt?run=wide', '.gantt .runs');
    const bar = page.locator('.gantt .line', { hasText: 'many' }).locator('.runs');
    const whole = `many: success, 1 min 44 s`;
    await until('the bar is whole', async () => (await bar.first().getAttribute('title')) === whole);
    // By the chart and by the panel of the run beside it: the instances in five parts, and what is before and behind them.
    const parts = of(asked, '/times').length;
    assert.ok(parts <= 13, `${parts} requests for times`);
    bounded(asked, 20);
    anew(asked);
    await page.getByRole('button', { name: 'Instances of many' }).click();
    await page.locator('.gantt .line', { hasText: '[3]' }).locator('.runs').waitFor();
    await few(page);
    assert.ok(of(asked, '/instances').length <= 2);
    await scroll(page.locator('.gantt .box'));
    await page.locator('.gantt .line', { hasText: '[9999]' }).locator('.runs').waitFor();
    await few(page);
    bounded(asked, 70);
    const href = await page.locator('.gantt .line', { hasText: '[9999]' }).getByRole('link').getAttribute('href');
    assert.match(href, /task=many&map=9999/);
  });
});

test('the list of 10,000 instances asks for those in sight', async () => {
  await looking('wide', async (page, open, asked) => {
    await open('grid?run=wide&task=many', '.side .one a');
    bounded(asked, 6);
    await scroll(page.locator('.side .box'));
    await page.locator('.side .one', { hasText: '[9999]' }).waitFor();
    await few(page);
    bounded(asked, 140);
  });
});
