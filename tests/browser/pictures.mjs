// Takes the pictures of the READMEs anew: docs/images/*.webp.
//
//   updraft standalone --no-auth --dags tests/browser/pictures --home DIR --port 8080
//   BASE=http://127.0.0.1:8080 node pictures.mjs          # with TO=DIR into another folder, as PNG too
//
// Makes a past for the DAGs first, unless they have one: a backfill, runs by hand, a pool, variables.
import { mkdir, writeFile } from 'node:fs/promises';
import { BASE, api, browser, link, run, until } from './harness.mjs';

const TO = process.env.TO ?? new URL('../../docs/images', import.meta.url).pathname;
const DAY = 86_400_000;
const runs = (dagId, filter = '') => api(`/api/v2/dags/${dagId}/dagRuns?limit=100&order_by=-run_after${filter}`);
const day = (ago) => new Date(Date.now() - ago * DAY).toISOString().slice(0, 10);

async function past() {
  if ((await runs('orders_daily')).total_entries < 10) {
    await api('/api/v2/backfills', 'POST', { dag_id: 'orders_daily', from_date: `${day(23)}T00:00:00Z`, to_date: `${day(1)}T00:00:00Z`, max_active_runs: 4 });
    await run('invoices_monthly', {}, false);
    for (let n = 0; n < 6; n++) await run('web_events');
    for (const dagId of ['partner_feeds', 'backup_warehouse']) await run(dagId);
    await api('/api/v2/pools', 'POST', { name: 'warehouse', slots: 8, description: 'What the warehouse takes at once' });
    await api('/api/v2/variables', 'POST', { key: 'region', value: 'eu', description: 'Where the shop is' });
    await api('/api/v2/connections', 'POST', { connection_id: 'warehouse', conn_type: 'postgres', host: 'warehouse.example', port: 5432 });
  }
  await until('the past is over', async () => (await runs('orders_daily')).dag_runs.every((one) => one.end_date), 300_000);
  const failed = (await runs('orders_daily', '&state=failed')).dag_runs[0].dag_run_id;
  await run('backup_warehouse', { region: 'us' }, false);
  return failed;
}

/** One picture: of a page, or of several side by side. */
async function picture(name, shots, { width, height, gap = 0 }) {
  const images = shots.map((one) => `<img width="${width}" height="${height}" src="data:image/png;base64,${one.toString('base64')}">`);
  const page = await (await browser.newContext({ viewport: { width: width * shots.length + gap * (shots.length - 1), height }, deviceScaleFactor: 1 })).newPage();
  await page.setContent(`<body style="margin:0;display:flex;gap:${gap}px">${images.join('')}`);
  const bytes = await page.evaluate(async () => {
    const all = [...document.images];
    await Promise.all(all.map((one) => one.decode()));
    const scale = all[0].naturalWidth / all[0].width;
    const canvas = new OffscreenCanvas(innerWidth * scale, innerHeight * scale);
    for (const one of all) canvas.getContext('2d').drawImage(one, one.offsetLeft * scale, one.offsetTop * scale);
    const blob = await canvas.convertToBlob({ type: 'image/webp', quality: 0.75 });
    return [...new Uint8Array(await blob.arrayBuffer())];
  });
  await writeFile(`${TO}/${name}.webp`, Buffer.from(bytes));
  if (process.env.TO) await Promise.all(shots.map((one, n) => writeFile(`${TO}/${name}-${n}.png`, one)));
  await page.context().close();
}

/** What a page shows after a while, with something done in it first. */
async function shot(hash, { width, height, dark = false, scale = 1.25, done = async () => {} }) {
  const context = await browser.newContext({ viewport: { width, height }, deviceScaleFactor: scale, colorScheme: dark ? 'dark' : 'light', reducedMotion: 'reduce' });
  const page = await context.newPage();
  await page.goto(`${BASE}/${hash}`);
  await page.locator('main').waitFor();
  await until('nothing loads', async () => (await page.locator('main .loading').count()) === 0);
  await done(page);
  await page.waitForTimeout(1200);
  const image = await page.screenshot();
  await context.close();
  return image;
}

try {
  await mkdir(TO, { recursive: true });
  const failed = await past();
  const wide = { width: 1440, height: 900 };
  const small = { width: 390, height: 844 };
  const task = link('orders_daily', 'grid', { run: failed, task: 'quality.totals_match' });
  const trigger = async (page) => {
    await page.getByRole('button', { name: 'Trigger', exact: true }).click();
    await page.getByRole('dialog').getByText('What happens').waitFor();
  };
  const WIDE = {
    grid: [task],
    graph: [link('orders_daily', 'graph', { run: failed }), { dark: true }],
    gantt: [link('orders_daily', 'gantt', { run: failed }), { dark: true }],
    home: ['#/home'],
    approvals: ['#/approvals'],
    audit: ['#/audit'],
    trigger: ['#/dags/backup_warehouse', { done: trigger }],
  };
  for (const [name, [hash, more]] of Object.entries(WIDE)) await picture(name, [await shot(hash, { ...wide, ...more })], wide);
  const phone = [];
  for (const [hash, dark] of [['#/home', false], [task, false], ['#/approvals', false], ['#/dags/orders_daily', true]]) phone.push(await shot(hash, { ...small, dark }));
  await picture('phone', phone, { ...small, gap: 12 });
} finally {
  await browser.close();
}
