// What holds for every view: no serious finding of axe, in light and dark; nothing scrolls sideways on a phone; few requests.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { api, at, grave, link, run, until } from './harness.mjs';

const id = await run('shop', { region: 'us' });
const asking = await run('ask', {}, false);
const fan = await run('fan');
// Names, values and lines as long as people make them.
const LONG = 'finance_quarterly_revenue_recognition.customer_lifetime_value-aggregation_pipeline_v2';
const GROUP = 'extract_from_the_source_systems_of_the_european_subsidiaries';
const DEEP = `${GROUP}.download_invoices_from_the_ledger_and_validate_checksums_against_manifest`;
const long = await run(LONG);
const make = (path, body) => api(path, 'POST', body).catch((error) => assert.match(error.message, /already exists/));
await make('/api/v2/variables', { key: 'a_variable_of.the_finance-department_for_reporting_and_forecasts', value: JSON.stringify({ rows: [1, 2, 3], key: 'x'.repeat(200) }), description: 'Read by nobody, and long.' });
await make('/api/v2/connections', { connection_id: 'warehouse_production_eu_central_1_read_only', conn_type: 'snowflake', host: 'https://xy12345.eu-central-1.privatelink.warehouse.example', login: 'service_data_platform' });
const VIEWS = {
  home: '#/home',
  dags: '#/dags',
  'all runs': '#/runs',
  'all task instances': '#/instances',
  'all XComs': '#/xcoms',
  server: '#/server',
  grid: link('shop', 'grid'),
  run: link('shop', 'grid', { run: id }),
  group: link('shop', 'grid', { run: id, group: 'extract' }),
  'events of a run': link('shop', 'grid', { run: id, tab: 'events' }),
  'assets of a run': link('shop', 'grid', { run: id, tab: 'assets' }),
  'events of a task': link('shop', 'grid', { run: id, task: 'check', tab: 'events' }),
  store: link('shop', 'grid', { run: id, task: 'check', tab: 'store' }),
  tasks: link('shop', 'tasks'),
  'a task in all runs': link('shop', 'tasks', { of: 'check' }),
  'run details': link('shop', 'grid', { run: id, tab: 'details' }),
  log: link('shop', 'grid', { run: id, task: 'check' }),
  xcoms: link('shop', 'grid', { run: id, task: 'extract.orders', tab: 'xcoms' }),
  rendered: link('shop', 'grid', { run: id, task: 'extract.orders', tab: 'rendered' }),
  tries: link('shop', 'grid', { run: id, task: 'check', tab: 'tries' }),
  cost: link('shop', 'grid', { run: id, tab: 'cost' }),
  instances: link('fan', 'grid', { run: fan, task: 'each' }),
  'an instance': link('fan', 'grid', { run: fan, task: 'each', map: 2 }),
  approvals: '#/approvals',
  question: link('ask', 'grid', { run: asking, task: 'sign_off' }),
  timing: link('shop', 'grid', { run: id, task: 'check', tab: 'timing' }),
  task: link('shop', 'grid', { run: id, task: 'check', tab: 'task' }),
  graph: link('shop', 'graph', { run: id }),
  gantt: link('shop', 'gantt', { run: id }),
  runs: link('shop', 'runs'),
  calendar: link('shop', 'calendar'),
  durations: link('shop', 'durations'),
  details: link('shop', 'details'),
  pools: '#/pools',
  variables: '#/variables',
  connections: '#/connections',
  errors: '#/errors',
  users: '#/users',
  audit: '#/audit',
  assets: '#/assets',
  'an asset': `#/assets?asset=${(await api('/api/v2/assets')).assets[0].id}`,
  source: link('shop', 'source'),
  events: link('shop', 'events'),
  'assets of a DAG': link('baker', 'assets'),
  backfills: link('baker', 'backfills'),
  'a long run': link(LONG, 'grid', { run: long }),
  'a long group': link(LONG, 'grid', { run: long, group: GROUP }),
  'a long task': link(LONG, 'grid', { run: long, task: DEEP }),
  'long tasks': link(LONG, 'tasks'),
  'long runs': link(LONG, 'runs'),
  'long details': link(LONG, 'details'),
  'long Gantt': link(LONG, 'gantt', { run: long }),
  'a long graph': link(LONG, 'graph', { run: long }),
};
/** What stands one letter below the other, since something beside it took its room. */
const squeezed = (page) =>
  page.evaluate(() => {
    const isSqueezed = (box) => {
      const range = document.createRange();
      range.selectNodeContents(box);
      const { width, height } = range.getBoundingClientRect();
      return width > 0 && width < 60 && height > 90;
    };
    return [...document.querySelectorAll('table.list td, h1, h2, h3, dd, main li')].filter((box) => box.textContent.trim() && isSqueezed(box)).map((box) => box.textContent);
  });
/** Words that are cut in their midst although a separator was near: two lines of which the first ends with a letter and the second begins with one. */
const torn = (page) =>
  page.evaluate(() => {
    const found = [];
    for (const box of document.querySelectorAll('main .break, main td, main h1, main h2, main h3')) {
      if (box.closest('pre, .value, .log')) continue;
      const walker = document.createTreeWalker(box, NodeFilter.SHOW_TEXT);
      for (let node = walker.nextNode(); node; node = walker.nextNode()) {
        const words = node.data.matchAll(/[A-Za-z]{2,24}/g);
        for (const { 0: word, index } of words) {
          const range = document.createRange();
          range.setStart(node, index);
          range.setEnd(node, index + word.length);
          const tops = new Set([...range.getClientRects()].filter((one) => one.width > 0).map((one) => Math.round(one.top)));
          if (tops.size > 1) found.push(word);
        }
      }
    }
    return found;
  });

const settled = (page) => until('the view is there', async () => (await page.locator('main').count()) && !(await page.locator('main .loading').count()));

for (const dark of [false, true]) {
  test(`axe finds nothing serious, ${dark ? 'dark' : 'light'}`, async () => {
    await at(
      '#/home',
      async (page) => {
        const found = {};
        for (const [name, hash] of Object.entries(VIEWS)) {
          await page.evaluate((to) => (location.hash = to), hash);
          await page.waitForTimeout(250);
          await settled(page);
          // What is dark differs in its colours alone.
          const list = await grave(page, dark ? ['color-contrast'] : undefined);
          if (list.length) found[name] = list;
        }
        assert.deepEqual(found, {});
        await page.evaluate((to) => (location.hash = to), VIEWS.grid);
        await page.getByRole('button', { name: 'Trigger', exact: true }).click();
        await page.getByRole('dialog').getByLabel('Region').waitFor();
        assert.deepEqual(await grave(page), [], 'the form to trigger a run');
      },
      { dark, still: true },
    );
  });
}

test('on a phone nothing scrolls sideways, everything is in reach, and axe finds nothing serious', async () => {
  await at(
    '#/home',
    async (page) => {
      const found = {};
      for (const [name, hash] of Object.entries(VIEWS)) {
        await page.evaluate((to) => (location.hash = to), hash);
        await page.waitForTimeout(150);
        await settled(page);
        const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.ok(over <= 0, `${name} is ${over} px too wide`);
        assert.deepEqual([await squeezed(page), await torn(page)], [[], []], name);
        const list = await grave(page);
        if (list.length) found[name] = list;
      }
      assert.deepEqual(found, {});
      await page.getByRole('button', { name: 'More' }).click();
      await page.getByRole('link', { name: 'Connections' }).click();
      await page.getByRole('heading', { name: 'Connections' }).waitFor();
    },
    { width: 390, height: 844 },
  );
});

test('however long names are, no word is torn, no cell squeezed, and no table wider than the page', async () => {
  await at('#/home', async (page) => {
    for (const [name, hash] of Object.entries(VIEWS)) {
      await page.evaluate((to) => (location.hash = to), hash);
      await page.waitForTimeout(150);
      await settled(page);
      const wide = await page.evaluate(() => [...document.querySelectorAll('main .scroll')].filter((box) => box.scrollWidth > box.clientWidth).map((box) => box.textContent.slice(0, 80)));
      assert.deepEqual([await squeezed(page), await torn(page), wide], [[], [], []], name);
    }
  });
});

test('a view makes few requests, and none where nobody looks', async () => {
  await at(VIEWS.grid, async (page) => {
    let count = 0;
    page.on('request', (request) => request.url().includes('/api/') && count++);
    await settled(page);
    count = 0;
    await page.waitForTimeout(6000);
    assert.ok(count >= 1 && count <= 4, `${count} requests in six seconds`);
    await page.evaluate(() => {
      Object.defineProperty(document, 'hidden', { get: () => true });
    });
    await page.waitForTimeout(1000);
    count = 0;
    await page.waitForTimeout(6000);
    assert.equal(count, 0);
  });
});

test('what has not changed is not sent again', async () => {
  const path = `${process.env.BASE}/api/updraft/v1/dags/shop/history`;
  const first = await fetch(path);
  const again = await fetch(path, { headers: { 'If-None-Match': first.headers.get('etag') } });
  assert.deepEqual([first.status, again.status, (await again.text()).length], [200, 304, 0]);
});

test('who wishes no motion sees none', async () => {
  await run('slow', {}, false);
  for (const still of [true, false]) {
    await at(
      '#/dags/slow',
      async (page) => {
        const cell = page.locator('.pulse').first();
        await cell.waitFor();
        const name = await cell.evaluate((element) => getComputedStyle(element).animationName);
        assert.equal(name === 'none', still, name);
      },
      { still },
    );
  }
});

test('colours follow the choice, and times the zone', async () => {
  await at('#/dags/shop/details', async (page) => {
    const ground = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
    const before = await ground();
    await page.getByRole('button', { name: 'As the system' }).click();
    await page.getByRole('button', { name: 'Light' }).click();
    await page.getByRole('button', { name: 'Dark' }).waitFor();
    assert.notEqual(await ground(), before);
    await page.getByRole('button', { name: 'Local time' }).click();
    await page.getByText(/UTC$/).first().waitFor();
    await page.reload();
    await page.getByRole('button', { name: 'Dark' }).waitFor();
    await page.getByRole('button', { name: 'UTC' }).waitFor();
  });
});
