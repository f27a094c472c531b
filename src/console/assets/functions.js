// What the pages of functions do beyond forms: uploading a component, and small help for whoever writes a script. Nothing here makes HTML of texts of others.

const ENDS = ['ready', 'failed']

/** Sends a component as it is, follows its build, and shows the page anew with the version in it. */
function uploading() {
  const place = document.getElementById('upload')
  if (!place) return
  const [file, send, state] = ['upload-file', 'upload-send', 'upload-state'].map((id) => document.getElementById(id))
  place.hidden = false

  const answered = async (answer) => {
    const said = await answer.json()
    if (!answer.ok) throw new Error(`${said.detail} ${said.fix}`)
    return said
  }
  const upload = async (component) => {
    const { follow } = await answered(await fetch(place.dataset.to, { method: 'POST', headers: { 'content-type': 'application/wasm' }, body: component }))
    const address = new URL(follow, location.href)
    address.searchParams.set('wait_ms', '10000')
    for (;;) {
      const build = await answered(await fetch(address))
      if (build.error) throw new Error(`${build.error.message} ${build.error.fix}`)
      state.textContent = build.state
      if (ENDS.includes(build.state)) return
      address.searchParams.set('from', build.state)
    }
  }
  send.addEventListener('click', async () => {
    const [component] = file.files
    if (!component) {
      state.textContent = 'Choose a file first.'
      return
    }
    send.disabled = true
    state.textContent = 'sending'
    try {
      await upload(component)
      location.assign(place.dataset.page)
    } catch (error) {
      state.textContent = error.message
    } finally {
      send.disabled = false
    }
  })
}

/** Says where the caret is, goes to a place that an error names, and tries with Ctrl+Enter. The Tab key leaves the field, as everywhere. */
function editing() {
  const script = document.getElementById('script')
  if (!script) return
  const caret = document.getElementById('caret')

  const say = () => {
    const before = script.value.slice(0, script.selectionStart).split('\n')
    caret.textContent = `Line ${before.length}, column ${before.at(-1).length + 1}. Ctrl+Enter tries it.`
  }
  const goTo = (line, column) => {
    const lines = script.value.split('\n')
    const start = lines.slice(0, line - 1).reduce((sum, text) => sum + text.length + 1, 0)
    const at = Math.min(start + column - 1, script.value.length)
    script.focus()
    script.setSelectionRange(at, at)
    say()
  }
  for (const name of ['input', 'keyup', 'click', 'focus']) script.addEventListener(name, say)
  script.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
      event.preventDefault()
      document.getElementById('try-it').click()
    }
  })
  const result = document.getElementById('result')
  const place = result && /script\.[jt]s:(\d+)(?::(\d+))?/.exec(result.textContent)
  if (place) {
    const button = document.createElement('button')
    button.type = 'button'
    button.className = 'plain'
    button.textContent = `To line ${place[1]}`
    button.addEventListener('click', () => goTo(Number(place[1]), Number(place[2] ?? 1)))
    result.prepend(button)
  }
  say()
}

uploading()
editing()
