// Goes to pages by their names, and by keys: Ctrl+K, g and a letter. Keys do nothing while somebody types.

const PLACES_MAX = 20

function isTyping(target) {
  return target instanceof HTMLElement && (target.isContentEditable || ['INPUT', 'SELECT', 'TEXTAREA'].includes(target.tagName))
}

/** Every place that the page links to, once. */
function places(main) {
  const found = new Map()
  for (const link of [...document.querySelectorAll('.bar nav a'), ...(main?.querySelectorAll('a[href^="/"]') ?? [])]) {
    const name = link.textContent.trim()
    if (name && !found.has(link.href)) found.set(link.href, name)
  }
  return [...found]
}

function make() {
  const dialog = document.createElement('dialog')
  dialog.setAttribute('aria-label', 'Go to')
  const input = document.createElement('input')
  // The choice is told to those who do not see it, while what is typed stays where it is.
  input.setAttribute('role', 'combobox')
  input.setAttribute('aria-label', 'Page')
  input.setAttribute('aria-expanded', 'true')
  input.setAttribute('aria-autocomplete', 'list')
  input.setAttribute('aria-controls', 'palette-places')
  input.autocomplete = 'off'
  input.placeholder = 'Page, source, a SELECT, or the messageId of an event'
  const list = document.createElement('ul')
  list.id = 'palette-places'
  list.setAttribute('role', 'listbox')
  list.setAttribute('aria-label', 'Places')
  dialog.append(input, list)
  document.body.append(dialog)
  return { dialog, input, list }
}

export function palette(main) {
  const nav = document.querySelector('.bar nav')
  if (!nav) return
  const { dialog, input, list } = make()
  let chosen = 0

  const draw = () => {
    const asked = input.value.trim().toLowerCase()
    const known = places(main).filter(([, name]) => name.toLowerCase().includes(asked))
    if (asked) {
      const trace = new URL('/trace', location.href)
      const workspace = new URL(location.href).searchParams.get('workspace')
      trace.searchParams.set('message_id', input.value.trim())
      if (workspace) trace.searchParams.set('workspace', workspace)
      known.push([trace.href, `Trace ${input.value.trim()}`])
      if (/^(select|with|values)\s/.test(asked)) {
        const sql = new URL('/sql', location.href)
        sql.searchParams.set('sql', input.value.trim())
        if (workspace) sql.searchParams.set('workspace', workspace)
        known.unshift([sql.href, 'Write it as SQL'])
      }
    }
    chosen = Math.max(0, Math.min(chosen, known.length - 1, PLACES_MAX - 1))
    list.replaceChildren(
      ...known.slice(0, PLACES_MAX).map(([href, name], at) => {
        const [item, link] = [document.createElement('li'), document.createElement('a')]
        link.href = href
        link.textContent = name.slice(0, 80)
        link.id = `palette-place-${at}`
        link.classList.toggle('chosen', at === chosen)
        item.setAttribute('role', 'presentation')
        link.setAttribute('role', 'option')
        link.setAttribute('aria-selected', String(at === chosen))
        item.append(link)
        return item
      }),
    )
    input.setAttribute('aria-activedescendant', `palette-place-${chosen}`)
    list.querySelector('.chosen')?.scrollIntoView({ block: 'nearest' })
  }
  const open = () => {
    if (dialog.open) return
    input.value = ''
    chosen = 0
    draw()
    dialog.showModal()
    input.focus()
  }
  input.addEventListener('input', () => {
    chosen = 0
    draw()
  })
  input.addEventListener('keydown', (event) => {
    if (event.key === 'ArrowDown' || event.key === 'ArrowUp') {
      chosen += event.key === 'ArrowDown' ? 1 : -1
      draw()
      event.preventDefault()
    } else if (event.key === 'Enter') {
      list.querySelector('a.chosen')?.click()
      event.preventDefault()
    }
  })
  const button = document.getElementById('palette-open')
  if (button) {
    button.hidden = false
    button.addEventListener('click', open)
  }
  let isGoing = false
  document.addEventListener('keydown', (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key === 'k') {
      event.preventDefault()
      open()
      return
    }
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target) || dialog.open) return
    if (isGoing) {
      isGoing = false
      nav.querySelector(`a[data-key="${CSS.escape(event.key)}"]`)?.click()
    } else if (event.key === 'g') {
      isGoing = true
      setTimeout(() => { isGoing = false }, 1500)
    } else if (event.key === 'p') {
      document.querySelector('#tap-pause:not([hidden]), #pause:not([hidden])')?.click()
    }
  })
}
