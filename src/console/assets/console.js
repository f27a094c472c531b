// What pages do beyond reading: colours, copying, environments, updates of what is open, the palette. Nothing here makes HTML of texts of others.
import { palette } from './palette.js'

const main = document.getElementById('main')

/** Dark or light, kept in a cookie so that the server draws the next page so. */
function theme() {
  const button = document.getElementById('theme')
  if (!button) return
  button.hidden = false
  button.addEventListener('click', () => {
    const root = document.documentElement
    const isDark = root.dataset.theme ? root.dataset.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches
    root.dataset.theme = isDark ? 'light' : 'dark'
    document.cookie = `tidegate_theme=${root.dataset.theme}; path=/; max-age=31536000; samesite=lax`
  })
}

/** Shows the buttons that copy: a browser lets no page copy that came without TLS from another machine. */
export function showCopy(within) {
  if (!navigator.clipboard) return
  for (const button of within.querySelectorAll('button.copy')) button.hidden = false
}

function copying() {
  showCopy(document)
  document.addEventListener('click', async (event) => {
    const button = event.target instanceof Element && event.target.closest('button.copy')
    if (!button) return
    const said = button.textContent
    try {
      await navigator.clipboard.writeText(button.dataset.copy)
      button.textContent = 'Copied'
    } catch {
      button.textContent = 'Not copied'
    }
    setTimeout(() => { button.textContent = said }, 1500)
  })
}

function environments() {
  const select = document.getElementById('environment')
  if (!select) return
  select.addEventListener('change', () => select.form.requestSubmit())
  select.form.querySelector('button').hidden = true
}

function confirming() {
  document.addEventListener('submit', (event) => {
    const question = event.submitter?.dataset.confirm ?? event.target.dataset.confirm
    if (question && !confirm(question)) event.preventDefault()
  })
}

/** The server sends the content of the page whenever it is another one. Nothing moves while somebody reads a part that is open or types. */
function updates() {
  const place = document.getElementById('updates')
  if (!place) return
  const [pause, said] = [document.getElementById('pause'), document.getElementById('updated')]
  let source = null
  let waiting = null
  let last = null
  let isPaused = false
  let toldAt = 0

  const isRead = () => place.querySelector('details[open]') !== null || (place.contains(document.activeElement) && document.activeElement !== place)
  const show = (html, isFirst) => {
    const read = new DOMParser().parseFromString(html, 'text/html')
    // Mostly it is what the page came with.
    if (isFirst && read.body.textContent === place.textContent) return
    place.replaceChildren(...read.body.childNodes)
    showCopy(place)
    // Whoever listens to the page is told now and then, and not each time.
    if (said && Date.now() - toldAt > 30_000) {
      said.textContent = `updated ${new Date().toLocaleTimeString()}`
      toldAt = Date.now()
    }
  }
  const open = () => {
    if (source || isPaused || document.hidden) return
    source = new EventSource(place.dataset.updates)
    source.addEventListener('content', (event) => {
      const html = JSON.parse(event.data)
      // A server with no room for one more open page sends all of it now and then, changed or not.
      if (html === last) return
      const isFirst = last === null
      last = html
      waiting = isRead() ? html : null
      if (waiting === null) show(html, isFirst)
    })
    source.addEventListener('error', () => {
      if (source && source.readyState === EventSource.CLOSED && said) said.textContent = 'not updated any more: load the page again'
    })
  }
  const close = () => {
    source?.close()
    source = null
  }
  setInterval(() => {
    if (waiting !== null && !isPaused && !isRead()) {
      show(waiting)
      waiting = null
    }
  }, 1000)
  // A browser has few connections to one server, and a page that nobody sees needs none.
  document.addEventListener('visibilitychange', () => (document.hidden ? close() : open()))
  addEventListener('pagehide', close)
  if (pause) {
    pause.hidden = false
    pause.addEventListener('click', () => {
      isPaused = !isPaused
      pause.setAttribute('aria-pressed', String(isPaused))
      pause.textContent = isPaused ? 'Go on' : 'Pause'
      if (isPaused) close()
      else open()
    })
  }
  open()
}

theme()
copying()
environments()
confirming()
updates()
palette(main)
