// "Leave this page" works without this. With it the page is blank at once, Shift three times does the same,
// Back does not lead to this page, and other open windows of ours leave with it.
const bar = document.querySelector('.app-leave')

if (bar) {
  const form = bar.querySelector('form')
  const status = bar.querySelector('[role=status]')
  const others = 'BroadcastChannel' in window ? new BroadcastChannel('leave') : null
  let left = false

  const hide = () => {
    left = true
    document.documentElement.classList.add('app-left')
    document.title = '\u200b'
  }
  const away = () => {
    hide()
    location.replace(form.action)
  }

  form.addEventListener('submit', event => {
    if (left) return event.preventDefault()
    hide()
    if (others) others.postMessage('left')
    history.replaceState(null, '', form.action) // a form that leads to where we are takes our place, and is no step to go back from
    setTimeout(away, 3000) // whatever became of the form
  })
  if (others) others.addEventListener('message', away)
  window.addEventListener('pageshow', event => { if (event.persisted && left) away() })

  let times = 0
  let withAnother = false
  let timer
  const forget = () => {
    clearTimeout(timer)
    times = 0
    status.textContent = ''
  }
  document.addEventListener('keydown', event => {
    withAnother = event.key !== 'Shift' // a capital letter is no step towards leaving
    if (withAnother) forget()
  })
  document.addEventListener('keyup', event => {
    if (event.key !== 'Shift' || withAnother) return
    clearTimeout(timer)
    times += 1
    if (times === 3) return form.requestSubmit()
    status.textContent = times === 1 ? bar.dataset.two : bar.dataset.one
    timer = setTimeout(() => {
      forget()
      status.textContent = bar.dataset.off
    }, 5000)
  })
}
