// Events while they pass: listens to the tap of the API and writes what comes as text, never as HTML.

const ROWS_MAX = 500
/** While it is paused, so many wait to be shown; when it is not, those that came since the screen was drawn last. */
const KEPT_MAX = 1000
const DATA_CHARS_MAX = 48 * 1024

const place = document.getElementById('tap')
const state = document.getElementById('tap-state')
const rows = document.getElementById('tap-rows')
const sampled = document.getElementById('tap-sampled')
const [pause, clear] = [document.getElementById('tap-pause'), document.getElementById('tap-clear')]

let source = null
let isPaused = false
let kept = []
let [shown, lost] = [0, 0]
let [drawing, sampledUntil] = [0, 0]

/** Spells out what hides or turns text, as the server does. */
function visible(text) {
  const hidden =
    /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufdd0-\ufdef\ufeff\uffa0\ufff0-\ufffb\u{1bca0}-\u{1bca3}\u{1d173}-\u{1d17a}\u{e0000}-\u{e0fff}]/gu
  return text.replace(hidden, (c) => `\\u{${c.codePointAt(0).toString(16).padStart(4, '0')}}`)
}

function bounded(text, max) {
  return text.length > max ? `${visible(text.slice(0, max))}… (${text.length - max} more characters)` : visible(text)
}

function element(name, className, text) {
  const made = document.createElement(name)
  if (className) made.className = className
  if (text !== undefined) made.textContent = text
  return made
}

function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`
}

function button(name, text) {
  const made = element('button', 'copy plain', name)
  made.type = 'button'
  made.dataset.copy = text
  made.hidden = !navigator.clipboard
  return made
}

function data(title, value) {
  const text = JSON.stringify(value, null, 2) ?? ''
  const shown = element('pre', 'data', bounded(text, DATA_CHARS_MAX))
  // Whoever has no mouse scrolls it, too.
  shown.tabIndex = 0
  return [element('h3', '', title), shown]
}

function details(step) {
  const made = []
  const event = step.before ?? {}
  if (step.why) made.push(element('p', 'problem', bounded(step.why, 2000)))
  if (step.masked) made.push(element('p', 'notice', 'You may not see its values: each stands for itself by its type.'))
  if (!step.masked && typeof event.messageId === 'string') {
    const at = new URL(place.dataset.trace, location.href)
    at.searchParams.set('message_id', event.messageId)
    const [line, link] = [element('p'), element('a', '', 'Trace it: every hop')]
    link.href = at.href
    const [keep, file] = [new URL(at), element('a', '', 'Save as a fixture of a function')]
    keep.pathname = '/trace/fixture'
    file.href = keep.href
    file.download = 'event.in.json'
    line.append(link, ' ', file)
    made.push(line)
  }
  made.push(...data('Event', event))
  for (const after of step.after ?? []) made.push(...data('Goes on as', after))
  if (!step.masked) {
    const body = JSON.stringify({ batch: [event] })
    const curl = `curl -sS "$TIDEGATE_URL/v1/batch" -u "$WRITE_KEY:" -H 'content-type: application/json' -d ${quoted(body)}`
    made.push(button('Copy', JSON.stringify(event, null, 2)), button('Copy as curl', curl))
  }
  return made
}

function row(step) {
  const [item, box, line] = [element('li'), element('details'), element('summary')]
  const event = step.before ?? {}
  const name = event.event ?? event.name ?? event.type ?? '(no event)'
  const who = event.userId ?? event.anonymousId ?? ''
  const by = step.stage === 'accepted' ? '' : `${step.stage} ${step.name ?? ''}`
  const outcome = element('span', step.outcome === 'passed' ? 'quiet' : 'stopped', bounded(`${by} ${step.outcome}`.trim(), 80))
  const when = element('time', 'quiet', new Date(step.received_at).toLocaleTimeString())
  when.dateTime = step.received_at
  line.append(when, element('span', '', bounded(step.source, 63)), element('bdi', '', bounded(String(name), 120)))
  const last = element('span')
  last.append(outcome, ' ', element('bdi', 'quiet', bounded(String(who), 120)))
  line.append(last)
  box.append(line)
  // An event is drawn when somebody looks at it.
  box.addEventListener('toggle', () => {
    if (box.open && box.childElementCount === 1) box.append(...details(step))
  })
  item.append(box)
  return item
}

/** Draws what has come once for each picture of the screen, however much it is. */
function show() {
  drawing = 0
  if (isPaused || kept.length === 0) return
  // The newest on top; what is open stays, and what is too many goes from below. What would go at once is not drawn.
  const drawn = document.createDocumentFragment()
  for (const step of kept.slice(-ROWS_MAX).reverse()) drawn.append(row(step))
  kept = []
  rows.prepend(drawn)
  while (rows.childElementCount > ROWS_MAX) rows.lastElementChild.remove()
}

function showSoon() {
  if (!isPaused && !drawing) drawing = requestAnimationFrame(show)
}

function number(n) {
  return n.toLocaleString('en')
}

/** Says which part of what passes is here. */
function tellSample(sample) {
  clearTimeout(sampledUntil)
  const seconds = Math.max(sample.took_ms, 1) / 1000
  const aSecond = (n) => number(Math.round(n / seconds))
  const all = sample.seen + sample.errors_seen
  const parts = []
  if (sample.seen > sample.shown) parts.push(`1 in ${number(Math.ceil(sample.seen / Math.max(sample.shown, 1)))} is shown: ${aSecond(sample.shown)} of ${aSecond(sample.seen)} events a second`)
  if (sample.errors_seen > sample.errors_shown) parts.push(`${aSecond(sample.errors_shown)} of ${aSecond(sample.errors_seen)} a second that are quarantined or dropped are shown`)
  else if (sample.errors_seen > 0) parts.push(`all ${number(sample.errors_seen)} that are quarantined or dropped are shown`)
  sampled.textContent = `${number(Math.round(all / seconds))} events a second pass, too many to show. ${parts.join('; ')}. A filter shows all of fewer.`
  sampled.hidden = false
  sampledUntil = setTimeout(() => { sampled.hidden = true }, 5000)
}

let [saidAt, later] = [0, null]
function tell() {
  if (Date.now() - saidAt < 1000) {
    later ??= setTimeout(tell, 1000)
    return
  }
  clearTimeout(later)
  later = null
  saidAt = Date.now()
  const more = lost > 0 ? `, ${lost} were lost because this page is too slow` : ''
  if (!source) state.textContent = 'Not listening.'
  else if (isPaused) state.textContent = `Paused: ${kept.length}${kept.length === KEPT_MAX ? ' or more' : ''} wait${more}.`
  else state.textContent = shown === 0 ? 'Listening: nothing has come yet.' : `Listening: ${shown} so far, the newest ${ROWS_MAX} are here${more}.`
}

function listen() {
  if (source || document.hidden) return
  source = new EventSource(place.dataset.tap)
  source.addEventListener('step', (event) => {
    const step = JSON.parse(event.data)
    shown += 1
    if (kept.length < KEPT_MAX) kept.push(step)
    showSoon()
    tell()
  })
  source.addEventListener('sampled', (event) => tellSample(JSON.parse(event.data)))
  source.addEventListener('lost', (event) => {
    lost += JSON.parse(event.data).lost
    tell()
  })
  source.addEventListener('error', () => {
    if (source?.readyState !== EventSource.CLOSED) return
    source = null
    state.textContent = 'The server does not let this page listen: too many do, or you are signed out. Load the page again.'
  })
  tell()
}

function stop() {
  source?.close()
  source = null
}

if (place) {
  for (const shownNow of [pause, clear]) shownNow.hidden = false
  pause.addEventListener('click', () => {
    isPaused = !isPaused
    pause.setAttribute('aria-pressed', String(isPaused))
    pause.textContent = isPaused ? 'Go on' : 'Pause'
    showSoon()
    saidAt = 0
    tell()
  })
  clear.addEventListener('click', () => rows.replaceChildren())
  document.addEventListener('visibilitychange', () => (document.hidden ? stop() : listen()))
  addEventListener('pagehide', stop)
  listen()
}
