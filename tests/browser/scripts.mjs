// Parts of the page come when they are first shown. Where they do not, since the server is gone or is another one by now, the page says so, and how to go on.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BASE, at, link, run } from './harness.mjs';

const id = await run('shop', { region: 'us' });
const GONE = /could not be loaded: the server does not answer/;
const OTHER = /could not be loaded: the server has another version of the page/;
/** What the browser says of scripts and pages that did not come. */
const SAID = ['Failed to load resource', 'ERR_FAILED', 'preload'];

/** Whether something asked for is a script or a style that comes later, or the page itself: what stands in for a server without them. */
const isPart = (url) => /^\/assets\/(Gantt|Pools|Store|Records|RunChoice|Pages)-/.test(url.pathname) || (url.origin === BASE && url.pathname === '/');

async function gone(page) {
  await page.route(isPart, (route) => route.abort());
}

/** The server after an upgrade: another page, which names other scripts; those of before are not there. */
async function upgraded(page) {
  await page.route(isPart, (route) =>
    new URL(route.request().url()).pathname === '/'
      ? route.fulfill({ contentType: 'text/html', body: '<!doctype html><script type="module" src="/assets/index-other.js"></script>' })
      : route.fulfill({ status: 404, contentType: 'text/plain', body: 'There is no such file.\n' }),
  );
}

for (const [what, breaks, says] of [
  ['the server is gone', gone, GONE],
  ['the server was upgraded', upgraded, OTHER],
]) {
  test(`a view that does not come since ${what} says so, and comes by "Try again"`, async () => {
    await at(
      link('shop', 'grid', { run: id }),
      async (page) => {
        await page.getByRole('rowheader', { name: 'check' }).waitFor();
        await breaks(page);
        await page.getByRole('link', { name: 'Gantt' }).first().click();
        const problem = page.getByRole('alert').filter({ hasText: says });
        await problem.waitFor();
        assert.equal(await page.getByRole('heading', { name: 'shop' }).count(), 1, 'the rest of the page stays');
        if (breaks === gone) {
          await problem.getByRole('button', { name: 'Try again' }).click();
          await page.waitForTimeout(300);
          await problem.waitFor();
        }
        await page.unroute(isPart);
        await problem.getByRole('button', { name: 'Try again' }).click();
        await page.locator('.gantt').waitFor();
        assert.match(page.url(), new RegExp(`gantt.*run=${encodeURIComponent(id).slice(0, 12)}`), 'it is the same place');
      },
      { expected: SAID },
    );
  });

  test(`so does a page, and a tab of a panel, where ${what}`, async () => {
    await at(
      link('shop', 'grid', { run: id, task: 'check' }),
      async (page) => {
        await page.getByRole('heading', { name: 'check' }).waitFor();
        await breaks(page);
        await page.getByRole('link', { name: 'Store' }).click();
        await page.getByRole('alert').filter({ hasText: says }).waitFor();
        await page.getByRole('link', { name: 'Pools' }).click();
        const problem = page.getByRole('alert').filter({ hasText: says });
        await problem.waitFor();
        await page.unroute(isPart);
        await problem.getByRole('button', { name: 'Try again' }).click();
        await page.getByRole('heading', { name: 'Pools' }).waitFor();
      },
      { expected: SAID },
    );
  });
}
