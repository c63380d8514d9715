// The front desk in a real browser: arrival by keyboard, an outage, its end, accessibility, a narrow screen.

import assert from "node:assert/strict"
import { after, before, test } from "node:test"
import { accessibilityFaults, openTab, signIn, startBrowser, startDemo } from "./demo.mjs"

let demo
let browser

before(async () => {
  demo = await startDemo("--no-ehr")
  browser = await startBrowser()
})

after(async () => {
  await browser?.close()
  await demo?.stop()
})

async function atTheDesk(options) {
  const tab = await openTab(browser, demo.places, options)
  await signIn(tab.page, demo.places)
  return tab
}

test("somebody arrives with three fields and Enter, gets a TEMP number and stands on the board", async () => {
  const { context, page, faults } = await atTheDesk()

  await page.keyboard.press("a")
  await page.waitForURL(/\/arrivals/)
  await page.keyboard.type("Tremblay-Østergård, Anneliese")
  await page.keyboard.press("Tab")
  await page.keyboard.type("02 17 1988")
  await page.keyboard.press("Tab")
  await page.keyboard.type("Splinter")
  await page.keyboard.press("Enter")
  await page.waitForURL(/\/arrivals\/./)
  const number = await page.locator(".temp").innerText()
  await page.goto(`${demo.places.page}/board`)

  assert.match(number, /^\S{6,}$/)
  await page.locator("tr.visit", { hasText: "Tremblay-Østergård" }).waitFor()
  assert.deepEqual(faults, [])
  await context.close()
})

test("an arrival at one desk appears at another by itself", async () => {
  const one = await atTheDesk()
  const other = await atTheDesk()
  await other.page.goto(`${demo.places.page}/board`)

  await one.page.goto(`${demo.places.page}/arrivals`)
  await one.page.locator("#name").fill("Ferreira, Otávio")
  await one.page.locator("#birth-date").fill("11 30 1971")
  await one.page.locator("#reason").fill("Burn")
  await one.page.keyboard.press("Enter")

  await other.page.locator("tr.visit", { hasText: "Ferreira" }).waitFor({ timeout: 3_000 })
  assert.deepEqual([...one.faults, ...other.faults], [])
  await one.context.close()
  await other.context.close()
})

test("the banner says within five seconds that the line is cut, work goes on, and the banner says when it is back", async () => {
  const { context, page, faults } = await atTheDesk()
  const banner = page.locator("#banner")
  await banner.filter({ hasText: "Connected" }).waitFor({ timeout: 15_000 })

  await demo.setLine(false)
  await banner.filter({ hasText: "Cut off since" }).waitFor({ timeout: 5_000 })
  await page.locator("tr.visit [data-next]").first().click()
  await page.goto(`${demo.places.page}/board`)
  await demo.setLine(true)
  await banner.filter({ hasText: "Cut off since" }).waitFor({ state: "detached", timeout: 15_000 })

  assert.deepEqual(faults, [])
  await context.close()
})

test("no page has a fault that axe can find, in any of the colours", async () => {
  const colours = [{ colorScheme: "light" }, { colorScheme: "dark" }]
  for (const options of colours) {
    const { context, page, faults } = await atTheDesk(options)
    const patient = await page.locator("tr.visit a[href^='/patients/']").first().getAttribute("href")
    for (const path of ["/board", "/arrivals", "/find", patient, "/work", "/connection", "/downtime"]) {
      await page.goto(`${demo.places.page}${path}`)
      assert.deepEqual(await accessibilityFaults(page), [], `${path}, ${JSON.stringify(options)}`)
    }
    assert.deepEqual(faults, [])
    await context.close()
  }
  const { context, page } = await openTab(browser, demo.places)
  await page.goto(`${demo.places.page}/sign-in`)
  assert.deepEqual(await accessibilityFaults(page), [], "/sign-in")
  await context.close()
})

test("no page scrolls sideways on a narrow screen", async () => {
  const { context, page } = await atTheDesk({ viewport: { width: 320, height: 640 } })
  const patient = await page.locator("tr.visit a[href^='/patients/']").first().getAttribute("href")
  for (const path of ["/board", "/arrivals", "/find", patient, "/work", "/connection", "/downtime"]) {
    await page.goto(`${demo.places.page}${path}`)
    const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)
    assert.ok(over <= 0, `${path} is ${over} px too wide`)
  }
  await context.close()
})

test("everything on the page works without its script", async () => {
  const { context, page, faults } = await atTheDesk({ javaScriptEnabled: false })

  await page.goto(`${demo.places.page}/arrivals`)
  await page.locator("#name").fill("Castellanos, Inés")
  await page.locator("#birth-date").fill("05 05 1955")
  await page.locator("#reason").fill("Earache")
  await page.locator("#arrival button.main-act").click()
  await page.waitForURL(/\/arrivals\/./)
  await page.goto(`${demo.places.page}/find`)
  await page.locator("#find").fill("Castellanos")
  await page.keyboard.press("Enter")

  await page.locator("tr", { hasText: "Castellanos" }).waitFor()
  assert.deepEqual(faults, [])
  await context.close()
})
