// Visits pages in headless Chromium and prints what was seen there as JSON.
//
// Reads a list of visits from standard input: `url`, and if wanted `scheme` (light, dark), `width`, `height`, `zoom`,
// `picture` (a file), `whole` (the picture is of the whole page), `axe`, `token`, `script` (false: none is run), `keys`.

import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import puppeteer from 'puppeteer-core'

const axeSource = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const visits = JSON.parse(readFileSync(0, 'utf8'))

const browser = await puppeteer.launch({
  executablePath: process.env.CHROMIUM,
  args: ['--no-sandbox', '--disable-dev-shm-usage', '--hide-scrollbars', '--disable-lcd-text', '--force-color-profile=srgb'],
})
try {
  const seen = []
  for (const visit of visits) seen.push(await visited(visit))
  process.stdout.write(JSON.stringify(seen))
} finally {
  await browser.close()
}

async function visited(visit) {
  const context = await browser.createBrowserContext()
  const page = await context.newPage()
  const heard = { console: [], dialogs: [], requests: [], failures: [] }
  page.on('console', message => heard.console.push(message.text()))
  page.on('pageerror', error => heard.console.push(String(error)))
  page.on('dialog', dialog => { heard.dialogs.push(dialog.message()); dialog.dismiss() })
  page.on('request', request => heard.requests.push(request.url()))
  page.on('requestfailed', request => heard.failures.push(request.url()))
  await page.setViewport({
    width: visit.width ?? 1280, height: visit.height ?? 800, deviceScaleFactor: visit.zoom ?? 1,
  })
  await page.emulateMediaFeatures([
    { name: 'prefers-color-scheme', value: visit.scheme ?? 'light' },
    { name: 'prefers-reduced-motion', value: 'reduce' },
  ])
  if (visit.script === false) await page.setJavaScriptEnabled(false)
  if (visit.token) await page.authenticate({ username: 'anybody', password: visit.token })
  const begun = performance.now()
  const response = await page.goto(visit.url, { waitUntil: 'load' })
  const loadedMs = performance.now() - begun
  const focused = []
  for (const key of visit.keys ?? []) {
    await page.keyboard.press(key)
    focused.push(await page.evaluate(() => document.activeElement.textContent.trim()))
  }
  if (visit.picture) await page.screenshot({ path: visit.picture, fullPage: visit.whole ?? false })
  // Of the page as it came: what is looked at from here on must not be what axe has put there.
  const found = await page.evaluate(() => ({
    title: document.title,
    text: document.body.innerText,
    elements: [...new Set([...document.querySelectorAll('*')].map(each => each.localName))].sort(),
    handlers: [...document.querySelectorAll('*')].flatMap(each => each.getAttributeNames())
      .filter(name => name.startsWith('on')),
    links: [...document.querySelectorAll('[href]')].map(each => each.getAttribute('href')),
    names: [...document.querySelectorAll('bdi')].map(each => each.textContent),
    width: document.documentElement.scrollWidth,
    marked: typeof window.marked,
  }))
  const answer = { status: response.status(), loadedMs, focused, ...heard, ...found }
  if (visit.axe) answer.violations = await violations(page)
  await context.close()
  return answer
}

async function violations(page) {
  // By the debugger, which no Content-Security-Policy stops.
  await page.evaluate(axeSource)
  const result = await page.evaluate(() => window.axe.run())
  return result.violations.map(each => ({
    id: each.id, impact: each.impact, help: each.help, nodes: each.nodes.map(node => node.html),
  }))
}
