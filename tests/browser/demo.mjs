// The demo as a browser test's world: started once, ended with the tests, and a browser with nothing but itself.

import { spawn } from "node:child_process"
import { existsSync, readFileSync } from "node:fs"
import { createRequire } from "node:module"
import { delimiter, dirname, join } from "node:path"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { chromium } from "playwright-core"

const READY_MS = 120_000
const ENDS_MS = 20_000

const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..")
const axeSource = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8")

function installed(...names) {
  const folders = process.env.PATH.split(delimiter)
  const found = names.flatMap(name => folders.map(folder => join(folder, name))).find(existsSync)
  if (!found) throw new Error(`none of ${names.join(", ")} is installed; install it with tests/prerequisites`)
  return found
}

/** Starts the demo as it was last built; gives its places and what ends it. */
export async function startDemo(...more) {
  const target = process.env.CARGO_TARGET_DIR ?? join(root, "target")
  const demo = spawn(join(target, "debug", "demo"), ["--headless", "--json", "--no-build", ...more], {
    stdio: ["ignore", "pipe", "inherit"],
  })
  const ended = new Promise(resolve => demo.once("exit", resolve))
  const line = new Promise((resolve, reject) => {
    createInterface({ input: demo.stdout }).once("line", resolve)
    ended.then(code => reject(new Error(`the demo ended with ${code} before it was ready`)))
    setTimeout(() => reject(new Error("the demo is not ready")), READY_MS).unref()
  })
  const places = JSON.parse(await line)
  const stop = async () => {
    demo.kill("SIGTERM")
    const late = setTimeout(() => demo.kill("SIGKILL"), ENDS_MS)
    await ended
    clearTimeout(late)
  }
  return { places, stop, setLine: up => setLine(places, up) }
}

async function setLine({ control, site }, up) {
  const reply = await fetch(`${control}/line`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ site, up }),
  })
  if (!reply.ok) throw new Error(`the control page answered ${reply.status}`)
}

/** A browser that talks to nobody but the pages it is sent to. */
export function startBrowser() {
  return chromium.launch({
    executablePath: installed("chromium", "chromium-browser", "google-chrome"),
    args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--no-first-run"],
  })
}

/** A tab, with a list of what no page may do: fetch from elsewhere, write an error to the console. */
export async function openTab(browser, places, options = {}) {
  const context = await browser.newContext({ locale: "en-US", ...options })
  const page = await context.newPage()
  const faults = []
  page.on("request", request => {
    const url = new URL(request.url())
    if (url.protocol !== "data:" && url.origin !== new URL(places.page).origin) faults.push(`fetched ${url.origin}`)
  })
  page.on("console", message => {
    // A refused form is answered with its status, which the browser writes down as an error.
    if (message.type() === "error" && !/status of 4\d\d/.test(message.text())) faults.push(message.text())
  })
  page.on("pageerror", error => faults.push(error.message))
  return { context, page, faults }
}

export async function signIn(page, places) {
  await page.goto(`${places.page}/sign-in`)
  await page.getByLabel("Login", { exact: false }).fill(places.sign_in.login)
  await page.locator("input[name=passphrase]").fill(places.sign_in.passphrase)
  await page.keyboard.press("Enter")
  await page.waitForURL(/\/board/)
}

/** What axe finds on the page as it stands, by WCAG 2.2 AA; one line for each. */
export async function accessibilityFaults(page) {
  // Evaluated by the tool, not by the page: the page's own policy allows no such script, and keeps doing so.
  await page.evaluate(axeSource)
  const { violations } = await page.evaluate(() =>
    globalThis.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"] }),
  )
  return violations.flatMap(({ id, help, nodes }) => nodes.map(node => `${id}: ${help}: ${node.target.join(" ")}`))
}
