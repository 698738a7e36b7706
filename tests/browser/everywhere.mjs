// What holds for every view: no serious finding of axe, in light and dark; nothing scrolls sideways on a phone; few requests.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { api, at, grave, link, run, until } from './harness.mjs';

const id = await run('shop', { region: 'us' });
const asking = await run('ask', {}, false);
const fan = await run('fan');
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
};

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
        // A cell that is squeezed has its words one letter below the other.
        const squeezed = await page.evaluate(() => [...document.querySelectorAll('table.list td')].filter((td) => td.clientWidth > 0 && td.clientWidth < 40 && td.clientHeight > 100).map((td) => td.textContent));
        assert.deepEqual(squeezed, [], name);
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
