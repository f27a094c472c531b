// Tidegate's browser SDK, served as it stands here. How it is used: docs/browser.md.
;(() => {
  'use strict'

  const VERSION = '1.0.0'
  const [ANONYMOUS, USER, CONSENT, QUEUE] = ['tg_anonymous_id', 'tg_user_id', 'tg_consent', 'tg_queue.']
  // Of SDKs that were here before.
  const EARLIER = ['htjs_anonymous_id', 'ajs_anonymous_id']
  const DAY_MS = 86_400_000
  const KEPT_MS = 7 * DAY_MS
  // A queue that was left alone for so long has no page.
  const LEFT_MS = 120_000
  const QUEUE_CHARS_MAX = 1_000_000
  const HELD_MAX = 200
  // A page that is closed may send 64 KiB.
  const BATCH_BYTES_MAX = 50_000
  const ANSWER_MS_MAX = 30_000
  const RENEW_MS_MAX = 2_000
  const WAIT_MS_MAX = 60_000

  if (window.tidegate?.version) return console.warn('tidegate: the SDK is on this page twice')
  const script = document.currentScript
  const waiting = Array.isArray(window.tidegate) ? window.tidegate : []

  let settings = null
  let isReady = false
  let isStopped = false
  let canKeep = false
  let domain
  let categories = null
  let memory = {}
  let early = []
  let held = []
  let queue = []
  let sending = null
  let inFlight = []
  let alone = 0
  let failures = 0
  let timer = 0
  let willSave = false
  let isLeft = false
  const readers = []
  const tab = newId()

  function newId() {
    const bytes = crypto.getRandomValues(new Uint8Array(16))
    bytes[6] = (bytes[6] & 15) | 64
    bytes[8] = (bytes[8] & 63) | 128
    const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
    return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
  }

  const complain = (text) => console.error(`tidegate: ${text}`)
  const isObject = (value) => value !== null && typeof value === 'object'
  const bytesOf = (text) => new TextEncoder().encode(text).length

  // What is kept in the browser. All of it may be forbidden; then the memory of the page has to do.

  function stored(name) {
    try {
      return localStorage.getItem(name)
    } catch {
      return null
    }
  }

  function store(name, value) {
    try {
      if (value === null) localStorage.removeItem(name)
      else localStorage.setItem(name, value)
    } catch {
      // Forbidden or full.
    }
  }

  function cookie(name) {
    try {
      const pair = document.cookie.split('; ').find((pair) => pair.startsWith(`${name}=`))
      return pair ? decodeURIComponent(pair.slice(name.length + 1)) : null
    } catch {
      return null
    }
  }

  function writeCookie(name, value, where) {
    const age = value === null ? 0 : settings.cookieDays * 86_400
    const secure = location.protocol === 'https:' ? '; Secure' : ''
    const place = where ? `; Domain=${where}` : ''
    try {
      document.cookie = `${name}=${encodeURIComponent(value ?? '')}; Path=/; Max-Age=${age}; SameSite=Lax${place}${secure}`
    } catch {
      // A sandbox.
    }
  }

  /** The widest domain that may have cookies of this page. */
  function cookieDomain() {
    if (settings.cookieDomain !== undefined) return settings.cookieDomain
    const labels = location.hostname.split('.')
    if (/^[\d.]+$|:/.test(location.hostname)) return ''
    for (let n = 2; n <= labels.length; n += 1) {
      const tried = labels.slice(-n).join('.')
      writeCookie('tg_probe', '1', tried)
      const isThere = cookie('tg_probe') === '1'
      writeCookie('tg_probe', null, tried)
      if (isThere) return tried
    }
    return ''
  }

  function recall(name) {
    return isAllowed() && canKeep ? cookie(name) || stored(name) : (memory[name] ?? null)
  }

  function remember(name, value) {
    memory[name] = value
    if (isAllowed()) keep(name, value)
  }

  function keep(name, value) {
    domain ??= cookieDomain()
    // One for this host alone would hide it.
    if (domain) writeCookie(name, null)
    writeCookie(name, value, domain)
    store(name, value)
    if (value !== null) canKeep = (cookie(name) || stored(name)) === value
  }

  function anonymousId() {
    const known = recall(ANONYMOUS)
    if (known) return known
    const earlier = isAllowed() ? EARLIER.map(cookie).find(Boolean) : null
    remember(ANONYMOUS, earlier?.replace(/^"|"$/g, '') || newId())
    askCookies('renew')
    return memory[ANONYMOUS]
  }

  /** Whether events may be sent and ids be kept. */
  function isAllowed() {
    return categories?.[settings.consentCategory] ?? !settings.consent
  }

  /** What the visitor has chosen, on this page or another. */
  function chosen() {
    try {
      const value = JSON.parse(stored(CONSENT))
      return isObject(value) ? value : null
    } catch {
      return null
    }
  }

  function goBy(choice) {
    categories = choice
    if (!isAllowed()) return forget()
    settle()
    const events = held
    held = []
    events.forEach(enqueue)
  }

  /** Writes down who the visitor is, now that it may be. */
  function settle() {
    for (const name of [ANONYMOUS, USER]) {
      const value = (!canKeep && memory[name]) || cookie(name) || stored(name)
      if (value) remember(name, value)
    }
    anonymousId()
    adopt()
  }

  function forget() {
    for (const name of [ANONYMOUS, USER]) keep(name, null)
    if (settings.consent !== 'hold') memory = {}
    canKeep = false
    queue = []
    // What pages that are gone have left waits as well.
    for (const name of queues()) store(name, null)
    askCookies('clear')
  }

  function page() {
    const { pathname: path, search, href } = location
    return { path, search, referrer: document.referrer, title: document.title, url: href.split('#')[0] }
  }

  function context() {
    const campaign = {}
    for (const [name, value] of new URLSearchParams(location.search)) {
      const known = /^utm_(source|medium|term|content|id|campaign)$/.exec(name)
      if (known) campaign[known[1] === 'campaign' ? 'name' : known[1]] = value
    }
    return {
      library: { name: 'tidegate.js', version: VERSION },
      locale: navigator.language,
      page: page(),
      timezone: Intl.DateTimeFormat().resolvedOptions().timeZone,
      userAgent: navigator.userAgent,
      ...(Object.keys(campaign).length > 0 && { campaign }),
    }
  }

  function take(type, fields, options) {
    const { context: more, ...rest } = isObject(options) ? options : {}
    const userId = recall(USER)
    const event = {
      messageId: newId(),
      timestamp: new Date().toISOString(),
      anonymousId: anonymousId(),
      ...(userId && { userId }),
      ...fields,
      ...rest,
      type,
      context: { ...context(), ...more },
    }
    if (isAllowed()) enqueue(event)
    // As it is now: what cannot be sent is said here, and costs no other.
    else if (settings.consent === 'hold' && held.push(JSON.parse(JSON.stringify(event))) > HELD_MAX) held.shift()
  }

  function enqueue(event) {
    if (categories) event.context.consent = { categoryPreferences: categories }
    queue.push({ json: JSON.stringify(event), at: Date.now() })
    let chars = queue.reduce((sum, item) => sum + item.json.length, 0)
    while (queue.length > settings.queueMax || (chars > QUEUE_CHARS_MAX && queue.length > 1)) {
      chars -= queue.shift().json.length
      complain('too many events wait; the oldest is given up')
    }
    saveSoon()
    if (queue.length >= settings.flushAt && failures === 0) flush()
    else schedule(settings.flushMs)
  }

  /** For the next page. A queue is under a name of its page's own. */
  function save() {
    const { writeKey } = settings
    store(QUEUE + tab, queue.length > 0 ? JSON.stringify({ writeKey, at: isLeft ? 0 : Date.now(), queue }) : null)
  }

  function saveSoon() {
    if (willSave) return
    willSave = true
    queueMicrotask(() => {
      willSave = false
      save()
    })
  }

  /** The queues of all pages of the site. */
  function queues() {
    try {
      return Object.keys(localStorage).filter((name) => name.startsWith(QUEUE))
    } catch {
      return []
    }
  }

  /** Takes over what pages that are gone have left. What two take over counts once, by its messageId. */
  function adopt() {
    const now = Date.now()
    for (const name of queues()) {
      if (name === QUEUE + tab) continue
      try {
        const left = JSON.parse(stored(name))
        if (now - left.at < LEFT_MS) continue
        const isFresh = (item) => typeof item.json === 'string' && now - item.at < (item.isBeaconed ? DAY_MS / 2 : KEPT_MS)
        const fresh = left.queue.filter(isFresh)
        const isOurs = left.writeKey === settings.writeKey
        if (isOurs) queue.unshift(...fresh)
        if (isOurs || fresh.length === 0) store(name, null)
      } catch {
        store(name, null)
      }
    }
    queue.splice(0, queue.length - settings.queueMax)
    if (queue.length > 0) {
      saveSoon()
      schedule(0)
    }
  }

  function schedule(ms) {
    if (!timer) timer = setTimeout(flush, ms)
  }

  function flush() {
    sending ??= send().finally(() => {
      sending = null
    })
    return sending
  }

  async function send() {
    // What is called in one turn goes into one batch.
    await null
    clearTimeout(timer)
    timer = 0
    while (queue.length > 0 && isAllowed() && !isStopped) {
      inFlight = firstOf(queue)
      const wait = await post(inFlight)
      inFlight = []
      save()
      if (wait > 0) {
        // Events that came meanwhile have set a shorter one.
        clearTimeout(timer)
        timer = setTimeout(flush, wait)
        return
      }
    }
  }

  /** As many items as may go together. */
  function firstOf(items) {
    let bytes = 0
    const fits = (item, n) => (bytes += bytesOf(item.json)) <= BATCH_BYTES_MAX || n === 0
    const end = items.findIndex((item, n) => !fits(item, n) || (alone > 0 && n > 0))
    return end < 0 ? items.slice() : items.slice(0, end)
  }

  function body(items) {
    const head = JSON.stringify({ writeKey: settings.writeKey, sentAt: new Date().toISOString() }).slice(0, -1)
    return `${head},"batch":[${items.map((item) => item.json).join()}]}`
  }

  /** Sends a batch. Answers how long to wait before the next one, in milliseconds. */
  async function post(items) {
    const url = `${settings.host}/v1/batch`
    const text = body(items)
    let reply
    try {
      // A text needs no preflight, and `keepalive` outlives the page.
      reply = await fetch(url, {
        method: 'POST',
        body: text,
        credentials: 'omit',
        keepalive: bytesOf(text) < 60_000,
        signal: AbortSignal.timeout?.(ANSWER_MS_MAX),
      })
    } catch {
      return backOff(0)
    }
    const { status } = reply
    if (status === 408 || status === 429 || status >= 500) return backOff(Number(reply.headers.get('retry-after')) * 1_000)
    failures = 0
    if (reply.ok) {
      done(items)
      return 0
    }
    const said = await reply.json().catch(() => ({}))
    const reason = `${url} answered ${status} ${said.code ?? ''}: ${said.message ?? 'no reason was given'}`
    if (status === 401 || status === 403 || status === 404) {
      isStopped = true
      complain(`${reason}. Nothing more is sent from this page; look at the write key and host of tidegate.load()`)
    } else if (items.length > 1) {
      // One of them is refused: each goes alone.
      alone = items.length
    } else {
      complain(`${reason}. This event is given up: ${items[0].json.slice(0, 200)}`)
      done(items)
    }
    return 0
  }

  function done(items) {
    alone = Math.max(0, alone - items.length)
    queue = queue.filter((item) => !items.includes(item))
  }

  function backOff(told) {
    failures += 1
    const wait = Math.min(1_000 * 2 ** (failures - 1), WAIT_MS_MAX)
    return Math.max(told || 0, wait * (0.5 + Math.random() / 2))
  }

  /** The page goes. What the browser takes stays in the queue too: nobody says whether it arrived. */
  function leave() {
    if (!isReady || !isAllowed()) return
    isLeft = true
    let rest = isStopped || !navigator.onLine ? [] : queue.filter((item) => !inFlight.includes(item))
    for (const item of inFlight) item.isBeaconed = true
    while (rest.length > 0) {
      const items = firstOf(rest)
      if (!navigator.sendBeacon(`${settings.host}/v1/batch`, body(items))) break
      for (const item of items) item.isBeaconed = true
      rest = rest.slice(items.length)
    }
    save()
  }

  function askCookies(what) {
    const { cookieService, host } = settings
    if (!cookieService || (what === 'renew' && !isAllowed())) return null
    const url = `${cookieService === true ? host : cookieService}/sdk/v1/cookies/${what}`
    const signal = AbortSignal.timeout?.(RENEW_MS_MAX)
    const asked = fetch(url, { method: 'POST', credentials: 'include', keepalive: true, signal })
    return asked.then(
      async (reply) => reply.ok || complain(`${url} answered ${reply.status}: ${await reply.text()}`),
      () => complain(`${url} gave no answer`),
    )
  }

  function open() {
    if (isReady) return
    isReady = true
    if (isAllowed()) settle()
    const calls = early
    early = []
    for (const [name, args] of calls) sdk[name](...args)
    for (const reader of readers) reader()
    setTimeout(() => isAllowed() && adopt(), LEFT_MS)
  }

  const calls = {
    identify(userId, traits, options) {
      if (isObject(userId)) [userId, traits, options] = [null, userId, traits]
      if (userId !== null && userId !== undefined && userId !== '') {
        const before = recall(USER)
        // Another user of the same browser is another visitor.
        if (before && before !== String(userId)) remember(ANONYMOUS, newId())
        remember(USER, String(userId))
        askCookies('renew')
      }
      take('identify', { traits: { ...traits } }, options)
    },
    track(event, properties, options) {
      if (typeof event !== 'string' || event === '') return complain('track() needs the name of an event')
      take('track', { event, properties: { ...properties } }, options)
    },
    page(...args) {
      const texts = []
      while (args.length > 0 && !isObject(args[0])) texts.push(args.shift())
      const name = texts.length > 1 ? texts[1] : texts[0]
      const named = { ...(name && { name }), ...(texts.length > 1 && texts[0] && { category: texts[0] }) }
      const [properties, options] = args
      take('page', { ...named, properties: { ...page(), ...named, ...properties } }, options)
    },
    group(groupId, traits, options) {
      take('group', { groupId: String(groupId), traits: { ...traits } }, options)
    },
    alias(userId, previousId, options) {
      const before = previousId ?? recall(USER) ?? anonymousId()
      take('alias', { userId: String(userId), previousId: String(before) }, options)
    },
    reset() {
      remember(USER, null)
      remember(ANONYMOUS, newId())
      askCookies('clear')?.then(() => askCookies('renew'))
    },
    consent(given) {
      const choice = { ...categories, ...given }
      store(CONSENT, JSON.stringify(choice))
      goBy(choice)
    },
    user: () => ({ id: () => recall(USER), anonymousId }),
    flush,
  }

  const sdk = { version: VERSION }
  for (const [name, call] of Object.entries(calls)) {
    sdk[name] = (...args) => {
      if (!isReady) return void early.push([name, args])
      try {
        return call(...args)
      } catch (error) {
        // A page is never broken by what counts its visitors.
        complain(`${name}(): ${error}`)
      }
    }
  }

  sdk.load = (writeKey, options) => {
    if (settings) return complain('load() is called twice; the first one counts')
    if (typeof writeKey !== 'string' || writeKey === '') return complain('load() needs the write key of a source')
    const host = script?.src.replace(/\/sdk\/v1\/tidegate\.[^/]*$/, '')
    const defaults = { host, flushAt: 20, flushMs: 1_000, queueMax: 1_000, cookieDays: 365, consentCategory: 'analytics' }
    const asked = { ...defaults, ...options, writeKey }
    if (!asked.host) return complain('load() needs `host`, the address of the server')
    asked.host = asked.host.replace(/\/+$/, '')
    settings = asked
    categories = chosen()
    const renewed = askCookies('renew')
    if (renewed) renewed.then(open)
    else open()
  }

  sdk.ready = (reader) => {
    const opened = new Promise((resolve) => (isReady ? resolve() : readers.push(resolve)))
    if (typeof reader === 'function') opened.then(reader)
    return opened
  }

  sdk.push = (call) => {
    const [name, ...args] = call
    if (typeof sdk[name] === 'function' && name !== 'push') sdk[name](...args)
    else complain(`there is no ${name}()`)
  }

  window.tidegate = sdk
  waiting.forEach(sdk.push)
  const { writeKey, ...said } = script?.dataset ?? {}
  if (writeKey) {
    sdk.load(writeKey, { ...said, cookieService: 'cookieService' in said && (said.cookieService || true) })
    if ('page' in said) sdk.page()
  }

  addEventListener('storage', ({ key }) => key === CONSENT && isReady && goBy(chosen()))
  addEventListener('online', () => settings && flush())
  addEventListener('pageshow', (event) => {
    isLeft = false
    if (event.persisted && settings) flush()
  })
  addEventListener('pagehide', () => {
    if (settings) open()
    leave()
  })
  document.addEventListener('visibilitychange', () => document.visibilityState === 'hidden' && settings && flush())
})()
