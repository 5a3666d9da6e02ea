// Tests of the status page in a browser. PAGE is its address, MODULES the folder of playwright-core and axe-core, CHROMIUM the
// browser, PICTURES the folder for screenshots. With SCREENSHOT, only that picture is made.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import test, { after, before } from 'node:test';

const { PAGE, MODULES, CHROMIUM, PICTURES, SCREENSHOT } = process.env;
const require = createRequire(`${MODULES}/`);
const { chromium } = require('playwright-core');
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
const wide = { width: 1280, height: 900 };
const narrow = { width: 390, height: 844 };

let browser;
before(async () => {
  browser = await chromium.launch({
    executablePath: CHROMIUM,
    chromiumSandbox: false,
    args: ['--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
});
after(() => browser.close());

// visit opens a path and calls look. It fails on any console message, error, or request to another host.
async function visit(path, options, look) {
  const context = await browser.newContext({ viewport: wide, ...options });
  const problems = [];
  context.on('console', (m) => problems.push(`${m.type()}: ${m.text()}`));
  context.on('weberror', (e) => problems.push(`error: ${e.error()}`));
  context.on('requestfailed', (r) => problems.push(`failed: ${r.url()} ${r.failure().errorText}`));
  context.on('request', (r) => {
    if (new URL(r.url()).origin !== new URL(PAGE).origin && !r.url().startsWith('data:')) problems.push(`request: ${r.url()}`);
  });
  const page = await context.newPage();
  const answer = await page.goto(PAGE + path);
  assert.equal(answer.status(), 200);
  await look(page);
  await context.close();
  assert.deepEqual(problems, []);
}

const consumers = (page) => page.locator('tbody th b').allTextContents();
const states = (page) => page.locator('td[data-name=State]').allInnerTexts();
const table = (page) => page.getByRole('table').first();

if (SCREENSHOT) {
  test('picture for the README', () => visit('?limit=7', { viewport: { ...wide, width: 1160 } }, async (page) => {
    while (await page.locator('td b', { hasText: 'server_error' }).count() === 0) {
      await page.waitForTimeout(3000);
      await page.reload();
    }
    await page.screenshot({ path: SCREENSHOT, fullPage: true });
  }));
} else {
  test('shows who is lost, who loses access next, and whether the data is current', () => visit('', {}, async (page) => {
    assert.match(await page.getByRole('heading', { level: 1 }).innerText(), /1 target lost, 1 target about to end/);
    const cards = await page.locator('.cards').innerText();
    assert.match(cards, /Loses access next\s+ci-runner@example.com at github_oauth\s+in 5 h \d+ min/);
    assert.match(cards, /lost or overdue\s+nightly-report at warehouse_jwt\s+Lost, no token since [\d: -]+ UTC/);
    assert.match(cards, /current\?\s+Yes/);
    assert.equal((await consumers(page)).length, 11);
    assert.match((await states(page)).slice(0, 2).join(), /✕ lost\s+no token since .*,▲ about to end\s+last token expires at/);
    assert.equal(await page.getByRole('img').count(), 3);
    for (const picture of await page.getByRole('img').all()) assert.match(await picture.getAttribute('aria-label'), /of targets at risk/);
  }));

  test('filters by links', () => visit('', {}, async (page) => {
    await page.getByRole('navigation', { name: 'Filter by state' }).getByRole('link', { name: 'about to end' }).click();
    await page.waitForURL('**/?state=about_to_end');
    assert.deepEqual(await consumers(page), ['ci-runner@example.com']);
    await page.getByRole('link', { name: /^all/ }).click();
    assert.equal((await consumers(page)).length, 11);
    await page.getByRole('link', { name: 'crm_oauth' }).first().click();
    assert.deepEqual((await consumers(page)).toSorted(), ['ai-support-agent', 'billing', 'nightly-report']);
  }));

  test('filters by the form, and keeps the rest', () => visit('?sort=name', {}, async (page) => {
    await page.getByLabel('Consumer or provider contains').fill('CHECKOUT');
    await page.keyboard.press('Enter');
    await page.waitForURL(/q=CHECKOUT/);
    assert.deepEqual(await consumers(page), ['checkout-api', 'checkout-api']);
    assert.match(page.url(), /sort=name/);
    await page.getByRole('link', { name: 'Clear all' }).click();
    assert.equal((await consumers(page)).length, 11);
  }));

  test('sorts', () => visit('', {}, async (page) => {
    await table(page).getByRole('link', { name: 'Target' }).click();
    await page.waitForURL('**/?sort=name');
    const got = await consumers(page);
    assert.deepEqual(got, got.toSorted());
    assert.equal(await page.getByRole('columnheader', { name: 'Target' }).getAttribute('aria-sort'), 'ascending');
    await table(page).getByRole('link', { name: 'Tokens' }).click();
    await page.waitForURL('**/?sort=total');
    assert.equal((await consumers(page))[0], 'checkout-api');
  }));

  test('opens and closes a target, by keyboard too', () => visit('', {}, async (page) => {
    const link = page.locator('tr', { hasText: 'github_oauth' }).getByRole('link', { name: 'ci-runner@example.com' });
    await link.focus();
    await page.keyboard.press('Enter');
    await page.waitForURL('**/?open=ci-runner%40example.com%3Agithub_oauth#open');
    const detail = await page.locator('tr.detail').innerText();
    assert.match(detail, /Total reported by the API\s+2, counted 2/);
    assert.match(detail, /Read\s+2\d{3}-.* UTC, in /);
    assert.match(detail, /atntkn_\w+\s+oauth_access_token\s+(89|90) days ago\s+in 5 h \d+ min/);
    assert.match(detail, /About to end, last token expires at [\d: -]+ UTC\. .*\n/);
    assert.match(detail, /Kind of consumer\s+continuous/);
    assert.match(await page.locator('.strip [role=img]').getAttribute('aria-label'), /^Last five weeks:( week from 2[\d-]+: \d+ h with an active token,.*;){5}$/);
    await link.click();
    await page.waitForURL(/\?$/);
    assert.equal(await page.locator('tr.detail').count(), 0);
  }));

  test('refreshes until that is stopped', () => visit('?refresh=5&state=about_to_end', {}, async (page) => {
    const clock = () => page.locator('.clock time').first().getAttribute('datetime');
    const before = await clock();
    await page.waitForEvent('framenavigated', { timeout: 20_000 });
    assert.notEqual(await clock(), before);
    assert.match(page.url(), /refresh=5&state=about_to_end$/);
    await page.getByRole('link', { name: /Stop refreshing/ }).click();
    await page.waitForURL('**/?state=about_to_end');
    await page.getByRole('link', { name: /Refresh every 30 s/ }).click();
    await page.waitForURL('**/?refresh=30&state=about_to_end');
  }));

  test('stays below its path, and has the same targets as JSON', () => visit('?q=%20JWT%20&limit=3&offset=3&x=1', {}, async (page) => {
    for (const href of await page.locator('a').evaluateAll((links) => links.map((a) => a.href))) assert.ok(href.startsWith(PAGE), href);
    const shown = await consumers(page);
    assert.equal(shown.length, 3);
    const answer = await page.goto(await page.getByRole('link', { name: 'This view as JSON' }).evaluate((a) => a.href));
    const { targets } = await answer.json();
    assert.deepEqual(targets.map((t) => t.consumer), shown);
  }));

  test('lets no script run', async () => {
    const page = await browser.newPage();
    await page.goto(PAGE);
    await page.evaluate(() => {
      const script = document.createElement('script');
      script.textContent = 'document.title = "taken over"';
      document.body.append(script);
    });
    assert.doesNotMatch(await page.title(), /taken over/);
    await page.close();
  });

  for (const colorScheme of ['light', 'dark']) {
    for (const viewport of [wide, narrow]) {
      for (const [name, path] of [['list', ''], ['open', '?open=checkout-api:orders_jwt'], ['paused', '?open=nightly-report:crm_oauth'], ['none', '?q=nothing']]) {
        const title = `${name}-${viewport.width}-${colorScheme}`;
        test(`${title}: accessible, and fits`, () => visit(path, { colorScheme, viewport }, async (page) => {
          await page.screenshot({ path: `${PICTURES}/${title}.png`, fullPage: true });
          assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'wider than the window');
          await page.evaluate(axe);
          const { violations } = await page.evaluate(() => window.axe.run());
          assert.deepEqual(violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.html).join(' ')}`), []);
        }));
      }
    }
  }
}
