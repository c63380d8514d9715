// The hub's console in a real browser: sign-in with a code, a site and its token, accessibility, a narrow screen, no script.

import assert from "node:assert/strict"
import { spawn, spawnSync } from "node:child_process"
import { createHmac } from "node:crypto"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { createInterface } from "node:readline"
import { after, before, test } from "node:test"
import { fileURLToPath } from "node:url"
import { accessibilityFaults, openTab, startBrowser } from "./demo.mjs"

const PASSPHRASE = "correct horse battery"
const PAGES = ["/sites", "/conflicts", "/quarantine", "/admins"]
const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..")
const program = join(process.env.CARGO_TARGET_DIR ?? join(root, "target"), "debug", "mainstay-hub")

let home
let hub
let places
let browser

function verb(...words) {
  const done = spawnSync(program, ["--home", home, "--json", ...words], { input: `${PASSPHRASE}\n`, encoding: "utf8" })
  assert.equal(done.status, 0, done.stderr)
  return JSON.parse(done.stdout)
}

before(async () => {
  home = mkdtempSync(join(tmpdir(), "mainstay-console-"))
  writeFileSync(join(home, "hub.toml"), '[server]\nlisten = "127.0.0.1:0"\n[console]\nlisten = "127.0.0.1:0"\n')
  verb("site", "add", "Lakeside", "--zone", "America/Denver", "--room", "1")
  hub = spawn(program, ["--home", home, "--json", "run"], { stdio: ["ignore", "pipe", "inherit"] })
  const line = await new Promise(resolve => createInterface({ input: hub.stdout }).once("line", resolve))
  places = { page: JSON.parse(line).console }
  browser = await startBrowser()
})

after(async () => {
  await browser?.close()
  const ended = new Promise(resolve => hub.once("exit", resolve))
  hub.kill("SIGTERM")
  await ended
  rmSync(home, { recursive: true })
})

/** RFC 6238 with the numbers that authenticator apps take for granted. */
function codeOf(secret) {
  const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
  const bits = [...secret].map(letter => letters.indexOf(letter).toString(2).padStart(5, "0")).join("")
  const key = Buffer.from(bits.match(/.{8}/g).map(byte => Number.parseInt(byte, 2)))
  const step = Buffer.alloc(8)
  step.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30_000)))
  const hash = createHmac("sha1", key).update(step).digest()
  const number = hash.readUInt32BE(hash[19] & 15) & 0x7fffffff
  return String(number % 1_000_000).padStart(6, "0")
}

let accounts = 0
async function signedIn(options, role = "admin") {
  const login = `someone${++accounts}` // a code is good once, so everybody has an account of their own
  const { secret } = verb("admin", "add", login, "--name", `Someone ${accounts}`, "--role", role, "--passphrase-file", "-")
  const tab = await openTab(browser, places, options)
  await tab.page.goto(`${places.page}/sites`)
  await tab.page.waitForURL(/\/sign-in/)
  await tab.page.getByLabel("Login").fill(login)
  await tab.page.getByLabel("Passphrase").fill(PASSPHRASE)
  await tab.page.getByLabel("Code").fill(codeOf(secret))
  await tab.page.keyboard.press("Enter")
  await tab.page.waitForURL(/\/sites/)
  return tab
}

async function addSite(page, name) {
  await page.goto(`${places.page}/sites`)
  await page.getByText("Add a site").click()
  await page.getByLabel("Name").fill(name)
  await page.getByLabel("Time zone").fill("America/Chicago")
  await page.getByLabel("Rooms").fill("1\n2")
  await page.getByRole("button", { name: "Add the site" }).click()
  await page.getByRole("heading", { name, level: 1 }).waitFor()
}

test("an administrator adds a site and makes a token that is shown once", async () => {
  const { context, page, faults } = await signedIn()

  await addSite(page, "Riverside")
  await page.getByRole("button", { name: "Make a token" }).click()
  const token = await page.locator("#token").innerText()
  assert.deepEqual(await accessibilityFaults(page), [])
  await page.goto(page.url().replace(/\/token$/, ""))

  assert.ok(token.length > 40, token)
  assert.equal(await page.locator("#token").count(), 0)
  await page.getByText("1 token not used yet").waitFor()
  assert.deepEqual(faults, [])
  await context.close()
})

test("everything works without the script, and nobody who only looks is offered an act", async () => {
  const { context, page } = await signedIn({ javaScriptEnabled: false })
  await addSite(page, "Hillside")
  await context.close()

  const viewer = await signedIn({}, "viewer")
  for (const path of PAGES) {
    await viewer.page.goto(`${places.page}${path}`)
    assert.equal(await viewer.page.locator("main form").count(), 0, path)
  }
  await viewer.context.close()
})

test("no page has a fault that axe can find, by day or by night, nor scrolls sideways on a narrow screen", async () => {
  for (const colorScheme of ["light", "dark"]) {
    for (const viewport of [{ width: 1280, height: 800 }, { width: 320, height: 640 }]) {
      const { context, page, faults } = await signedIn({ colorScheme, viewport })
      const site = await page.locator("a.name").first().getAttribute("href")
      for (const path of [...PAGES, site]) {
        await page.goto(`${places.page}${path}`)
        for (const summary of await page.locator("summary").all()) await summary.click()
        assert.deepEqual(await accessibilityFaults(page), [], `${path}, ${colorScheme}, ${viewport.width}`)
        const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)
        assert.ok(over <= 0, `${path} is ${over} px too wide at ${viewport.width}`)
        if (process.env.MAINSTAY_SCREENSHOTS) {
          const name = `${path.split("/")[1]}${path === site ? "-one" : ""}-${colorScheme}-${viewport.width}.png`
          await page.screenshot({ path: join(process.env.MAINSTAY_SCREENSHOTS, name), fullPage: true })
        }
      }
      assert.deepEqual(faults, [])
      await context.close()
    }
  }
  const { context, page } = await openTab(browser, places)
  await page.goto(`${places.page}/sign-in`)
  assert.deepEqual(await accessibilityFaults(page), [], "/sign-in")
  await context.close()
})
