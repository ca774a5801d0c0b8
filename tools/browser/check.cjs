// Opens a report's page from disk and uses it as a reader does. Fails on any message of the console, any request but
// the page itself, a table that sorts wrongly, and a body that scrolls sideways.
"use strict";
const assert = require("node:assert/strict");
const { statSync } = require("node:fs");
const { join } = require("node:path");
const { pathToFileURL } = require("node:url");
const { chromium } = require("playwright-core");

const [path, out, profile] = process.argv.slice(2);
const args = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync"];
const wide = { width: 1280, height: 900 }, phone = { width: 390, height: 844 };

const numbers = cells => cells.map(cell => parseFloat(cell.replace("−", "-"))).filter(number => !isNaN(number));
const ordered = (list, sign) => list.every((number, at) => at === 0 || sign * (number - list[at - 1]) >= 0);

async function sorts(page) {
  const table = page.locator(".board:not([hidden]) table.ranking");
  const heads = table.locator("thead th");
  for (let column = 0; column < await heads.count(); column++) {
    const head = heads.nth(column), button = head.getByRole("button"), words = await head.getAttribute("data-first") === "text";
    for (const key of ["click", "Enter"]) {
      if (key === "click") await button.click(); else { await button.focus(); await page.keyboard.press(key); }
      const sorted = await head.getAttribute("aria-sort");
      assert.match(sorted, /^(ascending|descending)$/);
      const cells = await table.locator(`tbody:first-of-type tr > :nth-child(${column + 1})`).allTextContents();
      const sign = sorted === "ascending" ? 1 : -1;
      if (!words) assert.ok(ordered(numbers(cells), sign), `column ${column + 1} is not ${sorted}: ${cells}`);
      assert.equal(await table.locator('th[aria-sort="ascending"], th[aria-sort="descending"]').count(), 1);
    }
  }
  await heads.first().getByRole("button").click();
}

async function curves(page) {
  const board = page.locator(".board:not([hidden])");
  const box = board.locator(".legend input").first(), marks = board.locator("[data-metric]:not([hidden]) svg .s0");
  if (await box.count() === 0) return;
  await box.uncheck();
  for (const mark of await marks.all()) assert.ok(!await mark.isVisible(), "a hidden curve is seen");
  await box.check();
  assert.ok(await marks.first().isVisible(), "a shown curve is not seen");
  await page.evaluate(() => document.activeElement.blur());
  await page.mouse.move(0, 0);
}

async function finds(page) {
  const field = page.locator(".board:not([hidden]) [type=search]"), rows = page.locator(".board:not([hidden]) .ranking tbody tr[data-label]");
  const label = await rows.last().getAttribute("data-label");
  await field.fill(label.toUpperCase());
  for (const row of await rows.all()) {
    const fits = (await row.getAttribute("data-label")).toUpperCase().includes(label.toUpperCase());
    assert.equal(await row.isVisible(), fits, `the filter ${label}`);
  }
  await field.fill("");
  assert.ok(await rows.first().isVisible());
}

async function metrics(page, shot) {
  const board = page.locator(".board:not([hidden])"), choices = board.locator(".metrics input");
  for (const choice of await choices.all()) {
    await choice.check();
    const shown = await board.locator("[data-metric]").evaluateAll(all => all.filter(one => !one.hidden).map(one => one.dataset.metric));
    assert.deepEqual(shown, [await choice.getAttribute("value")], "another metric is shown");
  }
  // A metric that only rows apart have is not drawn; the main one always is.
  await choices.first().check();
  await shot(board.locator("[data-metric]:not([hidden]) figure"));
}

// Rules of the Web Content Accessibility Guidelines that a program can check.
async function accessible(page, what) {
  const open = count => page.evaluate(count => document.querySelectorAll(".board:not([hidden]) details")
    .forEach((one, at) => { one.open = at < count; }), count);
  await open(6);
  await page.addScriptTag({ path: require.resolve("axe-core/axe.min.js") });
  const { violations } = await page.evaluate(() => axe.run());
  const found = violations.map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map(node => node.html).join(" | ")}`);
  await open(0);
  assert.deepEqual(found, [], what);
}

async function themes(page) {
  const colour = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const button = page.locator("#theme"), before = await colour();
  await button.click();
  assert.equal(await button.textContent(), "Theme: light");
  const light = await colour();
  await button.click();
  assert.notEqual(await colour(), light);
  await button.click();
  assert.equal(await colour(), before);
}

async function sideways(page, what) {
  const { scroll, client } = await page.evaluate(() => ({
    scroll: document.documentElement.scrollWidth, client: document.documentElement.clientWidth }));
  assert.ok(scroll <= client, `${what}: the body is ${scroll} px wide in a window of ${client}`);
}

async function main() {
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: "/usr/bin/chromium", args, viewport: wide, colorScheme: "light", offline: true });
  const page = await context.newPage(), url = pathToFileURL(path).href, wrong = [];
  page.on("console", message => wrong.push(`console: ${message.text()}`));
  page.on("pageerror", error => wrong.push(`error: ${error.message}`));
  page.on("request", request => { if (request.url().split("#")[0] !== url) wrong.push(`request: ${request.url()}`); });
  const started = performance.now();
  await page.goto(url);
  const shot = (name, fullPage = true) => page.screenshot({ path: join(out, `${name}.png`), fullPage });
  await page.evaluate(() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done))));
  const shown = performance.now() - started;
  const boards = await page.locator(".board").count(), links = page.locator("nav a");
  assert.ok(boards > 0, "no board");
  for (let at = 0; at < boards; at++) {
    if (boards > 1) await links.nth(at).click();
    assert.deepEqual(await page.locator(".board").evaluateAll(all => all.map(one => one.hidden)),
      [...Array(boards).keys()].map(other => other !== at), "the wrong board is shown");
    await sorts(page);
    await finds(page);
    await curves(page);
    await metrics(page, figure => figure.screenshot({ path: join(out, `metric-${at + 1}.png`) }));
    await sideways(page, `board ${at + 1}`);
    await shot(`light-${at + 1}`);
    await accessible(page, `board ${at + 1}, light`);
    await page.emulateMedia({ colorScheme: "dark" });
    await shot(`dark-${at + 1}`);
    await accessible(page, `board ${at + 1}, dark`);
    await page.emulateMedia({ colorScheme: "light" });
    await page.locator(".board:not([hidden]) .ranking tbody a").first().click();
    const open = page.locator("details.card[open]").first();
    await open.waitFor({ timeout: 5000 }).catch(() => assert.fail("a name does not open its card"));
    await page.setViewportSize(phone);
    await page.evaluate(() => document.querySelectorAll("details").forEach((one, at) => { one.open = at < 40; }));
    await sideways(page, `board ${at + 1} on a phone`);
    await page.evaluate(() => document.querySelectorAll("details").forEach(one => { one.open = false; }));
    await shot(`phone-${at + 1}`);
    await page.evaluate(() => scrollTo(0, 0));
    await page.setViewportSize(wide);
    await page.evaluate(() => document.querySelectorAll(".board:not([hidden]) .card").forEach((one, at) => { one.open = at < 2; }));
    await page.locator(".board:not([hidden]) .card").first().screenshot({ path: join(out, `card-${at + 1}.png`) });
    await page.evaluate(() => document.querySelectorAll("details").forEach(one => { one.open = false; }));
  }
  await themes(page);
  await page.pdf({ path: join(out, "print.pdf"), format: "A4", landscape: true });
  await context.close();
  assert.deepEqual(wrong, [], "the page is not quiet");
  process.stderr.write(`${path}: ${boards} boards, ${(statSync(path).size / 1024).toFixed(0)} KiB, ` +
    `shown after ${shown.toFixed(0)} ms; screenshots in ${out}\n`);
}

main().catch(error => { process.stderr.write(`${error.stack}\n`); process.exit(1); });
